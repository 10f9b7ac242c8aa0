// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what an edge's result depends on, written by one routine.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// What makes up the key of an edge, in the order in which it is written and compared.
enum Field: Int32, CaseIterable {
  case command, responseFile, environment, outputs, inputs, tools, named, discovered
}

/// Takes the fields of an edge: as bytes to record and compare, or as text to read or digest.
protocol FieldSink {
  mutating func begin(_ field: Field, count: Int)
  mutating func bytes(_ bytes: [UInt8])
  /// A value that may be absent, such as an environment variable that is not set.
  mutating func optional(_ text: String?)
  mutating func path(_ node: Int32)
  mutating func content(_ id: Int32, of node: Int32)
}

/// Inputs that the manifest does not list: known from a run.
struct Observed {
  /// A word of the command that stands for a program, and the file that it means.
  var tools: [(word: Int32, file: Int32)] = []
  /// Files that the command names without declaring them.
  var named: [Int32] = []
  /// Files that the depfile names.
  var discovered: [Int32] = []

  mutating func clear() {
    tools.removeAll(keepingCapacity: true)
    named.removeAll(keepingCapacity: true)
    discovered.removeAll(keepingCapacity: true)
  }
}

extension Staleness {
  /// Writes all that the result of an edge depends on. Nothing else decides what is compared, and
  /// nothing else is shown, so that the two cannot drift apart.
  ///
  /// - Returns: an input that always counts as changed, if there is one.
  @discardableResult
  func writeFields(_ edge: Int32, _ observed: Observed, to sink: inout some FieldSink)
    throws(QuenchError) -> Int32?
  {
    var always: Int32?
    command.removeAll(keepingCapacity: true)
    if try graph.flag(.generator, of: edge) {
      // A generator's command may change without a new run (the Ninja manual).
    } else {
      try graph.appendValue(.command, of: edge, to: &command)
    }
    sink.begin(.command, count: 1)
    sink.bytes(command)

    if graph.has(.rspfile, edge) {
      let path = try graph.value(.rspfile, of: edge, quoting: .none)
      sink.begin(.responseFile, count: path.isEmpty ? 0 : 1)
      if !path.isEmpty {
        sink.bytes(path)
        sink.bytes(try graph.value(.rspfileContent, of: edge))
      }
    } else {
      sink.begin(.responseFile, count: 0)
    }

    let names = environmentNames(edge)
    sink.begin(.environment, count: names.count)
    for name in names {
      sink.bytes(Array(name.utf8))
      sink.optional(variable(name))
    }

    let outputs = graph.outputs(edge)
    sink.begin(.outputs, count: outputs.count)
    for node in outputs { sink.path(node) }

    let inputs = graph.inputs(edge)
    sink.begin(.inputs, count: inputs.count)
    for node in inputs {
      let content = try states.current(node)
      if content == TraceLog.always { always = node }
      sink.content(content, of: node)
    }

    sink.begin(.tools, count: observed.tools.count)
    for tool in observed.tools {
      sink.path(tool.word)
      sink.content(try states.current(tool.file), of: tool.file)
    }
    sink.begin(.named, count: observed.named.count)
    for node in observed.named { sink.content(try states.current(node), of: node) }
    sink.begin(.discovered, count: observed.discovered.count)
    for node in observed.discovered { sink.content(try states.current(node), of: node) }
    return always
  }

  /// Environment variables that the statement declares or the command's text names.
  private func environmentNames(_ edge: Int32) -> [String] {
    var names: [String] = []
    if command.contains(UInt8(ascii: "$")) { names = ShellWords.environmentNames(command) }
    if let declared = graph.own(.environment, of: edge) {
      for name in declared.split(separator: " ") where !names.contains(String(name)) {
        names.append(String(name))
      }
    }
    return names
  }
}

// MARK: - Sinks

/// Fields as the words of a log record. Equal bytes mean an equal key.
struct FieldBytes: FieldSink {
  var bytes: [UInt8] = []
  let log: TraceLog

