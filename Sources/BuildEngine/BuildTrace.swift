// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what the last build ran, when and for how long.

public import Artifacts
public import Diagnostics

/// The commands of one build, in the order in which they ended. Kept in `.quench/last.json` until
/// the next build that runs something; times are relative to its start.
public struct BuildTrace: JSONArtifact {
  /// The format's name in the file.
  public static let format = "quench.trace"
  /// The format's version.
  public static let version = 1

  /// How an edge came to its outputs.
  public enum Outcome: String, Codable, Sendable {
    /// Its command succeeded.
    case succeeded
    /// Its command failed.
    case failed
    /// A signal to the build ended it.
    case interrupted
    /// Its outputs came out of the cache.
    case restored
  }

  /// One command.
  public struct Run: Codable, Sendable {
    /// First output of the edge.
    public var output: String
    /// Name of its rule.
    public var rule: String
    /// Description or command.
    public var description: String
    /// Why it ran.
    public var reason: String
    /// Milliseconds from the start of the build to its own.
    public var start: Double
    /// Milliseconds.
    public var duration: Double
    /// How it ended.
    public var outcome: Outcome
    /// Exit code of the command.
    public var code: Int32
  }

  /// The commands.
  public var runs: [Run]

  /// The chain of runs that took longest, each needing the one before it.
  ///
  /// - Parameter needs: for an output, the outputs of other runs that its edge needs.
  func criticalPath(needs: (String) -> [String]) -> [Run] {
    let byOutput = Dictionary(runs.map { ($0.output, $0) }) { _, last in last }
    var best: [String: (total: Double, before: String?)] = [:]
    // In the order of starting, all that a run needs has been seen.
    for run in runs.sorted(by: { $0.start < $1.start }) {
      var entry: (total: Double, before: String?) = (run.duration, nil)
      for need in needs(run.output) {
        guard let earlier = best[need], earlier.total + run.duration > entry.total else { continue }
        entry = (earlier.total + run.duration, need)
      }
      best[run.output] = entry
    }
    var next = best.max { ($0.value.total, $1.key) < ($1.value.total, $0.key) }?.key
    var path: [Run] = []
    while let output = next, let run = byOutput[output] {
      path.append(run)
      next = best[output]?.before
    }
    return path.reversed()
  }
}

// MARK: - The file

extension BuildTrace {
  /// The file, one run a line, as `ArtifactJSON` reads it. No encoder: it would work after the last
  /// command, while the user waits.
  var file: [UInt8] {
    var out = Array(
      "{\"format\": \"\(BuildTrace.format)\", \"version\": \(BuildTrace.version), \"runs\": [".utf8)
    for (index, run) in runs.enumerated() {
      out.append(contentsOf: (index == 0 ? "\n" : ",\n").utf8)
      out.append(json: [
        "output": .text(run.output), "rule": .text(run.rule),
        "description": .text(run.description), "reason": .text(run.reason),
        "outcome": .text(run.outcome.rawValue), "start": .number(run.start),
        "duration": .number(run.duration), "code": .integer(Int(run.code)),
      ])
    }
    out.append(contentsOf: "\n]}\n".utf8)
    return out
  }
}

// MARK: - Chrome

extension BuildTrace {
  private struct ChromeEvent: Encodable {
    var name: String
    var cat: String
    var ph = "X"
    var ts: Double
    var dur: Double
    var pid = 1
    var tid: Int
    var args: [String: String]
  }

  /// The build in the Trace Event Format, which chrome://tracing and Perfetto show: one row a slot.
  public func chrome() throws(QuenchError) -> [UInt8] {
    var slots: [Double] = []
    var events: [ChromeEvent] = []
    for run in runs.sorted(by: { $0.start < $1.start }) {
      // A slot is free a hair early: times are rounded.
      let slot = slots.firstIndex { $0 <= run.start + 0.001 } ?? slots.count
      if slot == slots.count { slots.append(0) }
      slots[slot] = run.start + run.duration
      events.append(
        ChromeEvent(
          name: run.output, cat: run.rule, ts: run.start * 1000, dur: run.duration * 1000,
          tid: slot,
          args: [
            "description": run.description, "reason": run.reason,
            "outcome": run.outcome.rawValue, "code": "\(run.code)",
          ]))
    }
    return try ArtifactJSON.encodePlain(["traceEvents": events])
  }
}
