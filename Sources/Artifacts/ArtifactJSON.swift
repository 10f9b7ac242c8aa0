// SPDX-License-Identifier: Apache-2.0
// Artifacts: the JSON files that stages hand each other.

public import Diagnostics
internal import FoundationEssentials

/// A JSON artefact with a format name and a version that readers check.
///
/// The conforming type encodes its content only; `format` and `version` are added here.
public protocol JSONArtifact: Codable, Sendable {
  /// For example `quench.scales`.
  static var format: String { get }
  /// Raised when old readers would misread new files.
  static var version: Int { get }
}

/// Reads and writes JSON artefacts: sorted keys, shortest round-trip numbers, no time stamps.
public enum ArtifactJSON {
  private struct Header: Codable {
    var format: String?
    var version: Int?
  }

  private struct Envelope<Content: JSONArtifact>: Codable {
    var content: Content

    init(content: Content) { self.content = content }

    init(from decoder: any Decoder) throws { content = try Content(from: decoder) }

    func encode(to encoder: any Encoder) throws {
      try content.encode(to: encoder)
      try Header(format: Content.format, version: Content.version).encode(to: encoder)
    }
  }

  /// The bytes of an artefact, ending with a newline.
  ///
  /// - Throws: `.bug` for numbers that JSON cannot hold (NaN, infinity): stages refuse them before.
  public static func encode(_ artifact: some JSONArtifact) throws(QuenchError) -> [UInt8] {
    try encodePlain(Envelope(content: artifact))
  }

  /// The bytes of any value in the same layout, without format and version.
  public static func encodePlain(_ value: some Encodable) throws(QuenchError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    do {
      return Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
    } catch {
      throw QuenchError(.bug, "cannot write JSON: \(error)", because: error)
    }
  }

  /// Reads an artefact from a file.
  ///
  /// - Throws: `.noInput` when it is not there; `.data` when it is malformed, of another format,
  ///   or of a newer version.
  public static func read<T: JSONArtifact>(
    _ type: T.Type, from path: String
  ) throws(QuenchError) -> T {
    try decode(type, from: FileContent.read(path), path: path)
  }

  /// The format that a JSON file says it has; nil when it says none or is no JSON object.
  ///
  /// - Throws: `.noInput` when the file cannot be read.
  public static func format(of path: String) throws(QuenchError) -> String? {
    let bytes = try FileContent.read(path)
    // Not being JSON is an answer here, not an error.
    return (try? decodePlain(Header.self, from: bytes, path: path))?.format
  }

  /// Writes an artefact to a file, atomically.
  public static func write(_ artifact: some JSONArtifact, to path: String) throws(QuenchError) {
    try FileContent.replace(path, with: encode(artifact))
  }

  /// Reads an artefact from bytes; `path` is for messages.
  public static func decode<T: JSONArtifact>(
    _ type: T.Type, from bytes: [UInt8], path: String
  ) throws(QuenchError) -> T {
    let header: Header = try decodePlain(Header.self, from: bytes, path: path)
    guard header.format == T.format else {
      throw QuenchError(
        .data, "this is not a \(T.format) file (its format is \"\(header.format ?? "missing")\")",
        at: .file(path))
    }
    guard let version = header.version, version > 0 else {
      throw QuenchError(.data, "the \(T.format) version is missing or malformed", at: .file(path))
    }
    guard version <= T.version else {
      throw QuenchError(
        .data,
        "\(T.format) version \(version) is newer than version \(T.version), "
          + "the newest that this quench reads", at: .file(path), try: "a newer quench")
    }
    return try decodePlain(T.self, from: bytes, path: path)
  }

  /// Reads any decodable value; `path` is for messages.
  public static func decodePlain<T: Decodable>(
    _ type: T.Type, from bytes: [UInt8], path: String
  ) throws(QuenchError) -> T {
    do {
      return try JSONDecoder().decode(T.self, from: Data(bytes))
    } catch let error as DecodingError {
      throw QuenchError(.data, describe(error), at: .file(path), because: error)
    } catch {
      throw QuenchError(.data, "malformed JSON: \(error)", at: .file(path), because: error)
    }
  }

  private static func describe(_ error: DecodingError) -> String {
    func keyPath(_ context: DecodingError.Context) -> String {
      context.codingPath.reduce(into: "") { path, key in
        if let index = key.intValue {
          path += "[\(index)]"
        } else {
          path += (path.isEmpty ? "" : ".") + key.stringValue
        }
      }
    }
    switch error {
    case .keyNotFound(let key, let context):
      let parent = keyPath(context)
      return "the key \"\(parent.isEmpty ? "" : parent + ".")\(key.stringValue)\" is missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      return context.codingPath.isEmpty
        ? "the JSON is not of the wanted kind, for example not an object"
        : "the value of \"\(keyPath(context))\" has the wrong type"
    case .dataCorrupted(let context):
      return context.codingPath.isEmpty
        ? "malformed JSON" : "the value of \"\(keyPath(context))\" is malformed"
    @unknown default:
      return "malformed JSON"
    }
  }
}
