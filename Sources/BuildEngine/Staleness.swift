// SPDX-License-Identifier: Apache-2.0
// BuildEngine: whether an edge has to run. Decided here and nowhere else.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// The answer for one edge.
enum Verdict {
  /// Outputs are what the edge wrote, from exactly these inputs.
  case fresh
  /// Fresh, but for outputs that were edited by hand and may be (`keep_edits`).
  case edited([Int32])
  /// A generator whose outputs somebody made by hand: taken as they are.
  case adopted
  case stale(Reason)
  /// Stale, and an output that may be edited was edited: running would lose the edit.
  case conflict(Reason, edited: [Int32])
}

/// Compares edges with their records.
final class Staleness {
  let graph: Graph
  let states: FileStates
  let log: TraceLog
  private let options: BuildOptions
  /// Environment variables that were looked at, and what they were.
  private(set) var variables: [(name: String, value: String?)] = []
  let tools: ToolTable
  /// Scratch space for the command of the edge that is looked at.
  @exclusivity(unchecked) var command: [UInt8] = []
  @exclusivity(unchecked) private var observed = Observed()
  @exclusivity(unchecked) private(set) var fields: FieldBytes

  init(
    graph: Graph, states: FileStates, log: TraceLog, options: BuildOptions, tools: ToolTable
  ) {
    self.graph = graph
    self.states = states
    self.log = log
    self.options = options
    self.tools = tools
    fields = FieldBytes(log: log)
  }

  /// Whether an edge is fresh: its outputs exist and are what it last wrote, and command, response
  /// file, environment, tools and all inputs equal those of its last success.
  ///
  /// The inputs must be up to date, or marked as pending. Times are never compared, but for
  /// generators, whose outputs may have been made by hand.
  func verdict(for edge: Int32) throws(QuenchError) -> Verdict {
    let output = graph.firstOutput(edge)
    let keepsEdits = graph.isSet(.keepEdits, of: edge)
    for node in graph.inputs(edge) where states.isPending(node) {
      return try stale(.inputWillChange(path(node)), edge, keepsEdits)
    }
    guard let record = log.record(output) else {
      if try isMadeByHand(edge) { return .adopted }
      for node in graph.outputs(edge) where try !states.exists(node) {
        return .stale(.missingOutput(path(node)))
      }
      return .stale(.neverBuilt)
    }
    switch log.state(output) {
    case .began: return try stale(.interrupted, edge, keepsEdits)
    case .failed: return try stale(.failed, edge, keepsEdits)
    case .none, .done: break
    }
    for node in graph.outputs(edge) where try !states.exists(node) {
      return .stale(.missingOutput(path(node)))
    }
    if let node = firstUnsettled(record) {
      return try stale(.changedDuringRun(path(node)), edge, keepsEdits)
    }

    readObserved(record)
    for node in observed.discovered where states.isPending(node) {
      return try stale(.inputWillChange(path(node)), edge, keepsEdits)
    }
    fields.bytes.removeAll(keepingCapacity: true)
    if let node = try writeFields(edge, observed, to: &fields) {
      return try stale(.alwaysRuns(path(node)), edge, keepsEdits)
    }
    let outputsDiffer = try changedOutputs(record, edge)
    if !equalsFields(of: record) {
      if !outputsDiffer.isEmpty, try isMadeByHand(edge) { return .adopted }
      return try stale(firstDifference(record), edge, keepsEdits)
    }
    if outputsDiffer.isEmpty { return .fresh }
    if keepsEdits { return .edited(outputsDiffer) }
    if try isMadeByHand(edge) { return .adopted }
    return .stale(.outputChanged(path(outputsDiffer[0])))
  }

  private func stale(_ reason: Reason, _ edge: Int32, _ keepsEdits: Bool) throws(QuenchError)
    -> Verdict
  {
    guard keepsEdits, let record = log.record(graph.firstOutput(edge)) else {
      return .stale(reason)
    }
    // After a run that did not end, what stands there may be its own work, not an edit.
    guard log.state(graph.firstOutput(edge)) == .done else { return .stale(reason) }
    let edited = try changedOutputs(record, edge)
    return edited.isEmpty ? .stale(reason) : .conflict(reason, edited: edited)
  }

  /// The value of an environment variable that an edge depends on.
  func variable(_ name: String) -> String? {
    for known in variables where known.name == name { return known.value }
    let value = options.variable(name)
    variables.append((name, value))
    return value
  }

  private func path(_ node: Int32) -> String { graph.paths.string(node) }
}

// MARK: - Against the record

extension Staleness {
  /// Outputs that are there but are not what the edge wrote.
  private func changedOutputs(_ record: EdgeRecord, _ edge: Int32) throws(QuenchError) -> [Int32] {
    var changed: [Int32] = []
    var offset = outputsOffset(record)
    let count = log.word(at: offset)
    for _ in 0..<count {
      let content = log.word(at: offset + 8)
      offset += 8
      guard let node = log.node(ofContent: content), graph.producer(node) == edge else { continue }
      if try states.current(node) != content, try states.exists(node) { changed.append(node) }
    }
    return changed
  }

  private func outputsOffset(_ record: EdgeRecord) -> Int {
    let reason = Int(log.word(at: record.offset + 16))
    return record.offset + 20 + (reason + 3) & ~3
  }

