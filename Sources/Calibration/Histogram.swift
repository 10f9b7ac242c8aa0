// SPDX-License-Identifier: Apache-2.0
// Calibration: what is kept of a tensor's values, exactly and in fixed space.

internal import CKernels

/// A histogram of float32 values with bins of a power-of-two width, in integers only.
///
/// Bin `m` of a side holds exactly the values with `m · 2^e ≤ |x| < (m + 1) · 2^e`, positive and
/// negative values apart; zeros are counted apart, exactly. The exponent `e` depends on the largest
/// magnitude alone and growing it merges bins exactly. So the whole state is a function of the
/// multiset of values: order, batches, shards and threads cannot change a byte. The top bin in use
/// is always in the upper half, hence the width is at most a 2048th of the largest magnitude.
///
/// Memory: 32 KiB for each side that has values, whatever their number.
public struct Histogram: Sendable, Equatable {
  /// Bins of each side.
  public static let binsPerSide = 4096
  /// The bin exponents that float32 values can need.
  static let exponents = -137...116

  /// log₂ of the bin width; nil until a non-zero finite value came.
  public internal(set) var exponent: Int?
  /// Counts of values above zero, `[binsPerSide]`, or empty when there is none.
  public internal(set) var positive: [UInt64] = []
  /// Counts of values below zero by magnitude, `[binsPerSide]`, or empty when there is none.
  public internal(set) var negative: [UInt64] = []
  /// Zeros of either sign.
  public internal(set) var zeros: UInt64 = 0
  /// Values that are not a number.
  public internal(set) var nans: UInt64 = 0
  /// Values that are +∞.
  public internal(set) var positiveInfinities: UInt64 = 0
  /// Values that are −∞.
  public internal(set) var negativeInfinities: UInt64 = 0
  /// Number of finite values, zeros included.
  public internal(set) var count: UInt64 = 0
  /// The exact smallest finite value (a zero is +0); 0 when nothing finite was seen.
  public internal(set) var min: Float = 0
  /// The exact largest finite value (a zero is +0); 0 when nothing finite was seen.
  public internal(set) var max: Float = 0

  /// An empty histogram.
  public init() {}

  /// Infinities of either sign.
  public var infinities: UInt64 { positiveInfinities + negativeInfinities }

  /// Whether any value was below zero.
  public var isSigned: Bool { !negative.isEmpty }

  /// The largest magnitude of a finite value.
  public var absoluteMaximum: Float { Swift.max(-min, max) }

  /// The width of a bin in tensor units; 0 when every value was zero.
  public var binWidth: Double {
    exponent.map { Double(sign: .plus, exponent: $0, significand: 1) } ?? 0
  }

  /// Adds values: two passes over them, a few integer instructions each.
  public mutating func add(_ values: UnsafeBufferPointer<Float>) {
    guard let base = values.baseAddress, !values.isEmpty else { return }
    var summary = ck_float_summary()
    ck_float_summarize(base, values.count, &summary)
    nans += UInt64(summary.nans)
    positiveInfinities += UInt64(summary.positive_infinities)
    negativeInfinities += UInt64(summary.negative_infinities)
    guard summary.finite > 0 else { return }
    widen(
      min: Histogram.float(ofKey: summary.min_key), max: Histogram.float(ofKey: summary.max_key))
    count += UInt64(summary.finite)
    zeros += UInt64(summary.zeros)
    guard summary.max_magnitude > 0 else { return }
    let needed = Histogram.exponent(forMagnitude: summary.max_magnitude)
    grow(to: needed)
    let exponent = Int32(self.exponent ?? needed)
    // Below −0, whose key is −1, and above +0, whose key is 0.
    let hasNegative = summary.min_key < -1
    let hasPositive = summary.max_key > 0
    if hasPositive { Histogram.allocate(&positive) }
    if hasNegative { Histogram.allocate(&negative) }
    positive.withUnsafeMutableBufferPointer { positive in
      negative.withUnsafeMutableBufferPointer { negative in
        ck_histogram_add(
          base, values.count, &summary, exponent, hasPositive ? positive.baseAddress : nil,
          hasNegative ? negative.baseAddress : nil)
      }
    }
  }

