// SPDX-License-Identifier: Apache-2.0
// Calibration: whether the calibrated ranges cover other images, and what to do if not.

public import Artifacts
public import Diagnostics

/// Whether a range covers fresh values.
public enum CoverageVerdict: String, Codable, Sendable {
  /// It does.
  case covered
  /// Too much lies outside.
  case insufficient
}

/// What the calibrated range of one tensor loses of fresh values.
public struct TensorCoverage: Codable, Sendable, Equatable {
  /// Share of the values below the range, 0…1.
  public var belowShare: Double
  /// Share of the values above the range, 0…1.
  public var aboveShare: Double
  /// The smallest fresh value.
  public var min: Float
  /// The largest fresh value.
  public var max: Float
  /// Σ of squared distances to the range / Σx², 0…1.
  public var energyLost: Double
  /// Whether the range covers the values.
  public var verdict: CoverageVerdict
  /// What to do, in words; empty when there is nothing to do.
  public var advice: String

  /// Makes an entry from its parts.
  public init(
    belowShare: Double, aboveShare: Double, min: Float, max: Float, energyLost: Double,
    verdict: CoverageVerdict, advice: String
  ) {
    self.belowShare = belowShare
    self.aboveShare = aboveShare
    self.min = min
    self.max = max
    self.energyLost = energyLost
    self.verdict = verdict
    self.advice = advice
  }
}

/// The content of `coverage.json`.
public struct CoverageTable: JSONArtifact, Equatable {
  /// "quench.coverage".
  public static let format = "quench.coverage"
  /// 1.
  public static let version = 1
  /// The share beyond the range, and the share of energy lost, that is acceptable: 0.1 %.
  public static let usualLimit = 0.001

  /// Number of samples that were counted.
  public var samples: Int
  /// The acceptable share, see `TensorCoverage.init(_:scale:tensor:limit:)`.
  public var limit: Double
  /// Insufficient when one tensor is.
  public var verdict: CoverageVerdict
  /// By tensor name.
  public var tensors: [String: TensorCoverage]

  /// Makes a table; the verdict follows from the tensors.
  public init(
    samples: Int, limit: Double = CoverageTable.usualLimit, tensors: [String: TensorCoverage]
  ) {
    self.samples = samples
    self.limit = limit
    self.tensors = tensors
    verdict =
      tensors.values.contains { $0.verdict == .insufficient } ? .insufficient : .covered
  }
}

// MARK: - Verdict

extension TensorCoverage {
  /// Judges what was counted.
  ///
  /// Insufficient when the share beyond the range is above `limit`, or the energy lost is. Where the
  /// method itself clipped more than that of the calibration data, twice its share plus 0.01 % is
  /// allowed: values close to the bound are clipped knowingly and lose hardly any energy.
  /// - Throws: `.data` when nothing was counted, or values are not finite.
  public init(
    _ counted: CoverageAccumulator, scale: TensorScale, tensor: String, limit: Double
  ) throws(QuenchError) {
    guard counted.count > 0 else {
      throw QuenchError(
        .data, "no value was counted for tensor \"\(tensor)\"", at: .tensor(tensor))
    }
    guard counted.nans == 0, counted.min.isFinite, counted.max.isFinite else {
      throw QuenchError(
        .data, "tensor \"\(tensor)\" has NaN or infinite values", at: .tensor(tensor),
        try: "check the preprocessing and the images for this tensor's inputs")
    }
    let total = Double(counted.count)
    let beyond = Double(counted.below + counted.above) / total
    let energyLost = counted.energy > 0 ? counted.lostEnergy / counted.energy : 0
    let allowed = scale.clipped > 0 ? Swift.max(limit, 2 * scale.clipped + 1e-4) : limit
    let isCovered = beyond <= allowed && energyLost <= limit
    self.init(
      belowShare: Double(counted.below) / total, aboveShare: Double(counted.above) / total,
      min: counted.min, max: counted.max, energyLost: energyLost,
      verdict: isCovered ? .covered : .insufficient,
      advice: isCovered ? "" : TensorCoverage.advice(counted, scale))
  }

  private static func advice(_ counted: CoverageAccumulator, _ scale: TensorScale) -> String {
    if scale.isAllZero {
      return "the calibration images left this tensor all zero: calibrate with images like these"
    }
    // Values that calibration never saw, on the side where something is clipped.
    let isNew =
      (counted.above > 0 && counted.max > scale.max)
      || (counted.below > 0 && counted.min < scale.min)
    if isNew {
      return "values reach \(counted.min)...\(counted.max) here but only "
        + "\(scale.min)...\(scale.max) in calibration: add images like these to the calibration set"
    }
    return "method \(scale.method) clips \(counted.min)...\(counted.max) to "
      + "\(Float(counted.low))...\(Float(counted.high)): calibrate with mse or minmax, "
      + "or keep the layers that read this tensor in FP16"
  }
}
