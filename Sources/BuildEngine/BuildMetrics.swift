// SPDX-License-Identifier: Apache-2.0
// BuildEngine: where the time of a build goes (`-d stats`).

internal import CSystem

/// How often the steps of a build were taken, and how long they took together.
///
/// Steps may stand inside others: a command's end is written to the log.
public struct BuildMetrics: Sendable {
  /// A kind of step, by the name that people see.
  public enum Step: String, CaseIterable, Sendable {
    /// Files compared with the certificate of the last decision.
    case compare = "certified file"
    /// Manifests read, included ones with the one that includes them.
    case manifest = "manifest parse"
    /// The log read.
    case log = "log load"
    /// One file looked at.
    case look = "file stat"
    /// One file or directory read.
    case digest = "file digest"
    /// Which edges targets need, in which order.
    case plan = "plan"
    /// One edge compared with its record.
    case decide = "edge verdict"
    /// From the decision to the running command: inputs looked at again, log written.
    case start = "command start"
    /// From the command's end to its record: depfile, outputs and inputs looked at, log written.
    case finish = "command end"
    /// Records written.
    case write = "log write"
  }

  /// How often a step was taken.
  public private(set) var counts = [Int](repeating: 0, count: Step.allCases.count)
  /// What all of them took, in nanoseconds.
  public private(set) var nanoseconds = [Int64](repeating: 0, count: Step.allCases.count)

  /// Steps that were taken, in the order of a build.
  public var rows: [(step: Step, count: Int, nanoseconds: Int64)] {
    zip(Step.allCases, zip(counts, nanoseconds)).compactMap { step, row in
      row.0 > 0 ? (step, row.0, row.1) : nil
    }
  }

  init() {}

  mutating func add(_ other: BuildMetrics?) {
    for (step, count, time) in other?.rows ?? [] { add(step, count, time) }
  }

  mutating func add(_ step: Step, _ count: Int, _ time: Int64) {
    guard let index = Step.allCases.firstIndex(of: step) else { return }
    counts[index] += count
    nanoseconds[index] += time
  }
}

extension FileSystem {
  /// Does something and, where that was asked for, measures it.
  @inline(__always)
  func measured<Result, Failure>(
    _ step: BuildMetrics.Step, count: Int = 1, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard metrics != nil else { return try body() }
    let start = cs_monotonic()
    defer { metrics?.add(step, count, cs_monotonic() - start) }
    return try body()
  }
}
