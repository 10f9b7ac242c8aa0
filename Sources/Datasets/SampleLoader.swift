// SPDX-License-Identifier: Apache-2.0
// Datasets: a sample to the tensor that the network reads.

public import Diagnostics
public import Tensors

/// Loads samples, from several threads at once.
public enum SampleLoader {
  /// Decodes and prepares one sample.
  ///
  /// Image files and byte arrays (items `[H, W]`, `[H, W, 1 or 3]` or `[1 or 3, H, W]`) go through
  /// `preprocessing`. Items of other types are taken as they are, for which `preprocessing` must
  /// have no steps; float64 and float16 become float32, integers keep their type.
  /// - Returns: a leading extent of 1, then what `Preprocessing.apply` gives, or the item's shape.
  /// - Throws: `.noInput` for a missing file; `.data` naming the sample for a damaged one, an item
  ///   of an unusable shape, or a value that is not a finite number.
  public static func load(
    _ sample: Sample, _ preprocessing: Preprocessing
  ) throws(QuenchError) -> Tensor {
    do throws(QuenchError) {
      guard let index = sample.index else {
        let image = try ImageDecoding.read(sample.path, alpha: preprocessing.alpha)
        return try preprocessing.apply(to: image)
      }
      let item = try cache.enter { cache throws(QuenchError) in
        try cache.file(sample.path).item(index, sample.member)
      }
      if item.elementType == .uint8 {
        return try preprocessing.apply(to: try image(of: item))
      }
      guard preprocessing.steps.isEmpty else {
        throw QuenchError(
          .data, "the array has \(item.elementType) elements, to which no preprocessing applies",
          try: "preprocess: []")
      }
      return try finished(item)
    } catch {
      throw error.located(at: .file(sample.name))
    }
  }

  private static let cache = Monitor(ArrayCache())
}

// MARK: - Items

extension SampleLoader {
  private static func image(of item: Tensor) throws(QuenchError) -> Image {
    let shape = item.shape
    guard item.count <= Image.maximumPixels, item.count > 0 else {
      throw QuenchError(.data, "an item of shape \(shape) is no picture")
    }
    if shape.count == 2 {
      return Image(width: shape[1], height: shape[0], channels: 1, pixels: item.bytes)
    }
    if shape.count == 3, shape[2] == 1 || shape[2] == 3 {
      return Image(width: shape[1], height: shape[0], channels: shape[2], pixels: item.bytes)
    }
    guard shape.count == 3, shape[0] == 1 || shape[0] == 3 else {
      throw QuenchError(
        .data,
        "an item of shape \(shape) is no picture: [H, W], [H, W, C] or [C, H, W] with "
          + "1 or 3 channels")
    }
    let pixels = shape[1] * shape[2]
    var interleaved = [UInt8](repeating: 0, count: item.count)
    for channel in 0..<shape[0] {
      for pixel in 0..<pixels {
        interleaved[pixel * shape[0] + channel] = item.bytes[channel * pixels + pixel]
      }
    }
    return Image(width: shape[2], height: shape[1], channels: shape[0], pixels: interleaved)
  }

  private static func finished(_ item: Tensor) throws(QuenchError) -> Tensor {
    let shape = [1] + item.shape
    let floats: [Float]
    switch item.elementType {
    case .float32: floats = item.floats
    case .float64: floats = item.values(as: Double.self).map { Float($0) }
    case .float16:
      throw QuenchError(.data, "float16 arrays are not read", try: "save the array as float32")
    default: return try item.reshaped(to: shape)
    }
    if let position = floats.firstIndex(where: { !$0.isFinite }) {
      throw QuenchError(.data, "the value at position \(position) is \(floats[position])")
    }
    return Tensor(floats: floats, shape: shape)
  }
}

/// The array files in use. Two are kept open: the one that is read, and one for a second source.
private struct ArrayCache {
  private var files: [ArrayFile] = []

  mutating func file(_ path: String) throws(QuenchError) -> ArrayCacheEntry {
    if let position = files.firstIndex(where: { $0.path == path }) {
      let file = files.remove(at: position)
      // A file that was replaced meanwhile is opened anew.
      if FileIdentity(path: path) == file.identity {
        files.append(file)
        return ArrayCacheEntry(file: file)
      }
    }
    let file = try ArrayFile(path: path)
    if files.count > 1 { files.removeFirst() }
    files.append(file)
    return ArrayCacheEntry(file: file)
  }
}

/// An array file and the meaning of an omitted member.
private struct ArrayCacheEntry {
  let file: ArrayFile

  func item(_ index: Int, _ member: String?) throws(QuenchError) -> Tensor {
    try file.item(index, of: try file.member(named: member))
  }
}
