// SPDX-License-Identifier: Apache-2.0
// BuildEngine: statements of the Ninja manifest language into a graph.

internal import Diagnostics
internal import Glibc

/// Reads a manifest and all that it includes into a `Graph`.
struct Parser {
  /// The version of Ninja's language that is spoken (without `deps = msvc`).
  static let languageVersion = (major: 1, minor: 14)

  private let files: FileSystem
  let graph: Graph
  private var depth = 0
  private var takesCaret = false
  /// A phony edge that names itself is an error, not a warning (`-w phonycycle=err`).
  private let refusesSelfReference: Bool
  /// Scratch space for one expanded path or value.
  var scratch: [UInt8] = []
  private var outputs: [SourceText] = []
  private var inputs: [SourceText] = []

  private init(files: FileSystem, paths: PathTable, refusesSelfReference: Bool) {
    self.files = files
    self.refusesSelfReference = refusesSelfReference
    graph = Graph(paths: paths)
    graph.pools.append(Graph.Pool(name: graph.variables.names.intern("console"), depth: 1))
  }

  /// The graph of a manifest.
  ///
  /// - Throws: `.noInput` when a file is missing; `.data` with line and column when the text is
  ///   malformed.
  static func parse(
    _ path: String, files: FileSystem, paths: PathTable, refusesSelfReference: Bool = false
  ) throws(QuenchError) -> Graph {
    var parser = Parser(files: files, paths: paths, refusesSelfReference: refusesSelfReference)
    try parser.read(path, scope: 0, from: nil)
    return parser.graph
  }

  private mutating func read(_ path: String, scope: Int32, from place: Place?) throws(QuenchError) {
    guard depth < 100 else {
      throw QuenchError(.data, "manifest files include each other without end", at: place)
    }
    let bytes: [UInt8]
    let identity: Identity
    do throws(QuenchError) {
      (bytes, identity) = try files.readWithIdentity(path)
    } catch {
      var failure = error
      failure.message = "loading \"\(path)\": " + error.message
      throw place.map { failure.located(at: $0) } ?? failure
    }
    let index = Int32(graph.sources.count)
    graph.sources.append(Graph.Source(path: path, bytes: bytes, identity: identity))
    depth += 1
    defer { depth -= 1 }
    try bytes.withUnsafeBufferPointer { (bytes) throws(QuenchError) in
      var lexer = Lexer(file: path, bytes: bytes)
      lexer.takesCaret = takesCaret
      try statements(&lexer, scope: scope, file: index)
    }
  }

  private mutating func statements(_ lexer: inout Lexer, scope: Int32, file: Int32)
    throws(QuenchError)
  {
    while true {
      switch try lexer.next() {
      case .build: try build(&lexer, scope, file)
      case .rule: try rule(&lexer, scope)
      case .pool: try pool(&lexer, scope)
      case .default: try defaults(&lexer, scope)
      case .include: try include(&lexer, scope, scope)
      case .subninja:
        graph.variables.scopes.append(Variables.Scope(parent: scope))
        try include(&lexer, scope, Int32(graph.variables.scopes.count - 1))
      case .identifier:
        lexer.unread()
        let (name, value) = try binding(&lexer)
        expand(lexer, value, scope)
        if graph.variables.names.string(name) == "ninja_required_version" {
          try checkVersion(lexer, value)
          lexer.takesCaret = takesCaret
        }
        let text = graph.variables.append(scratch)
        graph.variables.scopes[Int(scope)].values[name] = text
      case .newline: continue
      case .end: return
      case .tab: throw lexer.error("tabs are not allowed, use spaces")
      case .unknown: throw lexer.error("lexing error")
      case let token: throw lexer.error("unexpected \(token.description)")
      }
    }
  }

  private func binding(_ lexer: inout Lexer) throws(QuenchError) -> (Int32, SourceText) {
    guard let name = lexer.name() else { throw lexer.error("expected variable name") }
    let id = graph.variables.names.intern(name)
    try lexer.expect(.equals)
    return (id, try lexer.value())
  }

  private mutating func rule(_ lexer: inout Lexer, _ scope: Int32) throws(QuenchError) {
    guard let bytes = lexer.name() else { throw lexer.error("expected rule name") }
    let name = graph.variables.names.intern(bytes)
    let text = graph.variables.names.string(name)
    guard graph.variables.scopes[Int(scope)].rules[name] == nil else {
      throw lexer.error("duplicate rule '\(text)'")
    }
    try lexer.expect(.newline)
    var values = [UnevaluatedValue?](repeating: nil, count: 11)
    while try lexer.peek(.indent) {
      guard let bytes = lexer.name() else { throw lexer.error("expected variable name") }
      let key = graph.variables.names.intern(bytes)
      guard key < 11 else {
        let wrong = graph.variables.names.string(key)
        let own = BuildKey.allCases.contains { $0.text == wrong }
        let hint =
          own
          ? "; it belongs on build statements"
          : NearestName.hint(wrong, among: RuleKey.allCases.map(\.text))
        throw lexer.error("unexpected variable '\(wrong)'\(hint)")
      }
      try lexer.expect(.equals)
      values[Int(key)] = unevaluated(lexer, try lexer.value())
    }
    let hasFile = values[Int(RuleKey.rspfile.rawValue)].map { $0.count > 0 } ?? false
    let hasContent = values[Int(RuleKey.rspfileContent.rawValue)].map { $0.count > 0 } ?? false
    guard hasFile == hasContent else {
      throw lexer.error("rspfile and rspfile_content need to be both specified")
    }
    guard let command = values[Int(RuleKey.command.rawValue)], command.count > 0 else {
      throw lexer.error("expected 'command =' line")
    }
    graph.variables.scopes[Int(scope)].rules[name] = Int32(graph.variables.rules.count)
    graph.variables.rules.append(Variables.Rule(name: name, values: values))
  }

