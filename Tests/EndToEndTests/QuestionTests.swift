// SPDX-License-Identifier: Apache-2.0
// The verbs that ask a build, through the binary.

import Foundation
import TestSupport
import Testing

@Suite("Asking", .enabled(if: Project.hasBinary, "the binary quench is not built"))
struct QuestionTests {
  private static let manifest = """
    rule cp
      command = cp $in $out
      description = COPY $out
    rule bad
      command = exit 3
    build b: cp a
    build c: cp b
    build broken: bad
    default c

    """

  /// Runs the binary in a directory with a small manifest.
  private func run(
    _ space: TemporarySpace, _ arguments: String..., environment: [String: String] = [:]
  ) throws -> Run {
    var variables = ProcessInfo.processInfo.environment
    variables.merge(environment) { $1 }
    let out = space.path(".out-\(UUID().uuidString)")
    let err = space.path(".err-\(UUID().uuidString)")
    let status = try Child.run(
      Project.binary, arguments, in: space.path, environment: variables, output: out, errors: err)
    return Run(
      status: status, output: try String(contentsOfFile: out, encoding: .utf8),
      errors: try String(contentsOfFile: err, encoding: .utf8))
  }

  private func space() -> TemporarySpace {
    let space = TemporarySpace()
    space.write("build.ninja", Self.manifest)
    space.write("a", "1")
    return space
  }

  private func json(_ text: String) throws -> Any {
    try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
  }

  @Test("query, targets, inputs, commands, compdb and missing-deps")
  func graph() throws {
    let space = space()
    _ = try run(space, "build")
    let query = try run(space, "query", "b").output
    #expect(query.contains("made by     cp") && query.contains("read by     c"), "\(query)")
    let answers = try json(try run(space, "query", "b", "--json").output) as? [[String: Any]]
    #expect(answers?.first?["readers"] as? [String] == ["c"])
    #expect(try run(space, "targets").output == "c: cp\nbroken: bad\n")
    #expect(try run(space, "targets", "--all").output == "b: cp\nc: cp\nbroken: bad\n")
    #expect(try run(space, "targets", "--rule", "bad").output == "broken: bad\n")
    #expect(try run(space, "inputs").output == "a\nb\n")
    #expect(try run(space, "inputs", "--sources").output == "a\n")
    #expect(try run(space, "commands").output == "cp a b\ncp b c\n")
    #expect(try run(space, "commands", "--single", "c").output == "cp b c\n")
    let database = try json(try run(space, "compdb").output) as? [[String: String]]
    #expect(database?.map(\.["file"]) == ["a", "b"])
    #expect(try run(space, "missing-deps").output == "0 missing dependencies\n")
    #expect(try run(space, "query", "bb").status == 64)
  }

  @Test("graph as dot, JSON and, where Graphviz is installed, drawn")
  func formats() throws {
    let space = space()
    #expect(try run(space, "graph").output.contains("\"a\" -> e0;"))
    let edges = try json(try run(space, "graph", "--format", "json").output) as? [[String: Any]]
    #expect(edges?.compactMap { $0["rule"] as? String } == ["cp", "cp"])
    let drawn = try run(space, "graph", "--format", "svg")
    if NeighboursTests.tool("dot") != nil {
      #expect(drawn.output.contains("<svg") && drawn.status == 0)
    } else {
      #expect(drawn.status == 69)
    }
  }

  @Test("status and why as JSON")
  func reasons() throws {
    let space = space()
    _ = try run(space, "build")
    space.write("a", "2")
    let status = try json(try run(space, "status", "--json").output) as? [[String: Any]]
    #expect(status?.compactMap { $0["stale"] as? Bool } == [true, true])
    let why = try json(try run(space, "why", "c", "--json").output) as? [String: Any]
    let steps = try #require(why?["steps"] as? [[String: Any]])
    #expect(steps.first?["culprit"] as? String == "a")
    #expect(steps.count == 2)
  }

