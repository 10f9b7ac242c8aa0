// SPDX-License-Identifier: Apache-2.0
// Calibration: clip nothing.

/// Spans the exact extremes. Clips nothing, so one wild value costs all others resolution.
public struct MinMaxCalibrator: Calibrator {
  /// Makes the calibrator; it has no settings.
  public init() {}

  /// "minmax".
  public var name: String { "minmax" }

  /// The extremes, widened to hold zero; ±the larger magnitude for the symmetric scheme.
  public func range(
    for histogram: Histogram, scheme: ActivationScheme
  ) -> ClosedRange<Double> {
    histogram.clipped(to: Double(histogram.absoluteMaximum), scheme: scheme)
  }
}

extension Histogram {
  /// A threshold on magnitudes as a range: −T…T when symmetric, else T on both sides but no further
  /// than the extremes.
  func clipped(to threshold: Double, scheme: ActivationScheme) -> ClosedRange<Double> {
    switch scheme {
    case .symmetric: -threshold...threshold
    case .asymmetric:
      Swift.min(
        0, Swift.max(Double(min), -threshold))...Swift.max(
          0, Swift.min(Double(max), threshold))
    }
  }
}
