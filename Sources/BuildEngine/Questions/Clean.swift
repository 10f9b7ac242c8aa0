// SPDX-License-Identifier: Apache-2.0
// BuildEngine: removing what was made.

public import Diagnostics

/// What `clean` removes.
public struct CleanScope: Sendable {
  /// What these targets need; empty: everything.
  public var targets: [String] = []
  /// Only edges of these rules; empty: of all.
  public var rules: [String] = []
  /// Outputs of generators too.
  public var includesGenerators = false
  /// Files that the manifest names as outputs, whoever wrote them: what Ninja does.
  public var includesUnrecorded = false

  /// Everything that the build made for these targets, but for generators' outputs.
  public init(targets: [String] = []) { self.targets = targets }
}

extension Build {
  /// Removes what edges made: all of it, or what the targets need. Edited files stay.
  ///
  /// - Returns: the files that were removed (with `dryRun`: that would be).
  /// - Throws: `.work` when a file cannot be removed; `.usage` for an unknown target or rule.
  @discardableResult
  public func clean(_ scope: CleanScope = CleanScope(), events: (BuildEvent) -> Void = { _ in })
    throws(QuenchError) -> [String]
  {
    var lock: BuildLock?
    if !options.dryRun {
      lock = try BuildLock(lockPath, files: files) { events(.waitingForLock(pid: $0)) }
    }
    let session = try look()
    var edges = Array(0..<Int32(graph.edgeCount))
    if !scope.targets.isEmpty { edges = session.reachable(try nodes(scope.targets)) }
    if !scope.rules.isEmpty {
      let known = ruleDescriptions.map(\.name)
      for rule in scope.rules where !known.contains(rule) {
        throw QuenchError(
          .usage, "unknown rule '\(rule)'\(NearestName.hint(rule, among: known))")
      }
      edges.removeAll { !scope.rules.contains(ruleName($0)) }
    }
    let removed = try session.clean(edges, scope, events)
    withExtendedLifetime(lock) {}
    return removed
  }

  /// Removes outputs of earlier builds that no edge makes any more and that are as they were written.
  @discardableResult
  public func cleanDead(events: (BuildEvent) -> Void = { _ in }) throws(QuenchError) -> [String] {
    var lock: BuildLock?
    if !options.dryRun {
      lock = try BuildLock(lockPath, files: files) { events(.waitingForLock(pid: $0)) }
    }
    let session = try look()
    if !options.dryRun { try session.log.openForWriting() }
    try session.removeDead(evenIfKept: true, events)
    try session.log.flush()
    withExtendedLifetime(lock) {}
    return session.summary.removed
  }
}

extension Session {
  func clean(_ edges: [Int32], _ scope: CleanScope, _ events: (BuildEvent) -> Void)
    throws(QuenchError) -> [String]
  {
    var removed: [String] = []
    var seen = Set<String>()
    func remove(_ path: String) throws(QuenchError) {
      guard seen.insert(path).inserted, files.kind(path) != 0 else { return }
      guard try files.identity(path)?.isDirectory != true else {
        events(.warning("\"\(path)\" is a directory and was left"))
        return
      }
      if !options.dryRun { try files.remove(path) }
      removed.append(path)
    }
    for edge in edges where !graph.isPhony(edge) {
      if !scope.includesGenerators, try graph.flag(.generator, of: edge) { continue }
      let record = log.record(graph.firstOutput(edge))
      guard record != nil || scope.includesUnrecorded else { continue }
      for entry in record.map({ DecodedRecord($0, in: log).outputs }) ?? [] {
        guard let node = log.node(ofContent: entry.content) else { continue }
        let path = paths.string(node)
        if graph.isSet(.keepEdits, of: edge), !options.discardEdits,
          try states.current(node) != entry.content
        {
          if try states.exists(node) {
            events(.warning("\"\(path)\" was edited by hand and was left"))
          }
          seen.insert(path)
          continue
        }
        try remove(path)
      }
      if scope.includesUnrecorded {
        for node in graph.outputs(edge) { try remove(paths.string(node)) }
      }
      for key in [RuleKey.depfile, .rspfile] where graph.has(key, edge) {
        let path = try graph.string(key, of: edge, quoting: .none)
        if !path.isEmpty { try remove(path) }
      }
    }
    return removed
  }
}
