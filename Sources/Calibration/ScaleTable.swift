// SPDX-License-Identifier: Apache-2.0
// Calibration: the scales of a model's tensors, as the stages hand them on.

public import Artifacts
public import Tensors

/// The scale of an activation and what it was derived from.
public struct TensorScale: Codable, Sendable, Equatable {
  /// The exact smallest observed value.
  public var min: Float
  /// The exact largest observed value.
  public var max: Float
  /// Number of observed values, zeros included.
  public var count: UInt64
  /// The two ends of the range that the codes span, in tensor units.
  public var threshold: [Double]
  /// Tensor units per code, above zero.
  public var scale: Float
  /// The code of zero, −128…127.
  public var zeroPoint: Int32
  /// The element type of the codes; always "int8".
  public var type: String
  /// The method that chose the range, with its setting; "all-zero" when there was nothing to choose.
  public var method: String
  /// About the share of observed values outside `threshold`, 0…1.
  public var clipped: Double

  /// Makes a scale from its parts.
  public init(
    min: Float, max: Float, count: UInt64, threshold: [Double], scale: Float, zeroPoint: Int32,
    type: String = "int8", method: String, clipped: Double
  ) {
    self.min = min
    self.max = max
    self.count = count
    self.threshold = threshold
    self.scale = scale
    self.zeroPoint = zeroPoint
    self.type = type
    self.method = method
    self.clipped = clipped
  }

  /// The quantiser that this is.
  public var quantizer: Scale { Scale(scale: scale, zeroPoint: zeroPoint, range: .int8) }

  /// Whether no value but zero was observed: the scale is then 1, for want of anything to span.
  public var isAllZero: Bool { min == 0 && max == 0 }
}

/// The scales of a weight tensor; codes −127…127, zero point 0.
public struct WeightScale: Codable, Sendable, Equatable {
  /// The axis of the channels that have a scale each; nil when one scale serves the whole tensor.
  public var axis: Int?
  /// Tensor units per code, one a channel or one in all.
  public var scales: [Float]
  /// The element type of the codes; always "int8".
  public var type: String

  /// Makes scales from their parts.
  public init(axis: Int?, scales: [Float], type: String = "int8") {
    self.axis = axis
    self.scales = scales
    self.type = type
  }
}

/// The content of `scales.json`.
public struct ScaleTable: JSONArtifact, Equatable {
  /// "quench.scales".
  public static let format = "quench.scales"
  /// 1.
  public static let version = 1

  /// SHA-256 of the folded model, in hexadecimal.
  public var model: String
  /// The method that was asked for, with its setting; single tensors may differ.
  public var method: String
  /// Activations by tensor name.
  public var tensors: [String: TensorScale]
  /// Weights by initializer name.
  public var weights: [String: WeightScale]

  /// Makes a table from its parts.
  public init(
    model: String, method: String, tensors: [String: TensorScale],
    weights: [String: WeightScale] = [:]
  ) {
    self.model = model
    self.method = method
    self.tensors = tensors
    self.weights = weights
  }
}
