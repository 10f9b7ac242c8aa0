// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Calibration

@Suite("histogram")
struct HistogramTests {
  /// The definition, one value after the other, in doubles that hold every step exactly.
  private static func obvious(_ values: [Float]) -> Histogram {
    var histogram = Histogram()
    let finite = values.filter(\.isFinite)
    histogram.nans = UInt64(values.count { $0.isNaN })
    histogram.positiveInfinities = UInt64(values.count { $0 == .infinity })
    histogram.negativeInfinities = UInt64(values.count { $0 == -.infinity })
    histogram.count = UInt64(finite.count)
    histogram.zeros = UInt64(finite.count { $0 == 0 })
    histogram.min = (finite.min() ?? 0) + 0
    histogram.max = (finite.max() ?? 0) + 0
    guard let largest = finite.map(\.magnitude).max(), largest > 0 else { return histogram }
    var exponent = -137
    while Double(largest) >= 4096 * Double(sign: .plus, exponent: exponent, significand: 1) {
      exponent += 1
    }
    let width = Double(sign: .plus, exponent: exponent, significand: 1)
    histogram.exponent = exponent
    let empty = [UInt64](repeating: 0, count: Histogram.binsPerSide)
    if histogram.max > 0 { histogram.positive = empty }
    if histogram.min < 0 { histogram.negative = empty }
    for value in finite where value != 0 {
      let bin = Int(Double(value.magnitude) / width)
      if value > 0 { histogram.positive[bin] += 1 } else { histogram.negative[bin] += 1 }
    }
    return histogram
  }

  // Sizes on both sides of 16,384 values, where the kernel changes its way of counting, and no
  // multiple of its unrolled loop.
  @Test("counts what the definition counts", arguments: [0, 1, 5, 1000, 16_383, 16_384, 40_003])
  func matchesDefinition(size: Int) {
    var draws = Draws(seed: UInt64(size) + 77)
    // The widths of the distribution of exponents: everything float32 has, or a usual tensor.
    for (low, span) in [(0, 255), (100, 30), (0, 3), (1, 12), (240, 15)] {
      let values = (0..<size).map { _ -> Float in
        if draws.next(below: 10) == 0 { return draws.next(below: 2) == 0 ? 0 : -0.0 }
        let field = UInt32(low + draws.next(below: span))
        let sign = UInt32(draws.next(below: 2)) << 31
        return Float(bitPattern: sign | field << 23 | UInt32(draws.next()) & 0x7F_FFFF)
      }
      var histogram = Histogram()
      histogram.add(values)
      #expect(histogram == Self.obvious(values))
      #expect(histogram.brokenInvariant() == nil)
    }
  }

  @Test("finite values are counted rightly among NaN and infinities")
  func nonFinite() {
    var draws = Draws(seed: 5)
    let values = (0..<20_000).map { _ in
      Float(bitPattern: UInt32(draws.next(below: 65_536)) << 16 | UInt32(draws.next(below: 65_536)))
    }
    var histogram = Histogram()
    histogram.add(values)
    #expect(histogram.nans > 0)
    #expect(histogram == Self.obvious(values))
  }

  @Test("a NaN alone leaves no extremes behind")
  func onlyNaN() {
    var histogram = Histogram()
    histogram.add([.nan, -.nan])
    #expect(histogram.nans == 2)
    #expect(histogram.count == 0)
    #expect(histogram == Self.obvious([.nan, -.nan]))
  }

  @Test("negating the values swaps the sides")
  func negation() {
    var histogram = Histogram()
    var negated = Histogram()
    histogram.add(GoldenData.values("heavy"))
    negated.add(GoldenData.values("heavy").map { -$0 })
    #expect(negated.positive == histogram.negative)
    #expect(negated.negative == histogram.positive)
    #expect(negated.min == -histogram.max)
  }

  @Test("growth from the smallest to the largest float keeps every value")
  func extremeGrowth() {
    var histogram = Histogram()
    histogram.add([.leastNonzeroMagnitude, -.leastNonzeroMagnitude])
    #expect(histogram.exponent == -137)
    histogram.add([.greatestFiniteMagnitude])
    #expect(histogram.exponent == 116)
    #expect(histogram.positive[0] == 1)
    #expect(histogram.negative[0] == 1)
    #expect(histogram.positive[4095] == 1)
    #expect(histogram.brokenInvariant() == nil)
  }

  @Test("merging is adding, whatever the two ranges are")
  func merging() {
    var draws = Draws(seed: 9)
    for round in 0..<40 {
      let pieces = (0..<3).map { _ in
        let exponent = draws.next(below: 200) - 100
        return GoldenData.scaled(
          (0..<draws.next(below: 50)).map { _ in draws.next(below: 2001) - (round % 2) * 1000 },
          exponent)
      }
      let shards = pieces.map { piece in
        var shard = Histogram()
        shard.add(piece)
        return shard
      }
      var forwards = Histogram()
      var backwards = Histogram()
      for shard in shards { forwards.merge(shard) }
      for shard in shards.reversed() { backwards.merge(shard) }
      let all = Self.obvious(pieces.flatMap { $0 })
      #expect(forwards == all)
      #expect(backwards == all)
    }
  }

  @Test("the share outside a range is exact at bin borders and zero at the extremes")
  func shares() {
    var histogram = Histogram()
    // Bins are 2^-9 wide: each of these values begins a bin of its own.
    histogram.add([-2, -1, 0, 0, 1, 2, 3, 4])
    #expect(histogram.share(outside: -2...4) == 0)
    #expect(histogram.share(outside: -1...4) == 2.0 / 8)
    #expect(histogram.share(outside: -2...3) == 2.0 / 8)
    #expect(histogram.share(outside: 0...0) == 6.0 / 8)
  }
}
