// SPDX-License-Identifier: Apache-2.0
// Calibration: which layers cannot bear 8 bits.

public import Artifacts

/// What quantising one layer does to its output.
public struct LayerSensitivity: Codable, Sendable, Equatable {
  /// The node's name.
  public var name: String
  /// The node's operator type.
  public var type: String
  /// Σ(x − x̂)² / Σ(x − mean)² of the output; ∞ when a constant output is missed.
  public var relativeError: Double {
    get { error.value }
    set { error = ExtendedDouble(newValue) }
  }
  /// Signal-to-noise ratio of the output in decibel, ±∞ possible.
  public var sqnrDecibel: Double {
    get { ratio.value }
    set { ratio = ExtendedDouble(newValue) }
  }
  /// Whether the layer stays in 16-bit floating point.
  public var fp16: Bool
  /// Why it does, in words; nil when it does not.
  public var reason: String?
  /// Multiply-accumulates for one sample.
  public var macs: Int

  private var error: ExtendedDouble
  private var ratio: ExtendedDouble

  private enum CodingKeys: String, CodingKey {
    case name
    case type
    case fp16
    case reason
    case macs
    case error = "relativeError"
    case ratio = "sqnrDecibel"
  }

  /// Makes an entry from its parts.
  public init(
    name: String, type: String, relativeError: Double, sqnrDecibel: Double, fp16: Bool,
    reason: String?, macs: Int
  ) {
    self.name = name
    self.type = type
    self.fp16 = fp16
    self.reason = reason
    self.macs = macs
    error = ExtendedDouble(relativeError)
    ratio = ExtendedDouble(sqnrDecibel)
  }

  /// Judges a layer: it stays FP16 when its relative error is above `threshold`.
  public init(
    name: String, type: String, output: ErrorAccumulator, threshold: Double, macs: Int
  ) {
    let relative = output.relativeError
    let isAbove = relative > threshold
    self.init(
      name: name, type: type, relativeError: relative, sqnrDecibel: output.sqnrDecibel,
      fp16: isAbove,
      reason: isAbove ? "relative error \(relative) is above \(threshold)" : nil, macs: macs)
  }
}

/// The content of `sensitivity.json`.
public struct SensitivityTable: JSONArtifact, Equatable {
  /// "quench.sensitivity".
  public static let format = "quench.sensitivity"
  /// 1.
  public static let version = 1

  /// The relative error above which a layer stays FP16.
  public var threshold: Double
  /// Number of samples that were measured.
  public var samples: Int
  /// The layers in the model's order.
  public var layers: [LayerSensitivity]

  /// Makes a table from its parts.
  public init(threshold: Double, samples: Int, layers: [LayerSensitivity]) {
    self.threshold = threshold
    self.samples = samples
    self.layers = layers
  }

  /// The names of the layers that stay FP16, in the model's order.
  public var fp16Layers: [String] { layers.filter(\.fp16).map(\.name) }
}
