// SPDX-License-Identifier: Apache-2.0
// BuildEngine: dyndep files (Ninja manual, "Dynamic Dependencies").

internal import Diagnostics

/// What one statement of a dyndep file adds to an edge.
struct DyndepEntry {
  var edge: Int32
  var outputs: [Int32] = []
  var inputs: [Int32] = []
  var place: Place
}

/// Reads a dyndep file. `restat` is read and has no effect: this engine always compares contents.
struct DyndepFile {
  private let graph: Graph
  private let file: String
  private(set) var entries: [DyndepEntry] = []

  /// - Throws: `.data` with line and column when the text is malformed, or names an output that no
  ///   edge makes.
  init(_ bytes: [UInt8], file: String, graph: Graph) throws(QuenchError) {
    self.graph = graph
    self.file = file
    var parsed: [DyndepEntry] = []
    try bytes.withUnsafeBufferPointer { (buffer) throws(QuenchError) in
      var lexer = Lexer(file: file, bytes: buffer)
      parsed = try statements(&lexer)
    }
    entries = parsed
  }

  private func statements(_ lexer: inout Lexer) throws(QuenchError) -> [DyndepEntry] {
    var entries: [DyndepEntry] = []
    var seen = Set<Int32>()
    var hasVersion = false
    while true {
      switch try lexer.next() {
      case .newline: continue
      case .build:
        guard hasVersion else { throw lexer.error("expected 'ninja_dyndep_version = ...'") }
        let entry = try build(&lexer)
        guard seen.insert(entry.edge).inserted else {
          let name = graph.paths.string(graph.firstOutput(entry.edge))
          throw QuenchError(.data, "multiple statements for '\(name)'", at: entry.place)
        }
        entries.append(entry)
      case .identifier:
        lexer.unread()
        guard !hasVersion else { throw lexer.error("unexpected identifier") }
        try version(&lexer)
        hasVersion = true
      case .end:
        guard hasVersion else { throw lexer.error("expected 'ninja_dyndep_version = ...'") }
        return entries
      case .tab: throw lexer.error("tabs are not allowed, use spaces")
      case .unknown: throw lexer.error("lexing error")
      case let token: throw lexer.error("unexpected \(token.description)")
      }
    }
  }

  private func version(_ lexer: inout Lexer) throws(QuenchError) {
    guard let name = lexer.name(), String(decoding: name, as: UTF8.self) == "ninja_dyndep_version"
    else { throw lexer.error("expected 'ninja_dyndep_version = ...'") }
    try lexer.expect(.equals)
    let text = String(decoding: expand(lexer, try lexer.value()), as: UTF8.self)
    let number = text.prefix { $0 != "-" }
    guard number == "1" || number == "1.0" else {
      throw lexer.error("unsupported 'ninja_dyndep_version = \(text)'")
    }
  }

  private func build(_ lexer: inout Lexer) throws(QuenchError) -> DyndepEntry {
    guard let first = try lexer.path() else { throw lexer.error("expected path") }
    let place = lexer.place(first.start)
    let output = try node(lexer, first)
    let edge = graph.producer(output)
    guard edge >= 0 else {
      throw QuenchError(
        .data, "no build statement exists for '\(graph.paths.string(output))'", at: place)
    }
    var entry = DyndepEntry(edge: edge, place: place)
    if try lexer.path() != nil { throw lexer.error("explicit outputs not supported") }
    if try lexer.peek(.pipe) {
      while let text = try lexer.path() { entry.outputs.append(try node(lexer, text)) }
    }
    try lexer.expect(.colon)
    guard let rule = lexer.name(), String(decoding: rule, as: UTF8.self) == "dyndep" else {
      throw lexer.error("expected build command name 'dyndep'")
    }
    if try lexer.path() != nil { throw lexer.error("explicit inputs not supported") }
    if try lexer.peek(.pipe) {
      while let text = try lexer.path() { entry.inputs.append(try node(lexer, text)) }
    }
    if try lexer.peek(.pipe2) { throw lexer.error("order-only inputs not supported") }
    try lexer.expect(.newline)
    if try lexer.peek(.indent) {
      guard let key = lexer.name(), String(decoding: key, as: UTF8.self) == "restat" else {
        throw lexer.error("binding is not 'restat'")
      }
      try lexer.expect(.equals)
      _ = try lexer.value()
    }
    return entry
  }

  private func node(_ lexer: Lexer, _ text: SourceText) throws(QuenchError) -> Int32 {
    var bytes = expand(lexer, text)
    guard !bytes.isEmpty else {
      throw QuenchError(.data, "empty path", at: lexer.place(text.start))
    }
    CanonicalPath.fold(&bytes)
    guard CanonicalPath.isText(bytes) else {
      throw CanonicalPath.notText(bytes, at: lexer.place(text.start))
    }
    return bytes.withUnsafeBufferPointer { graph.paths.intern($0) }
  }

  /// A dyndep file has no variables: each one is empty.
  private func expand(_ lexer: Lexer, _ text: SourceText) -> [UInt8] {
    var bytes: [UInt8] = []
    Parser.split(lexer.bytes, text) {
      bytes.append(contentsOf: $0)
    } variable: { _ in
    }
    return bytes
  }
}