  private mutating func pool(_ lexer: inout Lexer, _ scope: Int32) throws(QuenchError) {
    guard let bytes = lexer.name() else { throw lexer.error("expected pool name") }
    let name = graph.variables.names.intern(bytes)
    let text = graph.variables.names.string(name)
    guard !graph.pools.contains(where: { $0.name == name }) else {
      throw lexer.error("duplicate pool '\(text)'")
    }
    try lexer.expect(.newline)
    var depth: Int?
    while try lexer.peek(.indent) {
      let (key, value) = try binding(&lexer)
      guard graph.variables.names.string(key) == "depth" else {
        throw lexer.error("unexpected variable '\(graph.variables.names.string(key))'")
      }
      expand(lexer, value, scope)
      guard let number = Int(String(decoding: scratch, as: UTF8.self)), number >= 0 else {
        throw lexer.error("invalid pool depth")
      }
      depth = number
    }
    guard let depth else { throw lexer.error("expected 'depth =' line") }
    graph.pools.append(Graph.Pool(name: name, depth: depth))
  }

  private mutating func defaults(_ lexer: inout Lexer, _ scope: Int32) throws(QuenchError) {
    guard var text = try lexer.path() else { throw lexer.error("expected target name") }
    while true {
      let node = try node(lexer, text, scope)
      guard graph.mentions(node) else {
        let name = graph.paths.string(node)
        throw lexer.error("unknown target '\(name)'\(graph.hint(name))")
      }
      graph.defaults.append(node)
      guard let next = try lexer.path() else { break }
      text = next
    }
    try lexer.expect(.newline)
  }

  private mutating func include(_ lexer: inout Lexer, _ scope: Int32, _ inner: Int32)
    throws(QuenchError)
  {
    guard let text = try lexer.path() else { throw lexer.error("expected path") }
    let place = lexer.place(text.start)
    expand(lexer, text, scope)
    let path = String(decoding: scratch, as: UTF8.self)
    try lexer.expect(.newline)
    try read(path, scope: inner, from: place)
    lexer.takesCaret = takesCaret
  }

  private mutating func checkVersion(_ lexer: Lexer, _ value: SourceText) throws(QuenchError) {
    let wanted = String(decoding: scratch, as: UTF8.self)
    let parts = wanted.split(separator: ".").map { Int($0.prefix { $0.isNumber }) ?? 0 }
    let (major, minor) = (parts.first ?? 0, parts.count > 1 ? parts[1] : 0)
    let ours = Parser.languageVersion
    guard (major, minor) <= (ours.major, ours.minor) else {
      throw QuenchError(
        .data,
        "the manifest asks for Ninja \(wanted); this engine speaks the language of "
          + "\(ours.major).\(ours.minor)", at: lexer.place(value.start))
    }
    takesCaret = (major, minor) >= (1, 14)
  }
}

// MARK: - Build statements

extension Parser {
  private mutating func build(_ lexer: inout Lexer, _ scope: Int32, _ file: Int32)
    throws(QuenchError)
  {
    let origin = lexer.lastStart
    outputs.removeAll(keepingCapacity: true)
    inputs.removeAll(keepingCapacity: true)
    try readPaths(&lexer, &outputs)
    let explicitOutputs = outputs.count
    if try lexer.peek(.pipe) { try readPaths(&lexer, &outputs) }
    guard !outputs.isEmpty else { throw lexer.error("expected path") }
    try lexer.expect(.colon)
    guard let ruleBytes = lexer.name() else { throw lexer.error("expected build command name") }
    let ruleName = graph.variables.names.intern(ruleBytes)
    guard let rule = graph.variables.rule(ruleName, in: scope) else {
      let text = graph.variables.names.string(ruleName)
      let hint = NearestName.hint(text, among: graph.variables.ruleNames(in: scope))
      throw lexer.error("unknown build rule '\(text)'\(hint)")
    }
    try readPaths(&lexer, &inputs)
    let explicitInputs = inputs.count
    if try lexer.peek(.pipe) { try readPaths(&lexer, &inputs) }
    let allInputs = inputs.count
    if try lexer.peek(.pipe2) { try readPaths(&lexer, &inputs) }
    let orderOnly = inputs.count
    if try lexer.peek(.pipeAt) { try readPaths(&lexer, &inputs) }
    try lexer.expect(.newline)

    // The statement's own variables come to their values at once, in the file's scope.
    let edge = Int32(graph.edgeCount)
    while try lexer.peek(.indent) {
      let (name, value) = try binding(&lexer)
      expand(lexer, value, scope)
      graph.bindings.append(Graph.Binding(name: name, value: graph.variables.append(scratch)))
    }
    graph.bindingStart.append(Int32(graph.bindings.count))
    graph.ruleOf.append(rule)
    graph.scopeOf.append(scope)
    graph.origins.append(Graph.Origin(file: file, offset: Int32(origin)))
    try addMembers(
      lexer, edge, explicitOutputs, explicitInputs, allInputs, orderOnly)
    graph.poolOf.append(try pool(of: edge))
    try check(edge)
  }

