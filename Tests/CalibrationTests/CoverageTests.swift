// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Testing

@testable import Calibration

@Suite("coverage")
struct CoverageTests {
  private func scale(
    _ low: Float, _ high: Float, to range: ClosedRange<Double>, clipped: Double = 0,
    method: String = "mse"
  ) -> TensorScale {
    TensorScale(
      min: low, max: high, count: 1000, threshold: [range.lowerBound, range.upperBound],
      scale: 0.01, zeroPoint: 0, method: method, clipped: clipped)
  }

  private func coverage(
    _ values: [Float], _ scale: TensorScale, limit: Double = CoverageTable.usualLimit
  ) throws -> TensorCoverage {
    var counter = CoverageAccumulator(scale)
    counter.add(values)
    return try TensorCoverage(counter, scale: scale, tensor: "x", limit: limit)
  }

  @Test("values on the bounds are inside, the next floats outside")
  func exactBounds() throws {
    let scale = scale(-1, 2, to: -1...2)
    let inside = try coverage([-1, 2, 0], scale)
    #expect(inside.belowShare == 0 && inside.aboveShare == 0)
    #expect(inside.verdict == .covered)
    #expect(inside.advice.isEmpty)
    let outside = try coverage([Float(-1).nextDown, Float(2).nextUp, 0, 0], scale)
    #expect(outside.belowShare == 0.25 && outside.aboveShare == 0.25)
    #expect(outside.verdict == .insufficient)
  }

  @Test("lost energy is the squared distance to the range over the squared values")
  func energy() throws {
    let found = try coverage([3, -2, 1], scale(-1, 2, to: -1...2))
    #expect(found.energyLost == (1.0 + 1.0) / (9 + 4 + 1))
    #expect(found.min == -2 && found.max == 3)
  }

  @Test("a share of 0.1 % is the border")
  func limit() throws {
    let scale = scale(-1, 1, to: -1...1)
    let barely: Float = 1.0001
    #expect(
      try coverage([Float](repeating: 1, count: 999) + [barely], scale).verdict == .covered)
    #expect(
      try coverage([Float](repeating: 1, count: 998) + [barely], scale).verdict == .insufficient)
  }

  @Test("a method that clips knowingly may clip twice that on fresh values")
  func knowinglyClipped() throws {
    let scale = scale(-0.375, 1, to: -0.37...1, clipped: 0.02)
    let spike = [Float](repeating: -0.372, count: 30)
    #expect(try coverage([Float](repeating: 1, count: 970) + spike, scale).verdict == .covered)
    #expect(
      try coverage([Float](repeating: 1, count: 940) + spike + spike, scale).verdict
        == .insufficient)
  }

  @Test("few values far out lose energy, which no share shows")
  func farOut() throws {
    let values = [Float](repeating: 0.5, count: 9999) + [100]
    let found = try coverage(values, scale(-1, 1, to: -1...1))
    #expect(found.aboveShare <= 0.001)
    #expect(found.energyLost > 0.5)
    #expect(found.verdict == .insufficient)
  }

  @Test("advice tells new values from a method that clips too much")
  func advice() throws {
    let new = try coverage([1, 5], scale(-1, 2, to: -1...2))
    #expect(new.advice.contains("add images like these"))
    let tight = try coverage([1, 4], scale(-1, 5, to: -1...2, method: "percentile 90"))
    #expect(tight.advice.contains("method percentile 90 clips"))
    let zero = try coverage([1, 4], scale(0, 0, to: 0...0))
    #expect(zero.advice.contains("all zero"))
  }

  @Test("merged counters count what one counter counts")
  func merging() {
    let values = GoldenData.values("normal")
    var whole = CoverageAccumulator(low: -1, high: 1.5)
    whole.add(values)
    var merged = CoverageAccumulator(low: -1, high: 1.5)
    for part in GoldenData.split(values, into: 3) {
      var shard = CoverageAccumulator(low: -1, high: 1.5)
      shard.add(part)
      merged.merge(shard)
    }
    #expect(merged.below == whole.below && merged.above == whole.above)
    #expect(whole.below == UInt64(values.count { $0 < -1 }))
    #expect(merged.min == whole.min && merged.max == whole.max && merged.count == whole.count)
    #expect(abs(merged.lostEnergy - whole.lostEnergy) < 1e-9 * whole.lostEnergy)
  }

  @Test("NaN, infinities and no values are refused by the tensor's name")
  func refusals() {
    for values: [Float] in [[.nan], [1, .infinity], [-.infinity], []] {
      let error = #expect(throws: QuenchError.self) {
        try coverage(values, scale(-1, 1, to: -1...1))
      }
      #expect(error?.kind == .data)
      #expect(error?.place == .tensor("x"))
    }
  }

  @Test("one insufficient tensor makes the table insufficient")
  func table() throws {
    let good = try coverage([0], scale(-1, 1, to: -1...1))
    let bad = try coverage([9], scale(-1, 1, to: -1...1))
    #expect(CoverageTable(samples: 1, tensors: ["a": good]).verdict == .covered)
    #expect(CoverageTable(samples: 1, tensors: ["a": good, "b": bad]).verdict == .insufficient)
  }
}
