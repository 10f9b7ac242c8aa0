// SPDX-License-Identifier: Apache-2.0
// BuildEngine: answers about a build that change nothing.

public import Diagnostics

extension Build {
  /// A session that only looks.
  func look() throws(QuenchError) -> Session {
    let log = TraceLog(logPath, files: files, paths: paths)
    try log.load()
    let session = try Session(self, log: log, lock: nil, wake: -1)
    session.keepTexts(of: 0..<Int32(graph.edgeCount))
    if !graph.dyndeps.isEmpty { session.readStandingDyndeps() }
    return session
  }

  func nodes(_ targets: [String]) throws(QuenchError) -> [Int32] {
    guard !targets.isEmpty else { return defaultNodes() }
    var nodes: [Int32] = []
    for target in targets { nodes.append(try node(target)) }
    return nodes
  }

  /// Each edge that the targets need, with the reason why it would run.
  ///
  /// An edge behind a stale one is listed as stale too; a build may still find it fresh, when the
  /// one before it writes the same bytes again.
  public func status(targets: [String] = []) throws(QuenchError) -> [EdgeStatus] {
    let session = try look()
    return try session.judge(try nodes(targets)).map { (edge, reason, edits) throws(QuenchError) in
      EdgeStatus(edge: try info(edge), reason: reason, edits: edits)
    }
  }

  /// Why a target would run: the edges that are stale by themselves, then what follows from them.
  ///
  /// For a target that is up to date, one explanation that says why it ran last.
  public func why(_ target: String) throws(QuenchError) -> [Explanation] {
    let session = try look()
    let node = try node(target)
    let judged = try session.judge([node])
    let stale = judged.filter { $0.reason != nil }
    guard !stale.isEmpty else { return [try session.freshness(node)] }
    func follows(_ reason: Reason?) -> Bool {
      if case .inputWillChange = reason { return true }
      return false
    }
    let ordered = stale.filter { !follows($0.reason) } + stale.filter { follows($0.reason) }
    return ordered.map { entry in
      let output = paths.string(graph.firstOutput(entry.edge))
      let text = entry.reason.map { session.words($0) } ?? ""
      return Explanation(
        output: output, reason: entry.reason, text: "\(output) is stale because \(text)")
    }
  }

  /// All that is compared for a target's edge, one field a line.
  public func fields(of target: String) throws(QuenchError) -> [String] {
    let session = try look()
    let edge = graph.producer(try node(target))
    guard edge >= 0, !graph.isPhony(edge) else { return [] }
    var text = FieldText(log: session.log)
    try session.staleness.writeFields(edge, session.observed(edge), to: &text)
    return text.lines
  }

  /// Files and directories that no edge makes and some edge reads, with the manifest's own files:
  /// what there is to watch. Sorted.
  public var sourceInputs: [String] {
    get throws(QuenchError) {
      let session = try look()
      var found = Set(graph.sources.map { CanonicalPath.fold($0.path) })
      for edge in 0..<Int32(graph.edgeCount) {
        for node in graph.prerequisites(edge) where graph.producer(node) < 0 {
          found.insert(paths.string(node))
        }
        guard !graph.isPhony(edge) else { continue }
        let observed = session.observed(edge)
        for node in observed.discovered + observed.named where graph.producer(node) < 0 {
          found.insert(paths.string(node))
        }
      }
      return found.sorted()
    }
  }
}

extension Session {
  /// Verdicts without running anything.
  func judge(_ nodes: [Int32]) throws(QuenchError) -> [(
    edge: Int32, reason: Reason?, edits: [HandEdit]
  )] {
    let plan = try Plan(targets: nodes, graph: graph, states: states, staleness: staleness)
    var judged: [(edge: Int32, reason: Reason?, edits: [HandEdit])] = []
    for edge in plan.steps {
      if graph.isPhony(edge) {
        if graph.inputs(edge).contains(where: { states.isPending($0) }) {
          for node in graph.outputs(edge) { states.setPending(node) }
        }
        continue
      }
      switch try staleness.verdict(for: edge) {
      case .fresh, .adopted: judged.append((edge, nil, []))
      case .edited(let nodes): judged.append((edge, nil, nodes.map { handEdit($0, edge) }))
      case .stale(let reason):
        judged.append((edge, reason, []))
        for node in graph.outputs(edge) { states.setPending(node) }
      case .conflict(let reason, let nodes):
        judged.append((edge, reason, nodes.map { handEdit($0, edge) }))
        for node in graph.outputs(edge) { states.setPending(node) }
      }
    }
    return judged
  }

  /// A reason in words, with "(edited by hand)" where the culprit is such a file.
  func words(_ reason: Reason) -> String {
    guard case .inputChanged(let path, _) = reason, let node = paths.find(path) else {
      return reason.description
    }
    let edge = graph.producer(node)
    guard edge >= 0, graph.isSet(.keepEdits, of: edge) else { return reason.description }
    // Anything but "edited" needs no remark.
    if case .edited? = try? staleness.verdict(for: edge) {
      return reason.description + " (edited by hand)"
    }
    return reason.description
  }

  func freshness(_ node: Int32) throws(QuenchError) -> Explanation {
    let output = paths.string(node)
    guard let record = log.record(node) else {
      return Explanation(output: output, reason: nil, text: "\(output) is up to date")
    }
    let old = DecodedRecord(record, in: log)
    return Explanation(
      output: output, reason: nil,
      text: "\(output) is up to date; it ran last because \(old.reason)")
  }

  func observed(_ edge: Int32) -> Observed {
    var observed = Observed()
    guard let record = log.record(graph.firstOutput(edge)) else { return observed }
    let old = DecodedRecord(record, in: log).fields
    observed.named = old.named.compactMap { log.node(ofContent: $0) }
    observed.discovered = old.discovered.compactMap { log.node(ofContent: $0) }
    for tool in old.tools {
      if let file = log.node(ofContent: tool.content), Int(tool.word) < log.nodeOfPath.count {
        observed.tools.append((log.nodeOfPath[Int(tool.word)], file))
      }
    }
    return observed
  }

  /// Edges that nodes need, in no particular order; misses nothing that a plan would refuse.
  func reachable(_ nodes: [Int32]) -> [Int32] {
    var seen = Set<Int32>()
    var queue = nodes
    while let node = queue.popLast() {
      let edge = graph.producer(node)
      guard edge >= 0, seen.insert(edge).inserted else { continue }
      queue += graph.prerequisites(edge)
    }
    return seen.sorted()
  }
}