  private func readPaths(_ lexer: inout Lexer, _ list: inout [SourceText]) throws(QuenchError) {
    while let text = try lexer.path() { list.append(text) }
  }

  /// Turns the statement's paths into nodes; they may use the statement's own variables.
  private mutating func addMembers(
    _ lexer: Lexer, _ edge: Int32, _ explicitOutputs: Int, _ explicitInputs: Int,
    _ allInputs: Int, _ orderOnly: Int
  ) throws(QuenchError) {
    let scope = graph.scopeOf[Int(edge)]
    let start = Int32(graph.members.count)
    for text in outputs {
      let node = try node(lexer, text, scope, edge: edge)
      if graph.producer(node) >= 0 {
        let name = graph.paths.string(node)
        let place = lexer.place(text.start)
        guard graph.producer(node) == edge else {
          throw QuenchError(
            .data, "multiple rules generate \(name)", at: place,
            try: "the other one: \(graph.place(graph.producer(node)))")
        }
        throw QuenchError(.data, "\(name) is defined as an output multiple times", at: place)
      }
      graph.mention(node, producer: edge)
      graph.members.append(node)
    }
    let phony = graph.ruleOf[Int(edge)] == Variables.phonyRule
    var counts = (inputs: Int32(0), all: Int32(0), order: Int32(0), end: Int32(0))
    for (index, text) in inputs.enumerated() {
      let node = try node(lexer, text, scope, edge: edge)
      if phony, outputs.count == 1, graph.producer(node) == edge, !refusesSelfReference {
        graph.warnings.append(
          "phony target '\(graph.paths.string(node))' names itself as an input; ignored")
        continue
      }
      graph.mention(node)
      graph.members.append(node)
      if index < explicitInputs { counts.inputs += 1 }
      if index < allInputs { counts.all += 1 }
      if index < orderOnly { counts.order += 1 }
      counts.end += 1
    }
    let allOutputs = start + Int32(outputs.count)
    graph.bounds.append(
      Graph.Bounds(
        start: start, outputs: start + Int32(explicitOutputs), allOutputs: allOutputs,
        inputs: allOutputs + counts.inputs, allInputs: allOutputs + counts.all,
        orderOnly: allOutputs + counts.order, end: allOutputs + counts.end))
  }

  private func pool(of edge: Int32) throws(QuenchError) -> Int32 {
    guard graph.has(.pool, edge) else { return -1 }
    let name = try graph.string(.pool, of: edge)
    guard !name.isEmpty else { return -1 }
    guard
      let index = graph.pools.firstIndex(where: { graph.variables.names.string($0.name) == name })
    else {
      let known = graph.pools.map { graph.variables.names.string($0.name) }
      throw QuenchError(
        .data, "unknown pool name '\(name)'\(NearestName.hint(name, among: known))",
        at: graph.place(edge))
    }
    return Int32(index)
  }

  /// Refuses what this engine does not do, by name, and notes what the edge asks for.
  private func check(_ edge: Int32) throws(QuenchError) {
    if graph.has(.dyndep, edge), try graph.flag(.dyndep, of: edge) {
      let name = CanonicalPath.fold(try graph.string(.dyndep, of: edge, quoting: .none))
      guard let file = graph.paths.find(name), graph.prerequisites(edge).contains(file) else {
        throw QuenchError(.data, "dyndep '\(name)' is not an input", at: graph.place(edge))
      }
      graph.dyndeps.append(Graph.Dyndep(edge: edge, file: file))
    }
    if let memory = graph.own(.memory, of: edge), MemorySize.bytes(memory) == nil {
      throw QuenchError(
        .data, "invalid memory '\(memory)'", at: graph.place(edge),
        try: "a number with K, M, G or T, such as 2G")
    }
    guard graph.has(.deps, edge) else { return }
    let deps = try graph.string(.deps, of: edge)
    switch deps {
    case "": return
    case "gcc":
      guard graph.has(.depfile, edge) else {
        throw QuenchError(
          .data, "edge with deps=gcc but no depfile makes no sense", at: graph.place(edge))
      }
    case "msvc":
      throw QuenchError(
        .data, "deps = msvc is not supported: it reads the output of a Windows compiler",
        at: graph.place(edge), try: "deps = gcc with a depfile")
    default:
      throw QuenchError(.data, "unknown deps type '\(deps)'", at: graph.place(edge))
    }
  }
}
