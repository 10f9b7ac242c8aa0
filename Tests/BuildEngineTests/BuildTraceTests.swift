// SPDX-License-Identifier: Apache-2.0
// What the trace of a build says of its commands.

import Artifacts
import Testing

@testable import BuildEngine

@Suite("The trace of a build")
struct BuildTraceTests {
  private func run(_ output: String, from start: Double, for duration: Double) -> BuildTrace.Run {
    BuildTrace.Run(
      output: output, rule: "r", description: output, reason: "it is missing", start: start,
      duration: duration, outcome: .succeeded, code: 0)
  }

  @Test("the critical path is the chain with the longest sum, in the order in which it ran")
  func criticalPath() {
    // a -> b -> d takes 1 + 5 + 1, a -> c -> d only 1 + 2 + 1; x is alone and shorter than the chain.
    let trace = BuildTrace(runs: [
      run("a", from: 0, for: 1), run("c", from: 1, for: 2), run("b", from: 1, for: 5),
      run("x", from: 0, for: 6.5), run("d", from: 6, for: 1),
    ])
    let needs = ["b": ["a"], "c": ["a"], "d": ["b", "c"]]
    #expect(trace.criticalPath { needs[$0] ?? [] }.map(\.output) == ["a", "b", "d"])
    // Alone, but longer than any chain.
    var longer = trace
    longer.runs[3].duration = 7.5
    #expect(longer.criticalPath { needs[$0] ?? [] }.map(\.output) == ["x"])
    #expect(BuildTrace(runs: []).criticalPath { _ in [] }.isEmpty)
  }

  @Test("what is written is read again, whatever the names hold", arguments: [0, 1, 3])
  func file(count: Int) throws {
    var trace = BuildTrace(runs: [])
    for index in 0..<count {
      var run = run("a\"b\\c\n\u{1}é\u{1F600}\(index)", from: 0.001 * Double(index), for: 1e-7)
      run.outcome = .interrupted
      run.code = -Int32(index)
      trace.runs.append(run)
    }
    let read = try ArtifactJSON.decode(BuildTrace.self, from: trace.file, path: "last.json")
    #expect(read.runs.map(\.output) == trace.runs.map(\.output))
    #expect(read.runs.map(\.description) == trace.runs.map(\.description))
    #expect(read.runs.map(\.start) == trace.runs.map(\.start))
    #expect(read.runs.map(\.duration) == trace.runs.map(\.duration))
    #expect(read.runs.map(\.code) == trace.runs.map(\.code))
    #expect(read.runs.allSatisfy { $0.outcome == .interrupted && $0.reason == "it is missing" })
  }
}