  init(log: TraceLog) { self.log = log }

  mutating func begin(_ field: Field, count: Int) { bytes.append(word: Int32(count)) }
  mutating func bytes(_ value: [UInt8]) { bytes.append(block: value) }
  mutating func optional(_ text: String?) {
    bytes.append(word: text == nil ? 0 : 1)
    bytes.append(block: Array((text ?? "").utf8))
  }
  mutating func path(_ node: Int32) { bytes.append(word: log.pathID(node)) }
  mutating func content(_ id: Int32, of node: Int32) { bytes.append(word: id) }
}

/// Fields as lines of text.
struct FieldText: FieldSink {
  var lines: [String] = []
  private var field = Field.command
  let log: TraceLog

  init(log: TraceLog) { self.log = log }

  mutating func begin(_ field: Field, count: Int) { self.field = field }
  mutating func bytes(_ value: [UInt8]) {
    lines.append("\(field) \(String(decoding: value, as: UTF8.self))")
  }
  mutating func optional(_ text: String?) { lines.append("\(field) \(text ?? "(not set)")") }
  mutating func path(_ node: Int32) { lines.append("\(field) \(log.paths.string(node))") }
  mutating func content(_ id: Int32, of node: Int32) {
    let digest = log.node(ofContent: id) == nil ? "always" : log.contentDigest[Int(id)].hex
    lines.append("\(field) \(log.paths.string(node)) \(digest)")
  }
}

/// Fields read back from a record.
struct FieldValues {
  var command: [UInt8]
  var responseFile: (path: [UInt8], content: [UInt8])?
  var environment: [(name: [UInt8], value: [UInt8]?)] = []
  /// Path ids of the log.
  var outputs: [Int32]
  /// Content ids.
  var inputs: [Int32]
  var tools: [(word: Int32, content: Int32)] = []
  var named: [Int32]
  var discovered: [Int32]

  init(_ bytes: [UInt8]) {
    self = bytes.withUnsafeBytes { raw in
      var reader = WordReader(bytes: raw, offset: 0)
      return FieldValues(&reader)
    }
  }

  init(_ reader: inout WordReader) {
    _ = reader.word()
    command = reader.block()
    if reader.word() > 0 { responseFile = (reader.block(), reader.block()) }
    for _ in 0..<reader.count(size: 3) {
      let name = reader.block()
      let isSet = reader.word() != 0
      let value = reader.block()
      environment.append((name, isSet ? value : nil))
    }
    outputs = reader.words()
    inputs = reader.words()
    for _ in 0..<reader.count(size: 2) { tools.append((reader.word(), reader.word())) }
    named = reader.words()
    discovered = reader.words()
  }

  /// The same bytes that `FieldBytes` makes, with other ids.
  func encode(path: (Int32) -> Int32, content: (Int32) -> Int32) -> [UInt8] {
    var out: [UInt8] = []
    out.append(word: 1)
    out.append(block: command)
    out.append(word: responseFile == nil ? 0 : 1)
    if let responseFile {
      out.append(block: responseFile.path)
      out.append(block: responseFile.content)
    }
    out.append(word: Int32(environment.count))
    for entry in environment {
      out.append(block: entry.name)
      out.append(word: entry.value == nil ? 0 : 1)
      out.append(block: entry.value ?? [])
    }
    out.append(word: Int32(outputs.count))
    for id in outputs { out.append(word: path(id)) }
    out.append(word: Int32(inputs.count))
    for id in inputs { out.append(word: content(id)) }
    out.append(word: Int32(tools.count))
    for tool in tools {
      out.append(word: path(tool.word))
      out.append(word: content(tool.content))
    }
    out.append(word: Int32(named.count))
    for id in named { out.append(word: content(id)) }
    out.append(word: Int32(discovered.count))
    for id in discovered { out.append(word: content(id)) }
    return out
  }
}
