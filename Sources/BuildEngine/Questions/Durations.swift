// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what ran last, and what takes longest.

internal import Artifacts
public import Diagnostics

/// An edge and how long its last run took.
public struct EdgeDuration: Codable, Sendable {
  /// First output of the edge.
  public var output: String
  /// Milliseconds.
  public var milliseconds: Int64
}

extension Build {
  /// What the last build that ran something did; nil when there was none.
  public func lastTrace() throws(QuenchError) -> BuildTrace? {
    let path = statePath("last.json")
    guard try files.identity(path) != nil else { return nil }
    return try ArtifactJSON.decode(BuildTrace.self, from: files.read(path), path: path)
  }

  /// The chain of commands that the last build could not have been faster than.
  public func criticalPath() throws(QuenchError) -> [BuildTrace.Run] {
    guard let trace = try lastTrace() else { return [] }
    let session = try look()
    let ran = Set(trace.runs.map(\.output))
    return trace.criticalPath { output in
      guard let node = paths.find(output), graph.producer(node) >= 0 else { return [] }
      var found: [String] = []
      var seen = Set<Int32>()
      var queue = Array(graph.prerequisites(graph.producer(node)))
      queue += session.observed(graph.producer(node)).discovered
      while let next = queue.popLast() {
        let edge = graph.producer(next)
        guard edge >= 0, seen.insert(edge).inserted else { continue }
        let first = paths.string(graph.firstOutput(edge))
        // Beyond what ran there may be more, behind aliases and fresh edges.
        if ran.contains(first) { found.append(first) } else { queue += graph.prerequisites(edge) }
      }
      return found
    }
  }

  /// Edges by the time that their last runs took, the slowest first.
  public func slowest(_ count: Int) throws(QuenchError) -> [EdgeDuration] {
    let session = try look()
    var found: [EdgeDuration] = []
    for edge in 0..<Int32(graph.edgeCount) {
      guard let record = session.log.record(graph.firstOutput(edge)) else { continue }
      found.append(
        EdgeDuration(
          output: paths.string(graph.firstOutput(edge)),
          milliseconds: session.log.milliseconds(record)))
    }
    found.sort { ($0.milliseconds, $1.output) > ($1.milliseconds, $0.output) }
    return Array(found.prefix(max(0, count)))
  }

  /// Writes the log anew, without what is of no use any more.
  public func recompact() throws(QuenchError) {
    let lock = try BuildLock(lockPath, files: files) { _ in }
    let log = TraceLog(logPath, files: files, paths: paths)
    try log.load()
    try log.openForWriting()
    try log.compact()
    withExtendedLifetime(lock) {}
  }
}