  /// Adds values.
  public mutating func add(_ values: [Float]) {
    values.withUnsafeBufferPointer { add($0) }
  }

  /// Adds what another histogram holds; exact, so the order of merging does not matter.
  ///
  /// - Precondition: the counts together fit 64 bits (`Observations` refuses files that do not).
  public mutating func merge(_ other: Histogram) {
    nans += other.nans
    positiveInfinities += other.positiveInfinities
    negativeInfinities += other.negativeInfinities
    guard other.count > 0 else { return }
    widen(min: other.min, max: other.max)
    count += other.count
    zeros += other.zeros
    guard let theirs = other.exponent else { return }
    grow(to: theirs)
    let shift = (exponent ?? theirs) - theirs
    Histogram.add(other.positive, to: &positive, shift: shift)
    Histogram.add(other.negative, to: &negative, shift: shift)
  }
}

// MARK: - Counts of both sides

extension Histogram {
  /// Counts by magnitude, both signs together, up to the last bin that is not empty.
  public var folded: [UInt64] {
    guard !negative.isEmpty else { return Array(Histogram.trimmed(positive)) }
    guard !positive.isEmpty else { return Array(Histogram.trimmed(negative)) }
    var sums = positive
    for bin in sums.indices { sums[bin] += negative[bin] }
    return Array(Histogram.trimmed(sums))
  }

  /// A side up to its last bin that is not empty.
  static func trimmed(_ side: [UInt64]) -> ArraySlice<UInt64> {
    let end = side.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
    return side[..<end]
  }

  /// About how many values lie outside `low…high`, as a share of all finite values, 0…1.
  ///
  /// Exact at bin borders and at the extremes; inside a bin the values count as evenly spread.
  public func share(outside range: ClosedRange<Double>) -> Double {
    guard count > 0 else { return 0 }
    let above = Double(max) > range.upperBound ? tail(positive, beyond: range.upperBound) : 0
    let below = Double(min) < range.lowerBound ? tail(negative, beyond: -range.lowerBound) : 0
    return (above + below) / Double(count)
  }

  private func tail(_ side: [UInt64], beyond bound: Double) -> Double {
    guard !side.isEmpty else { return 0 }
    let position = Swift.max(0, bound) / binWidth
    guard position < Double(side.count) else { return 0 }
    let bin = Int(position)
    var whole: UInt64 = 0
    for count in side[(bin + 1)...] { whole += count }
    return Double(whole) + Double(side[bin]) * (1 - (position - Double(bin)))
  }
}

// MARK: - Growth

extension Histogram {
  /// The bin exponent that a largest magnitude needs, from its float32 bits without the sign.
  static func exponent(forMagnitude bits: UInt32) -> Int {
    Swift.max(Int(bits >> 23) - 138, exponents.lowerBound)
  }

  private mutating func grow(to needed: Int) {
    guard let current = exponent else {
      exponent = needed
      return
    }
    guard needed > current else { return }
    for side in [\Histogram.positive, \Histogram.negative] {
      var wider: [UInt64] = []
      Histogram.add(self[keyPath: side], to: &wider, shift: needed - current)
      self[keyPath: side] = wider
    }
    exponent = needed
  }

  private static func allocate(_ side: inout [UInt64]) {
    if side.isEmpty { side = [UInt64](repeating: 0, count: binsPerSide) }
  }

  private static func add(_ counts: [UInt64], to side: inout [UInt64], shift: Int) {
    guard !counts.isEmpty else { return }
    allocate(&side)
    // Swift's >> gives 0 for shifts of 64 and more, as wanted.
    for (bin, count) in counts.enumerated() where count != 0 { side[bin >> shift] += count }
  }

  private mutating func widen(min: Float, max: Float) {
    // Adding +0 turns −0 into +0.
    let (low, high) = (min + 0, max + 0)
    self.min = count == 0 ? low : Swift.min(self.min, low)
    self.max = count == 0 ? high : Swift.max(self.max, high)
  }

  private static func float(ofKey key: Int32) -> Float {
    Float(bitPattern: UInt32(bitPattern: key < 0 ? key ^ 0x7FFF_FFFF : key))
  }
}
