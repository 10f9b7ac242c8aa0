// SPDX-License-Identifier: Apache-2.0
// Finetuning: exponential, logarithm and cosine that give the same bits on every machine.

/// Elementary functions from IEEE `+ − × ÷` alone, because libm's differ between versions, and
/// between processors with and without fused multiply-add.
///
/// Errors are a few units of the last place of a double, far below what float32 training sees.
enum Elementary {
  /// eˣ. Below −708 the result is 0, above 709 infinity; NaN stays NaN.
  static func exp(_ x: Double) -> Double {
    if x.isNaN { return x }
    if x < -708 { return 0 }
    if x > 709 { return .infinity }
    // x = k·ln 2 + r with |r| ≤ ln 2 / 2. ln 2 in two parts, so that k·high is exact.
    let k = (x / ln2).rounded(.toNearestOrEven)
    let r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33
    // Horner's scheme over r^n / n!, n ≤ 13: the rest is below 2^-56.
    var sum = 1.0
    for n in stride(from: 13, through: 1, by: -1) { sum = 1 + sum * r / Double(n) }
    return sum * Double(sign: .plus, exponent: Int(k), significand: 1)
  }

  /// ln x for x > 0; −∞ for 0, NaN below.
  static func log(_ x: Double) -> Double {
    guard x > 0 else { return x == 0 ? -.infinity : .nan }
    guard x.isFinite else { return x }
    // x = m·2^k with m in [√½, √2); ln m = 2·artanh((m − 1)/(m + 1)).
    var m = x.significand
    var k = Double(x.exponent)
    if m > 1.4142135623730951 {
      m /= 2
      k += 1
    }
    let t = (m - 1) / (m + 1)
    let square = t * t
    // t² ≤ 0.0295, so term 12 is below 2^-64.
    var sum = 0.0
    for n in stride(from: 25, through: 1, by: -2) { sum = sum * square + 1 / Double(n) }
    return k * 0x1.62e42feep-1 + (k * 0x1.a39ef35793c76p-33 + 2 * t * sum)
  }

  /// cos(π·x) for x in 0...1.
  static func cosine(halfTurns x: Double) -> Double {
    precondition(x >= 0 && x <= 1, "a schedule asks for half a turn at most")
    // The quarter turn around 1/2 by the sine, which is odd there and loses nothing.
    let angle = (0.5 - x) * Double.pi
    let square = angle * angle
    // sin(angle), |angle| ≤ π/2, terms to angle^23 / 23!: the rest is below 2^-60.
    var sum = 1.0
    for n in stride(from: 22, through: 2, by: -2) {
      sum = 1 - sum * square / Double(n * (n + 1))
    }
    return angle * sum
  }

  /// xⁿ for n ≥ 0, by squaring.
  static func power(_ x: Double, _ n: Int) -> Double {
    precondition(n >= 0, "steps are counted from 0")
    var (result, square, rest) = (1.0, x, n)
    while rest > 0 {
      if rest & 1 == 1 { result *= square }
      square *= square
      rest >>= 1
    }
    return result
  }

  /// ln 2.
  static let ln2 = 0x1.62e42fefa39efp-1
}
