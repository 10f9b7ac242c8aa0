// SPDX-License-Identifier: Apache-2.0
// Datasets: from a picture to the network's input, step by step.

internal import Artifacts
internal import CImage
public import Diagnostics
public import Tensors

/// The steps from a picture to an input tensor.
///
/// Without steps a picture becomes float32 `[1, 3, H, W]` with values 0...255; grey becomes three
/// equal channels unless the steps say `channels: grey`.
public struct Preprocessing: Sendable, Equatable {
  /// The steps in order: first `alpha`, then steps on bytes, then `normalize`, then `layout`.
  public let steps: [Step]

  /// One step; the raw keys of `preprocess` in `quench.yaml`.
  public enum Step: Sendable, Equatable {
    /// `alpha: drop`, or `alpha: {over: [r, g, b]}`.
    case alpha(AlphaRule)
    /// `resize: {shortSide: s, filter: f}`: the shorter side becomes s, the other
    /// floor(s * longer / shorter).
    case resizeShortSide(Int, ResizeFilter)
    /// `resize: {size: [h, w], filter: f}`.
    case resize(height: Int, width: Int, ResizeFilter)
    /// `centerCrop: [h, w]`: offsets are half of what is over, halves to the even number.
    case centerCrop(height: Int, width: Int)
    /// `channels: rgb | bgr | grey`. Grey is `(19595 R + 38470 G + 7471 B + 32768) / 65536`.
    case channels(ChannelOrder)
    /// `normalize: {scale, mean, std}`: `(x * scale - mean) / std` in float32.
    case normalize(Normalization)
    /// `layout: NCHW | NHWC`.
    case layout(Layout)
  }

  /// Which channels the tensor has.
  public enum ChannelOrder: String, Sendable, CaseIterable {
    case rgb
    case bgr
    case grey
  }

  /// Where the channels stand in the tensor's shape.
  public enum Layout: String, Sendable, CaseIterable {
    /// `[1, C, H, W]`.
    case planes = "NCHW"
    /// `[1, H, W, C]`.
    case interleaved = "NHWC"
  }

  /// Makes a pipeline of checked steps.
  ///
  /// - Throws: `.data` when the steps stand in an impossible order or do not fit together.
  public init(_ steps: [Step]) throws(QuenchError) {
    self.steps = steps
    try check()
  }

  /// What the steps say of an alpha channel.
  public var alpha: AlphaRule {
    if case .alpha(let rule)? = steps.first { return rule }
    return .refuse
  }

  /// The layout of the tensors.
  public var layout: Layout {
    if case .layout(let layout)? = steps.last { return layout }
    return .planes
  }

  /// Channels of the tensors: 1 or 3.
  public var channelCount: Int {
    steps.contains(.channels(.grey)) ? 1 : 3
  }

  /// The normalisation, which changes nothing when there is no such step.
  public var normalization: Normalization {
    for case .normalize(let normalization) in steps { return normalization }
    return Normalization()
  }

  /// Runs the steps.
  ///
  /// - Returns: float32 `[1, C, H, W]` or `[1, H, W, C]`, as `layout` says.
  /// - Throws: `.data` when the picture does not fit a step: a crop that is larger than it, or a
  ///   resize beyond `Image.maximumPixels`.
  public func apply(to image: Image) throws(QuenchError) -> Tensor {
    var image = image
    var index = 0
    while index < steps.count {
      defer { index += 1 }
      switch steps[index] {
      case .alpha, .normalize, .layout: continue
      case .channels(.rgb): image = image.withThreeChannels()
      case .channels(.bgr): image = image.withThreeChannels().reversingChannels()
      case .channels(.grey): image = image.grey()
      case .centerCrop(let height, let width):
        let region = try Self.center(
          height: height, width: width, in: (height: image.height, width: image.width))
        image = image.cropped(columns: region.columns, rows: region.rows)
      case .resize, .resizeShortSide:
        let (size, filter) = try Self.target(of: steps[index], for: image)
        // Pixels that a crop right behind would drop are not made at all.
        if index + 1 < steps.count, case .centerCrop(let height, let width) = steps[index + 1] {
          let region = try Self.center(height: height, width: width, in: size)
          image = image.resized(
            width: size.width, height: size.height, filter: filter, columns: region.columns,
            rows: region.rows)
          index += 1
        } else {
          image = image.resized(width: size.width, height: size.height, filter: filter)
        }
      }
    }
    return tensor(of: image)
  }
}

