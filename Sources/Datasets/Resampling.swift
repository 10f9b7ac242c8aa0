// SPDX-License-Identifier: Apache-2.0
// Datasets: resizing with antialiasing, bit for bit as Pillow does it.

internal import CImage

/// How output pixels are made from input pixels.
public enum ResizeFilter: String, Sendable, CaseIterable {
  /// The input pixel under the output pixel's center.
  case nearest
  /// A triangle of radius 1, widened by the reduction.
  case bilinear
  /// The cubic of Keys with a = -0.5, of radius 2, widened by the reduction.
  case bicubic
}

extension Image {
  /// A resized copy, or the part `region` of it (default: all).
  ///
  /// Two passes with 8-bit results, columns first unless more than twice as many rows as columns
  /// go; the weights of an output pixel are the filter, widened by the reduction factor so that
  /// every input pixel counts, sampled at the input pixels' centers, normalised in double and
  /// rounded to steps of 2^-22. An axis whose extent stays is left alone. Source: the algorithm
  /// of Pillow 13's `Image.resize` (convolution-based resampling), to which the results are equal.
  /// Older Pillows always take the columns first, which can change single samples by a few steps.
  ///
  /// - Precondition: the new extents are positive with at most `maximumPixels` in all, and the
  ///   region lies inside.
  public func resized(
    width newWidth: Int, height newHeight: Int, filter: ResizeFilter,
    columns: Range<Int>? = nil, rows: Range<Int>? = nil
  ) -> Image {
    precondition(newWidth > 0 && newHeight > 0, "a picture has at least one pixel")
    let columns = columns ?? 0..<newWidth
    let rows = rows ?? 0..<newHeight
    precondition(
      columns.lowerBound >= 0 && columns.upperBound <= newWidth && rows.lowerBound >= 0
        && rows.upperBound <= newHeight, "the region lies in the resized picture")
    if filter == .nearest {
      return picked(
        columns: Image.nearest(from: width, to: newWidth)[columns],
        rows: Image.nearest(from: height, to: newHeight)[rows])
    }
    let rowsLost = height - newHeight
    // 8-bit results between the passes make the order visible; this is Pillow's rule.
    if rowsLost > 0, rowsLost > 2 * (width - newWidth) {
      return resizedRows(to: newHeight, filter, rows).resizedColumns(to: newWidth, filter, columns)
    }
    return resizedColumns(to: newWidth, filter, columns).resizedRows(to: newHeight, filter, rows)
  }

  /// The part of the picture inside the ranges.
  ///
  /// - Precondition: the ranges are not empty and lie in the picture.
  public func cropped(columns: Range<Int>, rows: Range<Int>) -> Image {
    precondition(
      columns.lowerBound >= 0 && columns.upperBound <= width && rows.lowerBound >= 0
        && rows.upperBound <= height, "the region lies in the picture")
    if columns == 0..<width, rows == 0..<height { return self }
    var result: [UInt8] = []
    result.reserveCapacity(columns.count * rows.count * channels)
    for row in rows {
      let start = (row * width + columns.lowerBound) * channels
      result.append(contentsOf: pixels[start..<start + columns.count * channels])
    }
    return Image(width: columns.count, height: rows.count, channels: channels, pixels: result)
  }
}

// MARK: - Passes

extension Image {
  private func resizedColumns(
    to newWidth: Int, _ filter: ResizeFilter, _ wanted: Range<Int>
  ) -> Image {
    guard newWidth != width else { return cropped(columns: wanted, rows: 0..<height) }
    return resampledColumns(Taps(from: width, to: newWidth, filter, wanted))
  }

  private func resizedRows(
    to newHeight: Int, _ filter: ResizeFilter, _ wanted: Range<Int>
  ) -> Image {
    guard newHeight != height else { return cropped(columns: 0..<width, rows: wanted) }
    return resampledRows(Taps(from: height, to: newHeight, filter, wanted))
  }

  private func resampledColumns(_ taps: Taps) -> Image {
    let count = taps.count * height * channels
    let result = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      ci_resample_columns(
        pixels, width, height, channels, taps.bounds, taps.weights, taps.stride, taps.count,
        buffer.baseAddress)
      filled = count
    }
    return Image(width: taps.count, height: height, channels: channels, pixels: result)
  }

  private func resampledRows(_ taps: Taps) -> Image {
    let rowBytes = width * channels
    let count = taps.count * rowBytes
    var sums = [Int32](repeating: 0, count: rowBytes)
    let result = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      ci_resample_rows(
        pixels, rowBytes, taps.bounds, taps.weights, taps.stride, taps.count, &sums,
        buffer.baseAddress)
      filled = count
    }
    return Image(width: width, height: taps.count, channels: channels, pixels: result)
  }

  private func picked(columns: ArraySlice<Int>, rows: ArraySlice<Int>) -> Image {
    var result: [UInt8] = []
    result.reserveCapacity(columns.count * rows.count * channels)
    for row in rows {
      for column in columns {
        let start = (row * width + column) * channels
        for channel in 0..<channels { result.append(pixels[start + channel]) }
      }
    }
    return Image(width: columns.count, height: rows.count, channels: channels, pixels: result)
  }

  /// The input index under each output center. The position is summed up step by step, as Pillow
  /// does, so that rounding falls the same way.
  private static func nearest(from old: Int, to new: Int) -> [Int] {
    let step = Double(old) / Double(new)
    var position = step * 0.5
    return (0..<new).map { _ in
      defer { position += step }
      return min(Int(position), old - 1)
    }
  }
}

/// For each output position along one axis: which inputs count, and how much.
private struct Taps {
  /// First input and number of inputs, in turn.
  var bounds: [Int32] = []
  /// `stride` weights a position, in units of 2^-22.
  var weights: [Int32]
  let stride: Int
  let count: Int

  init(from old: Int, to new: Int, _ filter: ResizeFilter, _ wanted: Range<Int>) {
    let scale = Double(old) / Double(new)
    let widening = max(scale, 1)
    let support = (filter == .bicubic ? 2.0 : 1.0) * widening
    stride = Int(support.rounded(.up)) * 2 + 1
    count = wanted.count
    weights = [Int32](repeating: 0, count: count * stride)
    bounds.reserveCapacity(count * 2)
    let shrink = 1 / widening
    var exact = [Double](repeating: 0, count: stride)
    for (position, output) in wanted.enumerated() {
      let center = (Double(output) + 0.5) * scale
      let first = max(0, Int(center - support + 0.5))
      let end = min(old, Int(center + support + 0.5))
      var sum = 0.0
      for tap in 0..<(end - first) {
        let distance = (Double(tap + first) - center + 0.5) * shrink
        exact[tap] = filter == .bicubic ? cubic(distance) : triangle(distance)
        sum += exact[tap]
      }
      for tap in 0..<(end - first) {
        let share = (sum != 0 ? exact[tap] / sum : exact[tap]) * Double(1 << 22)
        weights[position * stride + tap] = Int32(share < 0 ? share - 0.5 : share + 0.5)
      }
      bounds.append(Int32(first))
      bounds.append(Int32(end - first))
    }
  }
}

private func triangle(_ x: Double) -> Double { max(0, 1 - abs(x)) }

private func cubic(_ x: Double) -> Double {
  let a = -0.5
  let x = abs(x)
  if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
  if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
  return 0
}
