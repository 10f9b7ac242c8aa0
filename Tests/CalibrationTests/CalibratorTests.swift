// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import Tensors
import Testing

@testable import Calibration

@Suite("calibrators")
struct CalibratorTests {
  static let methods: [CalibrationMethod] = [.minmax, .kl, .mse, .percentile(.usual)]

  /// Random shapes: normal, one-sided, skewed, spiked; a few thousand values each.
  static func randomValues(seed: UInt64) -> [Float] {
    var draws = Draws(seed: seed)
    let count = 500 + draws.next(below: 3000)
    let normal = GoldenData.scaled(
      GoldenData.nearNormal(seed: seed, count), -24 + draws.next(below: 40) - 20)
    switch seed % 4 {
    case 0: return normal
    case 1: return normal.map { max(0, $0) }
    case 2: return normal.map { $0 > 0 ? $0 * 3 : $0 }
    default:
      let top = normal.max() ?? 0
      return normal.map { min($0, top / 3) }
    }
  }

  static func histogram(_ values: [Float]) -> Histogram {
    var histogram = Histogram()
    histogram.add(values)
    return histogram
  }

  // MARK: Against slow, obvious versions

  @Test("percentile is within a bin of the nearest-rank order statistic", arguments: 0..<12)
  func percentile(seed: Int) throws {
    let values = Self.randomValues(seed: UInt64(seed))
    let histogram = Self.histogram(values)
    let sorted = values.map { Double($0.magnitude) }.sorted()
    for (percent, part) in [("50", 0.5), ("90", 0.9), ("99.9", 0.999), ("100", 1)] {
      let kept = try #require(PercentileFraction(percent: percent))
      let rank = Int((part * Double(sorted.count)).rounded(.up))
      let found = PercentileCalibrator(kept: kept).threshold(for: histogram)
      #expect(abs(found - sorted[rank - 1]) <= histogram.binWidth)
    }
  }

  /// KL(P‖Q), both normalised, bin by bin with libm's logarithm.
  private func obviousDivergence(_ counts: [UInt64], kept: Int, levels: Int) -> Double {
    // Not `map(Double.init)`: of UInt64 that takes the bit pattern.
    let all = counts.map { Double($0) }
    let total = all.reduce(0, +)
    let inside = all[..<kept].reduce(0, +)
    var sums = [Double](repeating: 0, count: levels)
    var used = sums
    for bin in 0..<kept where all[bin] > 0 {
      sums[bin * levels / kept] += all[bin]
      used[bin * levels / kept] += 1
    }
    var divergence = 0.0
    for bin in 0..<kept where all[bin] > 0 {
      let p = (all[bin] + (bin == kept - 1 ? total - inside : 0)) / total
      let level = bin * levels / kept
      divergence += p * log(p / (sums[level] / used[level] / inside))
    }
    return divergence
  }

