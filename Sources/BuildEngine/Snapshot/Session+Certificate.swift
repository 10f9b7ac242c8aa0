// SPDX-License-Identifier: Apache-2.0
// BuildEngine: writes down what is fresh, and by what.

internal import Diagnostics
internal import Glibc

extension Session {
  /// Leaves a certificate on what is fresh now, and a snapshot where the last one serves no more,
  /// unless the next build has to say something of the manifest or a file could change without
  /// notice.
  ///
  /// Both save time and nothing else: where they cannot be written, there are none.
  func certify(targets: [String], log path: String, opened: Int64) {
    guard !summary.interrupted, summary.removed.isEmpty, graph.warnings.isEmpty,
      let open = (try? openEdges()) ?? nil, var seen = states.looked(),
      let mark = try? files.identity(path)
    else { return }
    // The cache's own variable may hold something that is an error.
    var terms = Certificate.Terms(log: path, options: Certificate.key(options, targets: targets))
    terms.logEnding = files.ending(of: path)
    var variables = staleness.variables.map(\.name) + ["QUENCH_CACHE"]
    var programs = tools.answers
    if let scope {
      let old = scope.certificate.terms
      for variable in old.variables where !variables.contains(variable.name) {
        variables.append(variable.name)
      }
      let known = programs.map(\.word)
      programs += old.programs.filter { !known.contains($0.word) }
      programs.sort { $0.word < $1.word }
      terms.needed = old.needed
    } else if graph.dyndeps.isEmpty, !hasDead {
      terms.needed = EdgeSet(of: planned, count: graph.edgeCount)
    } else if !open.isEmpty {
      return
    }
    variables.sort()
    terms.variables = variables.map { ($0, options.variable($0)) }
    terms.programs = programs
    terms.open = EdgeSet(of: open, count: graph.edgeCount)

    let place = Certificate.path(options, targets: targets)
    let needsSnapshot = graph.origin != paths.origin || log.hasOutgrownSnapshot
    if let old = scope?.certificate, !needsSnapshot, old.snapshot == paths.origin,
      seen.allSatisfy({ states.certificateIndex($0.path) != nil })
    {
      let changed = seen.map { (states.certificateIndex($0.path) ?? 0, $0.identity) }
      if Certificate.update(old, at: place, files, changed: changed, log: mark, terms: terms) {
        return
      }
    }
    for source in graph.sources {
      let node = paths.intern(source.path)
      guard files.isSettled(source.identity, at: opened),
        !states.wasLookedAt(node) || states.identity(node) == source.identity
      else { return }
      if !states.wasLookedAt(node) { seen.append((node, source.identity)) }
    }
    if let scope {
      let sources = Set(graph.sources.map { paths.intern($0.path) })
      for (index, node) in states.certified.enumerated()
      where node >= 0 && !states.wasLookedAt(node) && !sources.contains(node) {
        seen.append((node, scope.certificate.identity(index)))
      }
    }
    // A manifest that changed without making anything stale may change again before a file does.
    if needsSnapshot, scope != nil || !followsCertificate || !summary.isNothingToDo {
      takeSnapshot()
    }
    let fresh =
      scope?.certificate.fresh
      ?? (graph.dyndeps.isEmpty ? planned.count { !graph.isPhony($0) } : summary.fresh)
    let bytes = Certificate.encode(
      files: seen, paths: paths, log: mark, fresh: fresh, terms: terms,
      snapshot: log.isIndexed ? paths.origin : 0)
    files.replaceCache(place, bytes)
  }

  /// Edges that are not fresh by what was seen last, among those that could be otherwise: a command
  /// may have changed a file that other edges had looked at before. Nil where nobody can tell.
  private func openEdges() throws(QuenchError) -> [Int32]? {
    if summary.isNothingToDo, summary.edits.isEmpty, scope == nil { return [] }
    // What dyndep files told of may be another thing by now.
    guard graph.dyndeps.isEmpty else { return nil }
    var open: [Int32] = []
    for edge in scope?.needed ?? planned where !graph.isPhony(edge) {
      if try !isFresh(edge) { open.append(edge) }
    }
    for edge in manifestPlan where !graph.isPhony(edge) && scope?.isAffected(edge) != false {
      // The manifest is stale again.
      guard try isFresh(edge) else { return nil }
    }
    guard let scope else { return open }
    // Nobody asked the other edges. If one of their files is another one, it stays to be asked.
    for node in states.differing(from: scope.certificate)
    where scope.contents[node] != states.known(node) {
      open += scope.neighbours(node, graph).filter { !scope.isAffected($0) }
    }
    return open
  }

  private func isFresh(_ edge: Int32) throws(QuenchError) -> Bool {
    if case .fresh = try staleness.verdict(for: edge) { return true }
    return false
  }

  /// Puts graph, names and the log's index down for the next build.
  private func takeSnapshot() {
    guard graph.dyndeps.isEmpty else { return }
    var writer = SnapshotWriter()
    var words: [UInt8] = []
    words.append(block: Snapshot.key(options))
    words.append(word: Int32(graph.sources.count))
    for source in graph.sources {
      words.append(block: source.path.utf8)
      var identity: [UInt8] = []
      source.identity.append(to: &identity)
      words.append(block: identity)
    }
    writer.add(.sources, words)
    graph.write(to: &writer)
    paths.write(to: &writer)
    log.write(to: &writer)
    Readers(graph, staleness).write(to: &writer)
    guard let id = writer.write(Snapshot.path(options), files: files) else { return }
    paths.origin = id
    paths.originCount = paths.count
    graph.origin = id
    log.isIndexed = true
    log.indexed = log.end
  }
}

extension FileSystem {
  /// Puts a file that only saves time in place, whole or not at all; a failure leaves none.
  func replaceCache(_ path: String, _ bytes: [UInt8]) {
    let temporary = "\(path).\(getpid()).new"
    do throws(QuenchError) {
      try makeParents(of: path)
      try write(temporary, bytes)
      try rename(temporary, to: path)
    } catch {
      unlinkat(descriptor, temporary, 0)
    }
  }
}
