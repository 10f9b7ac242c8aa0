// SPDX-License-Identifier: Apache-2.0
// Quantization: what a project asks for about INT8 and FP16, layer by layer.

internal import Artifacts
public import Diagnostics

/// What the user asks for one layer.
public struct LayerOverride: Sendable, Equatable, Codable {
  /// INT8 or FP16; nil leaves the choice to the plan.
  public var precision: Precision?
  /// The activation's step in tensor units, > 0; nil takes it from scales.json.
  public var scale: Float?
  /// The activation's INT8 code of zero, −128…127; read together with `scale`, then 0 by default.
  public var zeroPoint: Int32?

  /// Makes an override.
  public init(precision: Precision? = nil, scale: Float? = nil, zeroPoint: Int32? = nil) {
    self.precision = precision
    self.scale = scale
    self.zeroPoint = zeroPoint
  }
}

/// How a layer is computed.
public enum Precision: String, Sendable, Codable, CaseIterable {
  /// Input and weights are INT8, products are summed in INT32.
  case int8
  /// Half precision on the device, float32 in the models that ONNX Runtime runs.
  case fp16
}

/// `overrides.json`: the wishes that the precision plan takes into account.
///
/// The most exact wish wins: a layer's override, then `allINT8`, then `keepFP16`, then the
/// sensitivity table.
public struct PrecisionOptions: Sendable, Equatable {
  /// Patterns of layer names (`GlobPattern`) that stay FP16.
  public var keepFP16: [String]
  /// The largest share of the network's multiply-accumulates that may stay FP16, as a fraction in
  /// 0…1; nil sets no limit. What `keepFP16` and overrides ask for counts, yet is never refused.
  public var maxFP16Share: Double?
  /// Every layer is INT8, whatever the sensitivity table says.
  public var allINT8: Bool
  /// Wishes by layer name.
  public var overrides: [String: LayerOverride]

  /// Makes options; the default leaves everything to the sensitivity table.
  public init(
    keepFP16: [String] = [], maxFP16Share: Double? = nil, allINT8: Bool = false,
    overrides: [String: LayerOverride] = [:]
  ) {
    self.keepFP16 = keepFP16
    self.maxFP16Share = maxFP16Share
    self.allINT8 = allINT8
    self.overrides = overrides
  }

  /// Reads `overrides.json`, a plain JSON object with the keys `keepFP16`, `maxFP16Share`,
  /// `allINT8` and `overrides`, each optional.
  ///
  /// - Parameter path: the file, for messages.
  /// - Throws: `.data` when it is malformed or a number is out of range.
  public static func decode(
    _ bytes: [UInt8], path: String
  ) throws(QuenchError) -> PrecisionOptions {
    let options = try ArtifactJSON.decodePlain(PrecisionOptions.self, from: bytes, path: path)
    func refuse(_ message: String) -> QuenchError { QuenchError(.data, message, at: .file(path)) }
    if let share = options.maxFP16Share, !(0...1).contains(share) {
      throw refuse("maxFP16Share is \(share), not a fraction in 0...1")
    }
    for (name, wish) in options.overrides.sorted(by: { $0.key < $1.key }) {
      if let scale = wish.scale, !(scale > 0 && scale.isFinite) {
        throw refuse(
          "the override of \"\(name)\" has the scale \(scale), not a number greater than 0")
      }
      if let zeroPoint = wish.zeroPoint, !(-128...127).contains(zeroPoint) {
        throw refuse(
          "the override of \"\(name)\" has the zero point \(zeroPoint), outside -128...127")
      }
      if wish.zeroPoint != nil, wish.scale == nil {
        throw refuse("the override of \"\(name)\" has a zero point and no scale")
      }
    }
    return options
  }
}

extension PrecisionOptions: Codable {
  private enum CodingKeys: String, CodingKey {
    case keepFP16
    case maxFP16Share
    case allINT8
    case overrides
  }

  /// Reads the object; absent keys take their defaults.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    keepFP16 = try values.decodeIfPresent([String].self, forKey: .keepFP16) ?? []
    maxFP16Share = try values.decodeIfPresent(Double.self, forKey: .maxFP16Share)
    allINT8 = try values.decodeIfPresent(Bool.self, forKey: .allINT8) ?? false
    overrides =
      try values.decodeIfPresent([String: LayerOverride].self, forKey: .overrides) ?? [:]
  }
}
