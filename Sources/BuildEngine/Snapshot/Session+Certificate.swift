// SPDX-License-Identifier: Apache-2.0
// BuildEngine: writes down that everything is fresh, and by what.

internal import Diagnostics
internal import Glibc

extension Session {
  /// Leaves a certificate when everything is fresh now, nothing was said that the next build would
  /// have to say again, and no file was seen that could change without notice.
  ///
  /// A certificate saves time and nothing else: where it cannot be written, there is none.
  func certify(targets: [String], log path: String, opened: Int64) {
    guard !summary.interrupted, summary.failed.isEmpty, summary.removed.isEmpty,
      summary.edits.isEmpty, summary.exitCode == 0, graph.warnings.isEmpty,
      summary.isNothingToDo || (try? isAllFresh()) == true,
      var seen = states.looked(), let mark = try? files.identity(path)
    else { return }
    // The cache's own variable may hold something that is an error.
    var variables = staleness.variables.union(["QUENCH_CACHE"])
    var programs = tools.answers
    var fresh = summary.fresh
    var needed: [UInt8] = []
    if let scope {
      let terms = scope.certificate.terms
      variables.formUnion(terms.variables.map(\.name))
      let known = Set(programs.map(\.word))
      programs += terms.programs.filter { !known.contains($0.word) }
      programs.sort { $0.word < $1.word }
      for (index, node) in states.certified.enumerated()
      where node >= 0 && !states.wasLookedAt(node) {
        seen.append((node, scope.certificate.identity(index)))
      }
      fresh = scope.freshBefore
      needed = terms.needed
    } else {
      for source in graph.sources {
        guard files.isSettled(source.identity, at: opened) else { return }
        seen.append((paths.intern(source.path), source.identity))
      }
      if graph.dyndeps.isEmpty, let plan = plans.last {
        fresh = plan.count { !graph.isPhony($0) }
        if !hasDead {
          needed = [UInt8](repeating: 0, count: (graph.edgeCount + 7) / 8)
          for edge in plan { needed[Int(edge >> 3)] |= 1 << UInt8(edge & 7) }
        }
      }
    }
    let terms = Certificate.Terms(
      log: path, options: Certificate.key(options, targets: targets),
      variables: variables.sorted().map { ($0, options.environment[$0]) },
      programs: programs, needed: needed)
    let bytes = Certificate.encode(
      files: seen, paths: paths, log: mark, fresh: fresh, terms: terms)
    files.replaceCache(Certificate.path(options, targets: targets), bytes)
  }

  /// Whether every edge is fresh by what was seen last: a command may have changed a file that
  /// other edges had looked at before.
  private func isAllFresh() throws(QuenchError) -> Bool {
    // What dyndep files told of may be another thing by now.
    guard graph.dyndeps.isEmpty else { return false }
    for (number, plan) in plans.enumerated() {
      let isLast = number == plans.count - 1
      for edge in isLast ? scope?.needed ?? plan : plan
      where !graph.isPhony(edge) && scope?.isAffected(edge) != false {
        guard case .fresh = try staleness.verdict(for: edge) else { return false }
      }
    }
    guard let scope else { return true }
    // Nobody asked the other edges: no file of theirs may be another one.
    return states.differing(from: scope.certificate).allSatisfy { node in
      if let before = scope.contents[node], states.known(node) == before { return true }
      let maker = graph.producer(node)
      return (maker < 0 || scope.isAffected(maker))
        && scope.readers[node].allSatisfy(scope.isAffected)
    }
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
