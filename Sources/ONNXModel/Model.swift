// SPDX-License-Identifier: Apache-2.0
// ONNXModel: a model file in, a model file out.

internal import Artifacts
public import Diagnostics
internal import SwiftProtobuf

/// An ONNX model.
///
/// What Quench does not know about a file (unknown fields, documentation, functions, training
/// information) is kept and written back; a model that was not changed is written as the bytes
/// that a canonical protobuf writer would give for it, which are those it was read from.
public struct Model: Sendable {
  private var shell: WireModel
  /// The main graph.
  public var graph: Graph
  /// Operator set versions by domain; `""` is ONNX's own.
  public var opsets: [String: Int64]
  /// The file's metadata.
  public var metadata: [String: String]

  /// Makes a model of the IR version that came with `opset` (ONNX, "Versioning").
  public init(graph: Graph, opset: Int64) {
    shell = WireModel()
    self.graph = graph
    opsets = ["": opset]
    metadata = [:]
    irVersion = Model.irVersion(forOpset: opset)
  }

  /// Version of the file format.
  public var irVersion: Int64 {
    get { shell.irVersion }
    set { shell.irVersion = newValue }
  }

  /// The program that made the file.
  public var producer: String {
    get { shell.producerName }
    set { shell.producerName = newValue }
  }

  /// Version of ONNX's own operator set.
  public var opset: Int64 { opsets[""] ?? 0 }

  /// Domains of the functions that the file defines.
  var functionDomains: Set<String> { Set(shell.functions.map(\.domain)) }

  /// The oldest IR version that can name an operator set.
  static func irVersion(forOpset opset: Int64) -> Int64 {
    switch opset {
    case ...8: 3
    case 9: 4
    case 10: 5
    case 11: 6
    case 12...14: 7
    case 15...18: 8
    case 19...20: 9
    default: 10
    }
  }
}

// MARK: - Reading

extension Model {
  /// Reads and checks a model file.
  ///
  /// External data is looked up (it must lie in the model's directory) but not read before it is
  /// asked for.
  /// - Throws: `.noInput` when a file is missing, `.data` when the file is not a sound ONNX model
  ///   of operator sets 7 to 22; all faults found are in the message.
  public static func read(_ path: String) throws(QuenchError) -> Model {
    try decode(FileContent.read(path), path: path)
  }

  /// Decodes and checks the bytes of a model file.
  ///
  /// - Parameter path: where they come from: named in messages, and its directory is where
  ///   external data is looked for.
  /// - Throws: as `read`.
  public static func decode(_ bytes: [UInt8], path: String) throws(QuenchError) -> Model {
    let message: WireModel
    do {
      message = try WireModel(serializedBytes: bytes)
    } catch {
      let truncated = (error as? BinaryDecodingError) == .truncated
      throw QuenchError(
        .data,
        truncated
          ? "the file is truncated or not an ONNX model" : "the file is not an ONNX model",
        at: .file(path), try: "copy or export the model again", because: error)
    }
    guard message.hasGraph, message.hasIrVersion else {
      throw QuenchError(
        .data, bytes.isEmpty ? "the file is empty" : "the file is not an ONNX model",
        at: .file(path), try: "copy or export the model again")
    }
    let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let model = Model(message: message, directory: directory)
    do {
      try ModelCheck.check(model)
    } catch {
      throw error.located(at: .file(path))
    }
    return model
  }

  private init(message: WireModel, directory: String) {
    graph = Graph(message: message.graph, directory: directory)
    opsets = Model.opsets(of: message)
    metadata = Model.metadata(of: message)
    shell = message
    shell.clearGraph()
  }

  private static func opsets(of message: WireModel) -> [String: Int64] {
    Dictionary(
      message.opsetImport.map { ($0.domain == "ai.onnx" ? "" : $0.domain, $0.version) },
      uniquingKeysWith: { first, _ in first })
  }

  private static func metadata(of message: WireModel) -> [String: String] {
    Dictionary(
      message.metadataProps.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
  }
}

// MARK: - Writing

extension Model {
  /// The bytes of the model file: equal models give equal bytes. External data is taken in.
  ///
  /// - Throws: as `Initializer.tensor()` for external data; `.data` when the file would pass the
  ///   2 GiB that protobuf can hold.
  public func encode() throws(QuenchError) -> [UInt8] {
    var message = shell
    message.graph = try graph.inlined()
    // Rewritten only when changed, so that an untouched list keeps the file's order.
    if Model.opsets(of: shell) != opsets {
      message.opsetImport = opsets.sorted { $0.key < $1.key }.map { domain, version in
        var line = WireOperatorSet()
        line.domain = domain
        line.version = version
        return line
      }
    }
    if Model.metadata(of: shell) != metadata {
      message.metadataProps = metadata.sorted { $0.key < $1.key }.map { key, value in
        var entry = WireEntry()
        entry.key = key
        entry.value = value
        return entry
      }
    }
    do {
      return try message.serializedBytes()
    } catch {
      throw QuenchError(
        .data, "the model cannot be written as one protobuf message (limit: 2 GiB)",
        because: error)
    }
  }

  /// Writes the model file as a whole or not at all; external data is taken in.
  ///
  /// - Throws: as `encode()`; `.work` when the file cannot be written.
  public func write(to path: String) throws(QuenchError) {
    try FileContent.replace(path, with: encode())
  }
}
