// SPDX-License-Identifier: Apache-2.0
// Calibration: the role of a calibrator, and the one place that turns its answer into a scale.

public import Diagnostics
internal import Tensors

/// Which codes activations use.
public enum ActivationScheme: String, Sendable, Codable, CaseIterable {
  /// Zero point 0: the range is −T…T.
  case symmetric
  /// Any zero point: the range has two ends.
  case asymmetric
}

/// Chooses the range of values that the 8-bit codes span.
public protocol Calibrator: Sendable {
  /// The method's name as users write it, with its setting if it has one.
  var name: String { get }

  /// The ends of the range in tensor units, `lowerBound ≤ 0 ≤ upperBound`, mirror-symmetric for the
  /// symmetric scheme.
  ///
  /// - Precondition: the histogram holds at least one value that is not zero.
  func range(for histogram: Histogram, scheme: ActivationScheme) -> ClosedRange<Double>
}

/// The methods by name.
public enum CalibrationMethod: Sendable, Equatable {
  /// The exact extremes.
  case minmax
  /// Least relative entropy between the values and their quantised form.
  case kl
  /// Least squared error.
  case mse
  /// The given share of all values stays unclipped.
  case percentile(PercentileFraction)

  /// The names that `init(name:percentile:)` accepts.
  public static let names = ["minmax", "kl", "mse", "percentile"]

  /// The method of that name; `percentile` is used by the method "percentile" only.
  ///
  /// - Throws: `.usage` for an unknown name, with the nearest one.
  public init(name: String, percentile: PercentileFraction) throws(QuenchError) {
    switch name {
    case "minmax": self = .minmax
    case "kl": self = .kl
    case "mse": self = .mse
    case "percentile": self = .percentile(percentile)
    default:
      throw QuenchError(
        .usage,
        "\"\(name)\" is not a calibration method"
          + NearestName.hint(name, among: CalibrationMethod.names),
        try: "one of \(CalibrationMethod.names.joined(separator: ", "))")
    }
  }

  /// The method's name as users write it, with its setting if it has one.
  public var description: String { calibrator.name }

  /// What carries the method out.
  public var calibrator: any Calibrator {
    switch self {
    case .minmax: MinMaxCalibrator()
    case .kl: EntropyCalibrator()
    case .mse: MSECalibrator()
    case .percentile(let fraction): PercentileCalibrator(kept: fraction)
    }
  }
}

extension CalibrationMethod: CustomStringConvertible {}

/// From a histogram to a scale.
public enum Calibrators {
  /// The scale of a tensor.
  ///
  /// An all-zero tensor gets scale 1 and the method "all-zero". Where the method would clip every
  /// value (a percentile of a tensor that is zero almost everywhere), the extremes are used and
  /// the method says "minmax".
  /// - Throws: `.data`, naming the tensor, when no value, or NaN, or an infinity was observed.
  public static func scale(
    for histogram: Histogram, tensor: String, method: CalibrationMethod, scheme: ActivationScheme
  ) throws(QuenchError) -> TensorScale {
    try check(histogram, tensor: tensor)
    var calibrator = method.calibrator
    var range: ClosedRange<Double> = 0...0
    var name = "all-zero"
    if histogram.exponent != nil {
      range = calibrator.range(for: histogram, scheme: scheme)
      if range.lowerBound == range.upperBound {
        calibrator = MinMaxCalibrator()
        range = calibrator.range(for: histogram, scheme: scheme)
      }
      // Adding 0 turns a lower end of −0 into 0.
      range = (range.lowerBound + 0)...(range.upperBound + 0)
      name = calibrator.name
    }
    let quantizer: Scale =
      switch scheme {
      case .symmetric: .symmetric(threshold: range.upperBound)
      case .asymmetric: .affine(low: range.lowerBound, high: range.upperBound)
      }
    return TensorScale(
      min: histogram.min, max: histogram.max, count: histogram.count,
      threshold: [range.lowerBound, range.upperBound], scale: quantizer.scale,
      zeroPoint: quantizer.zeroPoint, method: name, clipped: histogram.share(outside: range))
  }

  /// The scales of all observed tensors.
  ///
  /// - Throws: as `scale` does, for the first bad tensor in the byte order of names.
  public static func scales(
    for observations: Observations, method: CalibrationMethod, scheme: ActivationScheme
  ) throws(QuenchError) -> [String: TensorScale] {
    var scales: [String: TensorScale] = [:]
    for (name, histogram) in observations.inOrder {
      scales[name] = try scale(for: histogram, tensor: name, method: method, scheme: scheme)
    }
    return scales
  }

  private static func check(_ histogram: Histogram, tensor: String) throws(QuenchError) {
    if histogram.nans > 0 || histogram.infinities > 0 {
      let kinds = [(histogram.nans, "NaN"), (histogram.infinities, "infinite")]
        .filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: " and ")
      throw QuenchError(
        .data, "tensor \"\(tensor)\" has \(kinds) values, so no scale can be right",
        at: .tensor(tensor), try: "check the preprocessing and the images for this tensor's inputs")
    }
    guard histogram.count > 0 else {
      throw QuenchError(
        .data, "no value was observed for tensor \"\(tensor)\"", at: .tensor(tensor),
        try: "quench observe with this tensor in the list and at least one sample")
    }
  }
}
