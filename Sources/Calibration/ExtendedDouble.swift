// SPDX-License-Identifier: Apache-2.0
// Calibration: ratios that may be infinite, in JSON.

/// A number for JSON artefacts that may be infinite, as a ratio to zero is: a JSON number when
/// finite, else the string "inf" or "-inf".
public struct ExtendedDouble: Sendable, Codable, Equatable {
  /// Any value but NaN.
  public var value: Double

  /// Wraps a value.
  ///
  /// - Precondition: it is not NaN, which means that a computation was wrong.
  public init(_ value: Double) {
    precondition(!value.isNaN, "NaN is not a result")
    self.value = value
  }

  /// Reads a number, "inf" or "-inf".
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let number = try? container.decode(Double.self) {
      self.init(number)
      return
    }
    // Not a number: it must be one of the two names.
    switch try container.decode(String.self) {
    case "inf": self.init(.infinity)
    case "-inf": self.init(-.infinity)
    default:
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "neither a number nor \"inf\" nor \"-inf\"")
    }
  }

  /// Writes a number, "inf" or "-inf".
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if value.isFinite {
      try container.encode(value)
    } else {
      try container.encode(value > 0 ? "inf" : "-inf")
    }
  }
}
