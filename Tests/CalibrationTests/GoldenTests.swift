// SPDX-License-Identifier: Apache-2.0
// The golden table, bit for bit. Where its values come from: see GoldenValues.swift.

import Artifacts
import Tensors
import Testing

@testable import Calibration

@Suite("golden table")
struct GoldenTests {
  private static let byName = Dictionary(
    uniqueKeysWithValues: Golden.inputs.map { ($0.name, $0) })

  @Test("the inputs have the bytes that the table was made from", arguments: GoldenData.names)
  func inputs(name: String) throws {
    let golden = try #require(Self.byName[name])
    let bytes = GoldenData.values(name).withUnsafeBytes { Array($0) }
    #expect(try ContentDigest.of(bytes).hex == golden.digest)
  }

  @Test("a histogram has the bytes of the table", arguments: GoldenData.names)
  func histograms(name: String) throws {
    let golden = try #require(Self.byName[name])
    let histogram = GoldenData.histogram(name)
    #expect(histogram.brokenInvariant() == nil)
    #expect(histogram.exponent == golden.exponent)
    #expect((histogram.positive.lastIndex { $0 != 0 } ?? -1) + 1 == golden.binsAbove)
    #expect((histogram.negative.lastIndex { $0 != 0 } ?? -1) + 1 == golden.binsBelow)
    #expect(histogram.zeros == golden.zeros)
    #expect(histogram.min == golden.min)
    #expect(histogram.max == golden.max)
    #expect(try ContentDigest.of(histogram.canonicalBytes).hex == golden.histogram)
  }

  @Test("order, batches and shards change no byte", arguments: ["normal", "growth", "outlier"])
  func invariance(name: String) {
    let values = GoldenData.values(name)
    let expected = GoldenData.histogram(name)
    var reversed = Histogram()
    for part in GoldenData.split(values.reversed(), into: 8) { reversed.add(part) }
    #expect(reversed == expected)
    for parts in [1, 64] {
      var histogram = Histogram()
      for part in GoldenData.split(values, into: parts) { histogram.add(part) }
      #expect(histogram == expected)
    }
    var merged = Histogram()
    for part in GoldenData.split(values, into: 5).reversed() {
      var shard = Histogram()
      shard.add(part)
      merged.merge(shard)
    }
    #expect(merged == expected)
    #expect(merged.canonicalBytes == expected.canonicalBytes)
  }

  @Test("NaN, infinities, signed zeros and subnormals are counted where they belong")
  func special() throws {
    let values = GoldenData.special
    #expect(
      try ContentDigest.of(values.withUnsafeBytes { Array($0) }).hex
        == "e7ca390513cf20f9cd83b027c90ba557e214ce56162318002c41ec1268cd6304")
    var histogram = Histogram()
    histogram.add(values)
    #expect(histogram.nans == 1)
    #expect(histogram.positiveInfinities == 1)
    #expect(histogram.negativeInfinities == 1)
    #expect(histogram.zeros == 2)
    #expect(histogram.min == -1)
    #expect(histogram.max == .greatestFiniteMagnitude)
    #expect(histogram.exponent == 116)
    #expect(nonEmpty(histogram.positive) == [[0, 4], [4095, 1]])
    #expect(nonEmpty(histogram.negative) == [[0, 2]])
  }

  @Test("logarithms have the bits of the table")
  func logarithms() {
    for (x, expected) in Golden.logarithms { #expect(NaturalLogarithm.ln(x) == expected) }
  }

  @Test("thresholds have the bits of the table", arguments: Golden.thresholds)
  func thresholds(golden: GoldenThresholds) {
    let histogram = GoldenData.histogram(golden.name)
    let topCode = histogram.isSigned ? 127 : 255
    let levels = histogram.isSigned ? 128 : 256
    let found = [
      Double(histogram.absoluteMaximum), PercentileCalibrator().threshold(for: histogram),
      EntropyCalibrator().threshold(for: histogram, levels: levels),
      MSECalibrator().symmetricThreshold(for: histogram, topCode: topCode),
    ]
    #expect(
      found == [golden.absolute, golden.percentile, golden.entropy, golden.squaredError])
    #expect(golden.squaredError == golden.exhaustive)
    #expect(found.map { Float($0 / Double(topCode)) } == golden.steps)
    let range = MSECalibrator().asymmetricRange(for: histogram)
    #expect(range == golden.low...golden.high)
    let scale = Scale.affine(low: range.lowerBound, high: range.upperBound)
    #expect(scale.scale == golden.step)
    #expect(scale.zeroPoint == golden.zeroPoint)
  }

  @Test("costs inside the searches have the bits of the table", arguments: Golden.curves)
  func curves(golden: GoldenCurve) throws {
    let histogram = GoldenData.histogram(golden.name)
    let levels = histogram.isSigned ? 128 : 256
    var divergences: [Int: Double] = [:]
    EntropyCalibrator().scan(histogram, levels: levels) { divergences[$0] = $1 }
    for (bins, divergence) in golden.entropy { #expect(divergences[bins] == divergence) }
    let candidates = histogram.folded.count - levels + 1
    #expect(candidates - divergences.count == golden.rejected)
    for (bins, cost) in golden.squaredError {
      let found = MSECalibrator().symmetricCost(
        of: histogram, threshold: histogram.threshold(bins: bins),
        topCode: histogram.isSigned ? 127 : 255)
      #expect(found == cost)
    }
    for (percent, threshold) in golden.percentiles {
      let kept = try #require(PercentileFraction(percent: percent))
      #expect(PercentileCalibrator(kept: kept).threshold(for: histogram) == threshold)
    }
  }

  // 1e-6 relative: the table's errors are numpy's pairwise sums, ours run in order.
  @Test("the asymmetric scale has the true error of the table", arguments: Golden.thresholds)
  func errors(golden: GoldenThresholds) throws {
    let values = GoldenData.values(golden.name)
    let scale = try Calibrators.scale(
      for: GoldenData.histogram(golden.name), tensor: "x", method: .mse, scheme: .asymmetric)
    let quantizer = scale.quantizer
    var error = ErrorAccumulator()
    error.add(
      reference: values, candidate: values.map { quantizer.dequantize(quantizer.quantize($0)) })
    let expected = try #require(golden.relativeErrors.last)
    guard expected >= 0 else { return }
    #expect(abs(error.relativeError - expected) <= 1e-6 * expected)
  }

  private func nonEmpty(_ side: [UInt64]) -> [[UInt64]] {
    side.enumerated().filter { $0.element != 0 }.map { [UInt64($0.offset), $0.element] }
  }
}