// MARK: - Sizes

extension Preprocessing {
  private typealias Size = (height: Int, width: Int)

  private static func target(
    of step: Step, for image: Image
  ) throws(QuenchError) -> (Size, ResizeFilter) {
    let size: Size
    let chosen: ResizeFilter
    switch step {
    case .resize(let height, let width, let filter):
      size = (height, width)
      chosen = filter
    case .resizeShortSide(let side, let filter):
      size =
        image.width < image.height
        ? (side * image.height / image.width, side) : (side, side * image.width / image.height)
      chosen = filter
    default:
      preconditionFailure("only resize steps have a target size")
    }
    guard size.width <= Image.maximumPixels / size.height else {
      throw QuenchError(
        .data,
        "resizing \(image.width)x\(image.height) pixels to \(size.width)x\(size.height) is beyond "
          + "the limit of \(Image.maximumPixels) pixels")
    }
    return (size, chosen)
  }

  private static func center(
    height: Int, width: Int, in size: Size
  ) throws(QuenchError) -> (columns: Range<Int>, rows: Range<Int>) {
    guard height <= size.height, width <= size.width else {
      throw QuenchError(
        .data,
        "centerCrop of \(width)x\(height) pixels is larger than the picture, "
          + "\(size.width)x\(size.height)",
        try: "put a resize before centerCrop in preprocess")
    }
    let left = evenHalf(of: size.width - width)
    let top = evenHalf(of: size.height - height)
    return (left..<left + width, top..<top + height)
  }

  /// Half of it, rounded to the nearest whole number, ties to the even one.
  private static func evenHalf(of number: Int) -> Int {
    let half = number / 2
    return number % 2 == 0 || half % 2 == 0 ? half : half + 1
  }
}

// MARK: - Tensors

extension Preprocessing {
  private func tensor(of image: Image) -> Tensor {
    let planes = channelCount
    let tables = normalization.tables(channels: planes)
    let pixels = image.width * image.height
    let count = pixels * planes
    let floats = [Float](unsafeUninitializedCapacity: count) { buffer, filled in
      switch layout {
      case .planes:
        ci_lookup_planes(
          image.pixels, pixels, image.channels, tables, planes, buffer.baseAddress)
      case .interleaved:
        ci_lookup_interleaved(
          image.pixels, pixels, image.channels, tables, planes, buffer.baseAddress)
      }
      filled = count
    }
    let shape =
      layout == .planes
      ? [1, planes, image.height, image.width] : [1, image.height, image.width, planes]
    return Tensor(floats: floats, shape: shape)
  }
}

// MARK: - Channels

extension Image {
  fileprivate func withThreeChannels() -> Image {
    guard channels == 1 else { return self }
    var result: [UInt8] = []
    result.reserveCapacity(pixels.count * 3)
    for value in pixels {
      result.append(value)
      result.append(value)
      result.append(value)
    }
    return Image(width: width, height: height, channels: 3, pixels: result)
  }

  fileprivate func reversingChannels() -> Image {
    var result = pixels
    for start in stride(from: 0, to: result.count, by: 3) { result.swapAt(start, start + 2) }
    return Image(width: width, height: height, channels: 3, pixels: result)
  }

  /// Luma of ITU-R BT.601 in 16-bit fixed point, as Pillow's mode "L".
  fileprivate func grey() -> Image {
    guard channels == 3 else { return self }
    let result = stride(from: 0, to: pixels.count, by: 3).map { start in
      let sum =
        19595 * UInt32(pixels[start]) + 38470 * UInt32(pixels[start + 1])
        + 7471 * UInt32(pixels[start + 2]) + 32768
      return UInt8(sum >> 16)
    }
    return Image(width: width, height: height, channels: 1, pixels: result)
  }
}
