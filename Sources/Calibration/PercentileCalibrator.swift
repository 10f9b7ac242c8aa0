// SPDX-License-Identifier: Apache-2.0
// Calibration: clip the rarest large magnitudes.

/// A share as an exact fraction, so that no decimal is rounded on the way: 99.99 % is 9999/10000.
public struct PercentileFraction: Sendable, Equatable {
  /// Above zero, at most `denominator`.
  public let numerator: UInt64
  /// Above zero.
  public let denominator: UInt64

  /// The fraction in lowest terms.
  ///
  /// - Precondition: `0 < numerator ≤ denominator`.
  public init(numerator: UInt64, denominator: UInt64) {
    precondition(numerator > 0 && numerator <= denominator, "a share is above 0 and at most 1")
    var (a, b) = (denominator, numerator)
    while b != 0 { (a, b) = (b, a % b) }
    self.numerator = numerator / a
    self.denominator = denominator / a
  }

  /// Reads a percentage as users write it, "99.99"; nil when it is not a plain decimal above 0 and
  /// at most 100 with at most 12 decimals.
  public init?(percent text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    let decimals = parts.count == 2 ? parts[1].count : 0
    guard parts.count <= 2, decimals <= 12, text.utf8.count <= 16,
      parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy { (48...57).contains($0) } })
    else { return nil }
    var digits: UInt64 = 0
    for part in parts {
      for digit in part { digits = digits * 10 + UInt64(digit - 48) }
    }
    var denominator: UInt64 = 100
    for _ in 0..<decimals { denominator *= 10 }
    guard digits > 0, digits <= denominator else { return nil }
    self.init(numerator: digits, denominator: denominator)
  }

  /// The usual default, 99.99 %.
  public static let usual = PercentileFraction(numerator: 9999, denominator: 10000)

  /// As a percentage, for people.
  public var percent: Double { Double(numerator) / Double(denominator) * 100 }
}

/// Clips the rarest large magnitudes and spreads the codes over the rest.
///
/// Cheaper than a search and steady with few images; it keeps its clipping share however much
/// energy the tail holds, so coverage should be checked afterwards. The answer is within one bin
/// width of the nearest-rank order statistic. A bin is at most a 2048th of the largest magnitude:
/// where one wild value is 2^k times the rest, 4096/2^k bins are left for the rest, and there is no
/// second pass with narrower ones.
public struct PercentileCalibrator: Calibrator {
  /// Share of all values, zeros included, that stays unclipped.
  public let kept: PercentileFraction

  /// Makes the calibrator.
  public init(kept: PercentileFraction = .usual) { self.kept = kept }

  /// For example "percentile 99.99".
  public var name: String {
    let percent = kept.percent
    return percent == percent.rounded() ? "percentile \(Int(percent))" : "percentile \(percent)"
  }

  /// The threshold on both sides, within the extremes.
  public func range(
    for histogram: Histogram, scheme: ActivationScheme
  ) -> ClosedRange<Double> {
    histogram.clipped(to: threshold(for: histogram), scheme: scheme)
  }

  /// The magnitude of rank ⌈count · kept⌉: nearest rank, interpolated only inside its bin, at most
  /// the largest magnitude; 0 when that many values are zero.
  public func threshold(for histogram: Histogram) -> Double {
    let rank = self.rank(among: histogram.count)
    let largest = Double(histogram.absoluteMaximum)
    guard rank < histogram.count else { return largest }
    var before = histogram.zeros
    guard rank > before else { return 0 }
    for (bin, count) in histogram.folded.enumerated() {
      if before + count >= rank {
        let position = Double(bin) + Double(rank - before) / Double(count)
        return min(position * histogram.binWidth, largest)
      }
      before += count
    }
    preconditionFailure("the bins add up to \(before), fewer than the rank \(rank)")
  }

  private func rank(among count: UInt64) -> UInt64 {
    // 128 bits wide, because long runs on large tensors times 10^14 pass 64.
    let product = count.multipliedFullWidth(by: kept.numerator)
    let (quotient, remainder) = kept.denominator.dividingFullWidth(product)
    return remainder == 0 ? quotient : quotient + 1
  }
}
