// SPDX-License-Identifier: Apache-2.0
// Calibration: a logarithm that gives the same bits on every machine.

/// The natural logarithm from IEEE `+ − × ÷` alone, because libm's differs between versions.
enum NaturalLogarithm {
  /// 1/25, 1/23 … 1/1: the series of atanh, highest power first.
  private static let coefficients: [Double] = (0...12).reversed().map { 1 / Double(2 * $0 + 1) }

  /// ln x for a normal x > 0.
  ///
  /// With x = m·2^k and m in √½…√2: k·ln 2 + 2t·P(t²), t = (m − 1)/(m + 1).
  static func ln(_ x: Double) -> Double {
    var k = x.exponent + 1
    var m = x.significand * 0.5
    if m < 0.7071067811865476 {
      m *= 2
      k -= 1
    }
    let t = (m - 1) / (m + 1)
    let t2 = t * t
    return coefficients.withUnsafeBufferPointer { c in
      var sum = c[0]
      for j in 1..<c.count { sum = sum * t2 + c[j] }
      return Double(k) * 0.6931471805599453 + 2 * t * sum
    }
  }

  /// ln n for the counts 1...65,535 (index 0 holds 0): most of a search's logarithms.
  static let ofCounts: [Double] = (0..<65_536).map { $0 == 0 ? 0 : ln(Double($0)) }

  /// ln n for a count above zero.
  @inline(__always)
  static func ln(count: UInt64, _ table: UnsafeBufferPointer<Double>) -> Double {
    count < UInt64(table.count) ? table[Int(count)] : ln(Double(count))
  }
}
