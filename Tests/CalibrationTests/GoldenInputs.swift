// SPDX-License-Identifier: Apache-2.0
// The inputs behind the golden values, made from a linear congruential generator and integer sums,
// so that they need neither a random library nor a mathematical one.

import Calibration

/// Draws of 24 bits. Multiplier and increment are Knuth's for MMIX.
struct Draws {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 40)
  }

  /// 0..<bound; the slight bias does not matter to a test.
  mutating func next(below bound: Int) -> Int { next() % bound }
}

enum GoldenData {
  static let names = [
    "normal", "relu", "heavy", "outlier", "uniform", "hardswish", "ramp", "growth", "allzero",
    "constant", "tiny", "huge",
  ]

  private static let all: [String: [Float]] = Dictionary(
    uniqueKeysWithValues: names.map { ($0, make($0)) })

  static func values(_ name: String) -> [Float] { all[name] ?? [] }

  static func histogram(_ name: String) -> Histogram {
    var histogram = Histogram()
    for part in split(values(name), into: 8) { histogram.add(part) }
    return histogram
  }

  static func split(_ values: [Float], into parts: Int) -> [[Float]] {
    (0..<parts).map { part in
      Array(values[(values.count * part / parts)..<(values.count * (part + 1) / parts)])
    }
  }

  /// NaN, infinities, signed zeros, subnormals, the largest finite number.
  static let special: [Float] = [
    0x7FC0_0000, 0x7F80_0000, 0xFF80_0000, 0x0000_0000, 0x8000_0000, 0x0000_0001, 0x8000_0001,
    0x007F_FFFF, 0x0080_0000, 0x3F80_0000, 0xBF80_0000, 0x7F7F_FFFF,
  ].map { Float(bitPattern: $0) }

  /// Sums of twelve draws less their mean: nearly normal integers of variance 2^48.
  static func nearNormal(seed: UInt64, _ count: Int) -> [Int] {
    var draws = Draws(seed: seed)
    return (0..<count).map { _ in (0..<12).reduce(-6 << 24) { sum, _ in sum + draws.next() } }
  }

  static func scaled(_ integers: [Int], _ exponent: Int) -> [Float] {
    let factor = Float(sign: .plus, exponent: exponent, significand: 1)
    return integers.map { Float($0) * factor }
  }

  private static func make(_ name: String) -> [Float] {
    let count = 16_384
    switch name {
    case "normal": return scaled(nearNormal(seed: 1, count), -24)
    case "relu": return scaled(nearNormal(seed: 2, count), -24).map { $0 > 0 ? $0 : 0 }
    case "heavy":
      var draws = Draws(seed: 4)
      return nearNormal(seed: 3, count).map { Float(Double($0) / Double(draws.next() + (1 << 19))) }
    case "outlier":
      var values = make("normal")
      values[777] = 1000
      return values
    case "uniform":
      var draws = Draws(seed: 5)
      return scaled((0..<count).map { _ in 2 * draws.next() - (1 << 24) }, -24)
    case "hardswish":
      return nearNormal(seed: 6, count).map { integer in
        let x = Double(integer) / 8_388_608
        return Float(x * min(max(x + 3, 0), 6) / 6)
      }
    case "ramp": return scaled((0..<count).map { $0 - count / 2 }, -11)
    case "growth":
      let integers = nearNormal(seed: 7, count)
      return (0..<8).flatMap { part in
        scaled(Array(integers[(2048 * part)..<(2048 * (part + 1))]), -24 + part - 7)
      }
    case "allzero": return [Float](repeating: 0, count: 64)
    case "constant": return [Float](repeating: 1, count: 64)
    case "tiny": return scaled(scaled(nearNormal(seed: 8, 1024), -24), -60)
    case "huge": return scaled(scaled(nearNormal(seed: 9, 1024), -24), 100)
    default: return []
    }
  }

  private static func scaled(_ values: [Float], _ exponent: Int) -> [Float] {
    values.map { $0 * Float(sign: .plus, exponent: exponent, significand: 1) }
  }
}
