// SPDX-License-Identifier: Apache-2.0
// BuildEngine: outputs that people may edit, and outputs that nobody makes any more.

internal import Diagnostics
internal import Glibc

extension Session {
  /// What was changed by hand in an output since its edge wrote it.
  func handEdit(_ node: Int32, _ edge: Int32) -> HandEdit {
    var lines: [LineChange] = []
    if let written = writtenContent(node, edge), let before = log.text(written),
      // An edited file that cannot be read any more has no lines to show.
      let after = try? files.read(paths.string(node))
    {
      lines = Difference.lines(before, after)
    }
    return HandEdit(path: paths.string(node), lines: lines)
  }

  private func writtenContent(_ node: Int32, _ edge: Int32) -> Int32? {
    guard let record = log.record(graph.firstOutput(edge)) else { return nil }
    return DecodedRecord(record, in: log).outputs.map(\.content).first {
      log.node(ofContent: $0) == node
    }
  }

  /// Copies an edited file to a free name beside it, and says so.
  func keepEdit(_ node: Int32, _ events: (BuildEvent) -> Void) throws(QuenchError) {
    guard let name = try copyAside(node) else { return }
    events(.editKept(path: paths.string(node), as: name))
  }

  /// - Returns: the copy's name; nil when an equal copy is there already.
  private func copyAside(_ node: Int32) throws(QuenchError) -> String? {
    let path = paths.string(node)
    let bytes = try files.read(path)
    var name = path + ".edited"
    var number = 1
    while try files.identity(name) != nil {
      // An equal copy is copy enough.
      if try files.read(name) == bytes { return nil }
      number += 1
      name = path + ".edited\(number)"
    }
    try files.write(name, bytes)
    return name
  }

  /// Keeps a copy of an editable output of which nobody knows who wrote it: its edge has no
  /// intact record, so that it may hold somebody's work.
  func protectUnknown(_ edge: Int32, _ run: Run) throws(QuenchError) {
    guard graph.isSet(.keepEdits, of: edge), log.state(graph.firstOutput(edge)) != .done else {
      return
    }
    for node in graph.outputs(edge) {
      let content = try states.refresh(node)
      guard log.contentKind[Int(content)] == .file,
        !run.previousOutputs.contains(where: { $0.path == node && $0.content == content })
      else { continue }
      unclaimed[node] = try copyAside(node)
    }
  }

  /// After the edge ran: a copy of what the command has just written again was nobody's work.
  func settleUnknown(_ edge: Int32, _ events: (BuildEvent) -> Void) throws(QuenchError) {
    for node in graph.outputs(edge) {
      guard let copy = unclaimed.removeValue(forKey: node) else { continue }
      let path = paths.string(node)
      if try files.read(copy) == files.read(path) {
        try files.remove(copy)
      } else {
        events(.editKept(path: path, as: copy))
      }
    }
  }

  /// Removes outputs of earlier builds of this manifest that no edge makes any more, if they are
  /// still as they were written and are no input either.
  ///
  /// - Parameters:
  ///   - edges: only those whose dyndep file was read just now; nil: all others.
  ///   - evenIfKept: whatever the options say; a dry run only tells.
  func removeDead(
    of edges: Set<Int32>? = nil, evenIfKept: Bool = false, _ events: (BuildEvent) -> Void
  ) throws(QuenchError) {
    guard evenIfKept || (!options.keepDead && !options.dryRun) else { return }
    let manifest = CanonicalPath.fold(options.manifest)
    for output in log.recordedOutputs() {
      guard let record = log.record(output) else { continue }
      let maker = graph.producer(output)
      if let edges {
        guard edges.contains(maker) else { continue }
      } else if maker >= 0, graph.dyndeps.contains(where: { $0.edge == maker && !$0.isLoaded }) {
        // Its dyndep file may name the outputs that the statement does not.
        continue
      }
      // Most records belong to an edge that stands: one look is enough for them.
      if graph.producer(output) >= 0, log.word(at: record.offset + 20 + reasonLength(record)) == 1 {
        continue
      }
      let old = DecodedRecord(record, in: log)
      guard Int(old.manifest) < log.nodeOfPath.count,
        paths.string(log.nodeOfPath[Int(old.manifest)]) == manifest
      else { continue }
      for entry in old.outputs {
        guard let node = log.node(ofContent: entry.content), graph.producer(node) < 0,
          !graph.mentions(node)
        else { continue }
        guard try states.current(node) == entry.content,
          log.contentKind[Int(entry.content)] == .file
        else {
          hasDead = true
          continue
        }
        let path = paths.string(node)
        if !options.dryRun {
          try files.remove(path)
          try states.refresh(node)
        }
        summary.removed.append(path)
        events(.removedDead(path))
      }
      if graph.producer(output) < 0, !options.dryRun { log.drop(output) }
    }
  }

  private func reasonLength(_ record: EdgeRecord) -> Int {
    (Int(log.word(at: record.offset + 16)) + 3) & ~3
  }
}