  @Test("log tells what ran, what failed, what took longest and which chain it was")
  func log() throws {
    let space = space()
    #expect(try run(space, "log").status == 66)
    // Only the two of one chain run, so that no duration decides which chain is the longest.
    _ = try run(space, "build", "c")
    let path = try json(try run(space, "log", "critical-path", "--json").output)
    #expect((path as? [[String: Any]])?.compactMap { $0["output"] as? String } == ["b", "c"])
    space.write("a", "2")
    _ = try run(space, "build", "-k0", "c", "broken")
    let ran = try json(try run(space, "log", "what-ran", "--json").output) as? [[String: Any]]
    #expect(Set(ran?.compactMap { $0["output"] as? String } ?? []) == ["b", "c", "broken"])
    #expect(try run(space, "log", "what-failed").output.contains("broken, failed with 3"))
    #expect(try run(space, "log", "slowest", "-n", "1").output.split(separator: "\n").count == 1)
    let trace = try json(try run(space, "log", "trace").output) as? [String: Any]
    let events = try #require(trace?["traceEvents"] as? [[String: Any]])
    #expect(events.count == 3 && events.allSatisfy { $0["ph"] as? String == "X" })
    // A build that runs nothing leaves the answer as it is.
    _ = try run(space, "build")
    #expect(try run(space, "log").output.split(separator: "\n").count == 3)
  }

  @Test("--events writes one JSON object a line, --trace a Chrome trace")
  func events() throws {
    let space = space()
    func lines(_ text: String) throws -> [[String: Any]] {
      try text.split(separator: "\n").map { try #require(try json(String($0)) as? [String: Any]) }
    }
    let first = try lines(try run(space, "build", "--events", "--trace", "t.json").output)
    #expect(
      first.compactMap { $0["event"] as? String }
        == ["started", "finished", "started", "finished", "ended"])
    #expect(first[0]["reason"] as? String == "b is missing")
    #expect(space.read("t.json") != nil)
    let second = try lines(try run(space, "build", "--events").output)
    #expect(second.compactMap { $0["event"] as? String } == ["skipped", "skipped", "ended"])
    let failed = try run(space, "build", "--events", "broken")
    #expect(try lines(failed.output)[1]["outcome"] as? String == "failed")
    #expect(failed.status == 1)
  }

  @Test("whatever a command prints, its event is JSON on one line with sorted keys")
  func eventsOfAnyBytes() throws {
    let space = space()
    space.write(
      "build.ninja",
      "rule r\n  command = printf '\\001\\033[1m\"q\\\\\\t\\n\\374\\200x' && touch $out\nbuild o\"ut: r\n"
    )
    let lines = try run(space, "build", "--events").output.split(separator: "\n")
    try #require(lines.count == 3, "\(lines)")
    let finished = try #require(try json(String(lines[1])) as? [String: Any])
    #expect(finished["text"] as? String == "\u{1}\u{1B}[1m\"q\\\t\n\u{FFFD}\u{FFFD}x")
    #expect(finished["output"] as? String == "o\"ut")
    for line in lines {
      let keys = line.matches(of: /[{,]"([a-zA-Z]+)":/).map { String($0.1) }
      #expect(keys == keys.sorted() && keys.count > 2, "\(line)")
    }
  }

  @Test(
    "--cache restores what was made before, and says so; clean --dead removes what is left over")
  func cache() throws {
    let space = space()
    _ = try run(space, "build", "--cache")
    space.write("a", "2")
    _ = try run(space, "build", "--cache")
    space.write("a", "1")
    let back = try run(space, "build", environment: ["QUENCH_CACHE": "1G"])
    #expect(back.output.contains("restored b") && back.output.contains("restored 2"))
    #expect(space.text("c") == "1")
    space.write("build.ninja", Self.manifest.replacingOccurrences(of: "build c: cp b", with: ""))
    let dead = try run(space, "clean", "--dead", "-n")
    #expect(dead.status != 0 || dead.output.contains("c"), "\(dead.output)\(dead.errors)")
  }
}
