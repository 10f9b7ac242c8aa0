// SPDX-License-Identifier: Apache-2.0
// Calibration: the bytes of a histogram that order and batching cannot change, and its invariants.

extension Histogram {
  /// The state as bytes, for digests: "QH1"; int32 exponent (−9999 when undefined); uint64 zeros,
  /// NaNs, +∞, −∞; int64 keys of min and max (the float's bits, negated magnitude bits when
  /// negative, 0 when nothing was seen); 4096 uint64 counts above zero, then 4096 below. All little
  /// endian, 65,591 bytes.
  public var canonicalBytes: [UInt8] {
    var bytes = Array("QH1".utf8)
    bytes.reserveCapacity(55 + 16 * Histogram.binsPerSide)
    func append(_ value: some FixedWidthInteger) {
      withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
    append(Int32(exponent ?? -9999))
    for counter in [zeros, nans, positiveInfinities, negativeInfinities] { append(counter) }
    for value in [min, max] {
      let magnitude = Int64(value.magnitude.bitPattern)
      append(value < 0 ? -magnitude : magnitude)
    }
    for side in [positive, negative] {
      for count in side { append(count) }
      if side.isEmpty {
        bytes.append(contentsOf: repeatElement(0, count: 8 * Histogram.binsPerSide))
      }
    }
    return bytes
  }

  /// The first invariant that does not hold, in words; nil when all hold.
  ///
  /// Always nil for histograms made by `add` and `merge`; readers of files ask.
  func brokenInvariant() -> String? {
    for side in [positive, negative] where !side.isEmpty {
      guard side.count == Histogram.binsPerSide, side.contains(where: { $0 != 0 }) else {
        return "a side without values is stored"
      }
    }
    var total = zeros
    for side in [positive, negative] {
      for count in side {
        let (sum, overflow) = total.addingReportingOverflow(count)
        guard !overflow else { return "the counts exceed 64 bits" }
        total = sum
      }
    }
    guard total == count else { return "the counts do not add up to the number of values" }
    guard min.isFinite, max.isFinite, min <= max else { return "the extremes are malformed" }
    guard !(min == 0 && min.sign == .minus), !(max == 0 && max.sign == .minus) else {
      return "an extreme is negative zero"
    }
    guard isSigned == (min < 0), positive.isEmpty == (max <= 0) else {
      return "the extremes contradict the signs of the counts"
    }
    // Zero must be inside the range when there is a zero, and the range is 0…0 without values.
    guard zeros == 0 || (min <= 0 && max >= 0), count > 0 || (min == 0 && max == 0) else {
      return "the extremes contradict the number of zeros"
    }
    let largest = absoluteMaximum
    guard largest > 0 else {
      return exponent == nil ? nil : "an exponent is given though every value is zero"
    }
    guard exponent == Histogram.exponent(forMagnitude: largest.bitPattern) else {
      return "the bin width does not fit the extremes"
    }
    return brokenEnd(positive, max) ?? brokenEnd(negative, -min)
  }

  /// The last bin of a side must be the one that holds the extreme.
  private func brokenEnd(_ side: [UInt64], _ extreme: Float) -> String? {
    guard !side.isEmpty else { return nil }
    let last = Histogram.trimmed(side).count - 1
    return Double(last) == (Double(extreme) / binWidth).rounded(.down)
      ? nil : "the last bin does not hold the extreme"
  }
}