  @Test("divergences are those of the definition", arguments: 0..<8)
  func entropy(seed: Int) {
    let histogram = Self.histogram(Self.randomValues(seed: UInt64(seed)))
    let counts = histogram.folded
    let levels = histogram.isSigned ? 128 : 256
    var least = Double.infinity
    var leastBins = 0
    EntropyCalibrator().scan(histogram, levels: levels) { bins, divergence in
      if divergence <= least { (least, leastBins) = (divergence, bins) }
      // Every candidate would take long in debug builds.
      guard bins % 37 == 0 || bins == counts.count else { return }
      let expected = obviousDivergence(counts, kept: bins, levels: levels)
      // Some thousand additions of terms below 10: about 1e-12 of rounding.
      #expect(abs(divergence - expected) < 1e-10)
    }
    #expect(
      EntropyCalibrator().threshold(for: histogram, levels: levels)
        == histogram.threshold(bins: leastBins))
  }

  @Test("the squared error is the integral over evenly spread bins", arguments: 0..<4)
  func squaredError(seed: Int) {
    let histogram = Self.histogram(Self.randomValues(seed: UInt64(seed)))
    let width = histogram.binWidth
    for part in [0.3, 0.7, 1.0] {
      let threshold = part * Double(histogram.absoluteMaximum)
      let step = threshold / 127
      var expected = 0.0
      // The midpoint rule at 32 points a bin.
      for (bin, count) in histogram.folded.enumerated() where count > 0 {
        for point in 0..<32 {
          let x = (Double(bin) + (Double(point) + 0.5) / 32) * width
          let error = x - min((x / step).rounded(.toNearestOrEven), 127) * step
          expected += Double(count) * error * error / 32
        }
      }
      let found = MSECalibrator().symmetricCost(of: histogram, threshold: threshold, topCode: 127)
      // The midpoint rule errs by width²/(12·32²) a value, and at the kinks.
      #expect(abs(found - expected) < 2e-3 * expected)
    }
  }

  @Test("mse clips no worse than the extremes do", arguments: 0..<12)
  func noWorseThanExtremes(seed: Int) throws {
    let values = Self.randomValues(seed: UInt64(seed))
    let histogram = Self.histogram(values)
    for scheme in ActivationScheme.allCases {
      let errors = try [CalibrationMethod.mse, .minmax].map { method in
        let quantizer = try Calibrators.scale(
          for: histogram, tensor: "x", method: method, scheme: scheme
        ).quantizer
        var error = ErrorAccumulator()
        error.add(
          reference: values, candidate: values.map { quantizer.dequantize(quantizer.quantize($0)) })
        return error.relativeError
      }
      // 10 %: the search sees evenly spread bins, not the few thousand values themselves.
      #expect(errors[0] <= errors[1] * 1.1)
    }
  }

  // MARK: Properties

  @Test("doubling the values doubles the step", arguments: 0..<8)
  func doubling(seed: Int) throws {
    let values = Self.randomValues(seed: UInt64(seed))
    for method in Self.methods {
      for scheme in ActivationScheme.allCases {
        let one = try Calibrators.scale(
          for: Self.histogram(values), tensor: "x", method: method, scheme: scheme)
        let two = try Calibrators.scale(
          for: Self.histogram(values.map { $0 * 2 }), tensor: "x", method: method, scheme: scheme)
        #expect(two.scale == 2 * one.scale)
        #expect(two.zeroPoint == one.zeroPoint)
        #expect(two.clipped == one.clipped)
      }
    }
  }

  @Test("more data never narrows minmax")
  func widening() throws {
    var histogram = Histogram()
    var last: [Double] = [0, 0]
    for seed in 0..<12 {
      histogram.add(Self.randomValues(seed: UInt64(seed)))
      let scale = try Calibrators.scale(
        for: histogram, tensor: "x", method: .minmax, scheme: .asymmetric)
      #expect(scale.threshold[0] <= last[0] && scale.threshold[1] >= last[1])
      #expect(scale.clipped == 0)
      last = scale.threshold
    }
  }

  @Test("symmetric ranges are mirror images with zero point 0", arguments: 0..<4)
  func symmetric(seed: Int) throws {
    let histogram = Self.histogram(Self.randomValues(seed: UInt64(seed)))
    for method in Self.methods {
      let scale = try Calibrators.scale(
        for: histogram, tensor: "x", method: method, scheme: .symmetric)
      #expect(scale.threshold[0] == -scale.threshold[1])
      #expect(scale.zeroPoint == 0)
      #expect(scale.scale == Float(scale.threshold[1] / 127))
    }
  }

  @Test("kl and percentile use their threshold on both sides, but not beyond the extremes")
  func bothSides() throws {
    let histogram = GoldenData.histogram("hardswish")
    for method in [CalibrationMethod.kl, .percentile(.usual)] {
      let scale = try Calibrators.scale(
        for: histogram, tensor: "x", method: method, scheme: .asymmetric)
      let mirrored = try Calibrators.scale(
        for: histogram, tensor: "x", method: method, scheme: .symmetric)
      #expect(scale.threshold == [Double(histogram.min), mirrored.threshold[1]])
      #expect(scale.clipped > 0)
    }
  }

  // MARK: Odd tensors

  @Test("an all-zero tensor gets scale 1 and says so", arguments: ActivationScheme.allCases)
  func allZero(scheme: ActivationScheme) throws {
    for method in Self.methods {
      let scale = try Calibrators.scale(
        for: GoldenData.histogram("allzero"), tensor: "x", method: method, scheme: scheme)
      #expect(scale.scale == 1)
      #expect(scale.isAllZero)
      #expect(scale.method == "all-zero")
      #expect(scale.quantizer.dequantize(scale.quantizer.quantize(0)) == 0)
    }
  }

  @Test("where a percentile would clip every value, the extremes are used")
  func nearlyAllZero() throws {
    var histogram = Histogram()
    histogram.add([Float](repeating: 0, count: 20_000) + [2.55])
    let scale = try Calibrators.scale(
      for: histogram, tensor: "x", method: .percentile(.usual), scheme: .asymmetric)
    #expect(scale.threshold == [0, Double(Float(2.55))])
    #expect(scale.method == "minmax")
    #expect(scale.clipped == 0)
  }

  @Test("subnormal values do not break a method")
  func subnormal() throws {
    let histogram = Self.histogram(
      (1...300).map { Float(bitPattern: UInt32($0)) * ($0 % 2 == 0 ? 1 : -1) })
    for method in Self.methods {
      for scheme in ActivationScheme.allCases {
        let scale = try Calibrators.scale(
          for: histogram, tensor: "x", method: method, scheme: scheme)
        #expect(scale.scale == 1)
      }
    }
  }

  @Test("the whole range of float32 does not break a method")
  func widest() throws {
    let most = Float.greatestFiniteMagnitude
    let histogram = Self.histogram([-most, most, 1, -1, 0])
    for method in Self.methods {
      for scheme in ActivationScheme.allCases {
        let scale = try Calibrators.scale(
          for: histogram, tensor: "x", method: method, scheme: scheme)
        #expect(scale.scale.isFinite && scale.scale > 1e30)
      }
    }
  }

  @Test("one value only is a normal case")
  func single() throws {
    for value in [Float(3), -3, 1e-20] {
      for method in Self.methods {
        for scheme in ActivationScheme.allCases {
          let quantizer = try Calibrators.scale(
            for: Self.histogram([value]), tensor: "x", method: method, scheme: scheme
          ).quantizer
          let back = quantizer.dequantize(quantizer.quantize(value))
          #expect(abs(back - value) <= quantizer.scale / 2)
        }
      }
    }
  }

  @Test("NaN and infinities are refused by the tensor's name")
  func nonFinite() {
    let cases: [([Float], String)] = [
      ([1, .nan, .nan], "2 NaN"), ([.infinity, 0], "1 infinite"),
      ([.nan, -.infinity, 1], "1 NaN and 1 infinite"),
    ]
    for (values, words) in cases {
      let error = #expect(throws: QuenchError.self) {
        try Calibrators.scale(
          for: Self.histogram(values), tensor: "conv1/out", method: .mse, scheme: .asymmetric)
      }
      #expect(error?.kind == .data)
      #expect(
        error?.message
          == "tensor \"conv1/out\" has \(words) values, so no scale can be right")
    }
  }

  @Test("a tensor that was never seen is refused by its name")
  func unseen() {
    let error = #expect(throws: QuenchError.self) {
      try Calibrators.scale(
        for: Histogram(), tensor: "conv1/out", method: .mse, scheme: .asymmetric)
    }
    #expect(error?.kind == .data)
    #expect(error?.place == .tensor("conv1/out"))
  }

  // MARK: Options

  @Test("percentages are read exactly")
  func percentages() {
    #expect(
      PercentileFraction(percent: "99.99")
        == PercentileFraction(numerator: 9999, denominator: 10000))
    #expect(PercentileFraction(percent: "100") == PercentileFraction(numerator: 1, denominator: 1))
    #expect(
      PercentileFraction(percent: "0.1") == PercentileFraction(numerator: 1, denominator: 1000))
    for bad in ["", "0", "0.0", "100.01", "-1", "1e2", "99,9", ".5", "5.", "1.2.3", "nan", "9 9"] {
      #expect(PercentileFraction(percent: bad) == nil)
    }
  }

  @Test("a rank does not overflow on very many values")
  func ranks() throws {
    var histogram = Histogram()
    histogram.exponent = -11
    histogram.positive = [UInt64](repeating: 0, count: Histogram.binsPerSide)
    histogram.positive[2048] = 1 << 61
    histogram.zeros = 1 << 61
    histogram.count = 1 << 62
    histogram.max = 1
    let kept = try #require(PercentileFraction(percent: "99.999999999999"))
    #expect(PercentileCalibrator(kept: kept).threshold(for: histogram) == 1)
  }

  @Test("a method is found by name, else the nearest is suggested")
  func names() throws {
    for name in CalibrationMethod.names {
      let method = try CalibrationMethod(name: name, percentile: .usual)
      #expect(method.description.split(separator: " ").first.map(String.init) == name)
    }
    let error = #expect(throws: QuenchError.self) {
      try CalibrationMethod(name: "minmix", percentile: .usual)
    }
    #expect(error?.kind == .usage)
    #expect(error?.message.contains("did you mean \"minmax\"?") == true)
  }
}