  private func fieldsOffset(_ record: EdgeRecord) -> Int {
    var offset = outputsOffset(record)
    offset += 4 + 8 * Int(log.word(at: offset))
    return offset + 4 + 4 * Int(log.word(at: offset))
  }

  private func firstUnsettled(_ record: EdgeRecord) -> Int32? {
    var offset = outputsOffset(record)
    offset += 4 + 8 * Int(log.word(at: offset))
    for _ in 0..<max(0, log.word(at: offset)) {
      offset += 4
      let id = Int(log.word(at: offset))
      // Negative ones are known to be written by the command itself.
      if id >= 0, id < log.nodeOfPath.count { return log.nodeOfPath[id] }
    }
    return nil
  }

  private func equalsFields(of record: EdgeRecord) -> Bool {
    let start = fieldsOffset(record)
    return log.withPayload(record) { payload in
      let offset = start - record.offset
      guard payload.count - offset == fields.bytes.count else { return false }
      return fields.bytes.withUnsafeBytes { new in
        guard let a = payload.baseAddress, let b = new.baseAddress else { return true }
        return memcmp(a + offset, b, new.count) == 0
      }
    }
  }

  /// Fills `observed` from the tail of the record's fields.
  private func readObserved(_ record: EdgeRecord) {
    observed.clear()
    log.withPayload(record) { payload in
      var reader = tail(of: record, payload)
      for _ in 0..<reader.count(size: 2) {
        let id = Int(reader.word())
        let content = reader.word()
        guard id < log.nodeOfPath.count else { continue }
        let word = log.nodeOfPath[id]
        // The same word may mean another program today.
        let file = tools.program(word) ?? log.node(ofContent: content) ?? word
        observed.tools.append((word, file))
      }
      for _ in 0..<reader.count() {
        if let node = log.node(ofContent: reader.word()) { observed.named.append(node) }
      }
      for _ in 0..<reader.count() {
        if let node = log.node(ofContent: reader.word()) { observed.discovered.append(node) }
      }
    }
  }

  /// A reader that stands before the tools of a record.
  private func tail(of record: EdgeRecord, _ payload: UnsafeRawBufferPointer) -> WordReader {
    var reader = WordReader(bytes: payload, offset: fieldsOffset(record) - record.offset)
    _ = reader.word()
    reader.skipBlock()
    if reader.word() > 0 {
      reader.skipBlock()
      reader.skipBlock()
    }
    for _ in 0..<reader.count(size: 3) {
      reader.skipBlock()
      _ = reader.word()
      reader.skipBlock()
    }
    reader.offset += 4 * reader.count()
    reader.offset += 4 * reader.count()
    return reader
  }

  /// Files that an edge discovered in its last run and that another edge makes: they order the
  /// two, though the manifest does not say so.
  func discoveredProducts(_ edge: Int32) -> [Int32] {
    guard let record = log.record(graph.firstOutput(edge)) else { return [] }
    return log.withPayload(record) { payload in
      var reader = tail(of: record, payload)
      reader.offset += 8 * reader.count(size: 2)
      reader.offset += 4 * reader.count()
      var products: [Int32] = []
      for _ in 0..<reader.count() {
        if let node = log.node(ofContent: reader.word()), graph.producer(node) >= 0 {
          products.append(node)
        }
      }
      return products
    }
  }

  /// Lends each file that an edge's record tells of and the manifest does not: programs, files that
  /// the command names, discovered ones.
  func eachObserved(_ edge: Int32, _ body: (Int32) -> Void) {
    guard let record = log.record(graph.firstOutput(edge)) else { return }
    log.withPayload(record) { payload in
      var reader = tail(of: record, payload)
      for _ in 0..<reader.count(size: 2) {
        _ = reader.word()
        if let node = log.node(ofContent: reader.word()) { body(node) }
      }
      for _ in 0..<2 {
        for _ in 0..<reader.count() {
          if let node = log.node(ofContent: reader.word()) { body(node) }
        }
      }
    }
  }

  /// Whether a generator's outputs were made outside the build, by the order of times that Ninja
  /// uses: none is older than an input. The one place where times decide.
  private func isMadeByHand(_ edge: Int32) throws(QuenchError) -> Bool {
    guard graph.has(.generator, edge), try graph.flag(.generator, of: edge) else { return false }
    if log.state(graph.firstOutput(edge)) == .failed || log.state(graph.firstOutput(edge)) == .began
    {
      return false
    }
    var oldest = Int64.max
    for node in graph.outputs(edge) {
      guard try states.exists(node), let identity = states.identity(node) else { return false }
      oldest = min(oldest, identity.modified)
    }
    // What a generator read may stand in its depfile only, as with GN; one that cannot be read
    // says nothing, and the generator runs.
    let found = try? graph.depfileInputs(edge, states.files)
    if found == nil, graph.has(.depfile, edge), log.record(graph.firstOutput(edge)) == nil {
      return false
    }
    for node in Array(graph.inputs(edge)) + (found ?? []) {
      if try states.current(node) == TraceLog.always { return false }
      guard let identity = states.identity(node) else { continue }
      if identity.modified > oldest { return false }
    }
    return true
  }

  private func firstDifference(_ record: EdgeRecord) -> Reason {
    let old = DecodedRecord(record, in: log).fields
    let new = FieldValues(fields.bytes)
    return Difference(log: log).first(from: old, to: new)
  }
}
