// SPDX-License-Identifier: Apache-2.0
// Bundling: single figures of an evaluation, copied without knowing what they mean.

internal import Artifacts
internal import Diagnostics

/// One value of a JSON object that is not itself an object or array.
public enum Figure: Codable, Sendable, Equatable {
  /// A whole number.
  case integer(Int64)
  /// Any other number.
  case real(Double)
  /// A word.
  case text(String)
  /// Yes or no.
  case truth(Bool)

  /// Reads a number, a text or a truth value.
  public init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer()
    // Truth first: some decoders also take true for 1.
    if let truth = try? value.decode(Bool.self) {
      self = .truth(truth)
    } else if let integer = try? value.decode(Int64.self) {
      self = .integer(integer)
    } else if let real = try? value.decode(Double.self) {
      self = .real(real)
    } else {
      self = .text(try value.decode(String.self))
    }
  }

  /// Writes the value as it was read.
  public func encode(to encoder: any Encoder) throws {
    var value = encoder.singleValueContainer()
    switch self {
    case .integer(let integer): try value.encode(integer)
    case .real(let real): try value.encode(real)
    case .text(let text): try value.encode(text)
    case .truth(let truth): try value.encode(truth)
    }
  }
}

/// The figures of an `evaluation.json`.
enum EvaluationFigures {
  /// A figure, or an object of figures (a share and its standard error).
  private struct Kept: Decodable {
    var figure: Figure?
    var parts: [String: Figure] = [:]
    // Arrays, null and deeper objects are details that stay in the file itself.
    init(from decoder: any Decoder) throws {
      figure = try? Figure(from: decoder)
      if figure == nil { parts = (try? [String: Figure](from: decoder)) ?? [:] }
    }
  }

  /// The numbers, texts and truth values at the top and one level below (`fp32Top1.value`),
  /// without format and version.
  ///
  /// - Throws: `.data` when this is not an evaluation.
  static func read(_ bytes: [UInt8], path: String) throws(QuenchError) -> [String: Figure] {
    let values = try ArtifactJSON.decodePlain([String: Kept].self, from: bytes, path: path)
    var figures = values.compactMapValues(\.figure)
    for (name, value) in values {
      for (part, figure) in value.parts { figures["\(name).\(part)"] = figure }
    }
    guard figures.removeValue(forKey: "format") == .text("quench.evaluation") else {
      throw QuenchError(.data, "this is not a quench.evaluation file", at: .file(path))
    }
    figures["version"] = nil
    return figures
  }
}
