// SPDX-License-Identifier: Apache-2.0
// The rows T1 and S1 of Documentation.docc/NinjaBehaviours.md: what people see, and signals.

import Foundation
import Glibc
import TestSupport
import Testing

@Suite(
  "Called ninja: lines and signals",
  .enabled(if: Project.hasBinary, "the binary quench is not built"))
struct NinjaStatusTests {
  /// A directory with the link `ninja`.
  private func tree(_ manifest: String, _ files: [String: String] = [:]) throws -> EngineSpace {
    let engine = EngineSpace(manifest, files)
    engine.space.write("bin/.keep", "")
    try FileManager.default.createSymbolicLink(
      atPath: engine.space.path("bin/ninja"), withDestinationPath: Project.binary)
    return engine
  }

  private func start(
    _ engine: EngineSpace, _ arguments: [String] = [], _ variables: [String: String] = [:],
    to place: String
  ) throws -> pid_t {
    var environment = ProcessInfo.processInfo.environment
    for name in ["MAKEFLAGS", "NINJA_STATUS", "CLICOLOR_FORCE"] { environment[name] = nil }
    environment["TERM"] = "xterm"
    return try Child.start(
      engine.space.path("bin/ninja"), arguments, in: engine.space.path,
      environment: environment.merging(variables) { $1 }, output: place, errors: place)
  }

  /// What a build shows on a terminal of 200 columns.
  private func onTerminal(
    _ engine: EngineSpace, _ arguments: [String] = [], _ variables: [String: String] = [:]
  ) throws -> (status: Int32, text: String) {
    let terminal = try PseudoTerminal()
    return try terminal.follow(try start(engine, arguments, variables, to: terminal.path))
  }

  /// What it writes to a file.
  private func inFile(
    _ engine: EngineSpace, _ arguments: [String] = [], _ variables: [String: String] = [:]
  ) throws -> (status: Int32, text: String) {
    let log = TemporarySpace()
    let status = try Child.wait(try start(engine, arguments, variables, to: log.path("log")))
    return (status, log.text("log") ?? "")
  }

  private static let rules = """
    rule cp
      command = sleep 0.02; cp $in $out
      description = COPY $out
    rule say
      command = printf '\\033[31mred\\033[0m\\n'; touch $out

    """

  @Test("T1: NINJA_STATUS knows all of Ninja's letters, and leaves others as they are")
  func letters() throws {
    let engine = try tree(Self.rules + "build b: cp a\nbuild c: cp b\n", ["a": "1\n"])
    let format = "<%s %f %t %p %r %u|%o %c %e %w|%E %W %P|%% %x> "
    for round in 1...2 {
      engine.space.write("a", "\(round)\n")
      let run = try inFile(engine, ["-j1"], ["NINJA_STATUS": format])
      let lines = run.text.split(separator: "\n")
      try #require(run.status == 0 && lines.count == 2, "\(run.text)")
      let time = /\d+\.\d|\?/
      for (line, counts, name) in [
        (lines[0], "<1 1 2  50% 0 1|", "b"), (lines[1], "<2 2 2 100% 0 0|", "c"),
      ] {
        #expect(line.hasPrefix(counts), "\(line)")
        let rest = line.dropFirst(counts.count).split(
          separator: "|", omittingEmptySubsequences: false)
        try #require(rest.count == 3, "\(line)")
        let speeds = rest[0].split(separator: " ")
        #expect(speeds.count == 4 && speeds.prefix(3).allSatisfy { $0.firstMatch(of: time) != nil })
        #expect(speeds.last == "00:00", "\(line)")
        let left = rest[1].split(separator: " ")
        #expect(left.count == 3 && left[2].hasSuffix("%"), "\(line)")
        #expect(left[0].wholeMatch(of: /\d+\.\d{3}|\?/) != nil, "\(line)")
        #expect(left[1].wholeMatch(of: /\d\d:\d\d|\?/) != nil, "\(line)")
        #expect(rest[2] == "% %x> COPY \(name)", "\(line)")
      }
    }
  }

  @Test(
    "T1: a terminal's line is redrawn, cut in the middle to its width, and left whole at the end")
  func terminal() throws {
    let long = String(repeating: "x", count: 150) + "y" + String(repeating: "z", count: 150)
    let engine = try tree(
      Self.rules + "build b: cp a\nbuild c: cp b\n  description = \(long)\n", ["a": "1\n"])
    var run = try onTerminal(engine, ["-j1"])
    #expect(run.status == 0)
    run.text.replace("\r\n", with: "\n")
    #expect(run.text.contains("\r[0/2] COPY b\u{1B}[K\r[1/2] COPY b\u{1B}[K"), "\(run.text)")
    let lines = run.text.components(separatedBy: "\r").map {
      $0.replacing("\u{1B}[K", with: "").replacing("\n", with: "")
    }
    let shown = try #require(lines.first { $0.hasPrefix("[2/2]") })
    #expect(shown.count == 200 && shown.contains("x...z"), "\(shown)")
    #expect(run.text.hasSuffix("\n"))
    // What a command says goes behind the line, which then is left.
    engine.space.write("build.ninja", Self.rules + "build d: say\n")
    let said = try onTerminal(engine)
    #expect(
      said.text.contains("\u{1B}[K\r\n\u{1B}[31mred\u{1B}[0m\r\n"), "\(said.text.debugDescription)")
  }

  @Test("T1: no terminal, a dumb one, quiet, and colours where nobody sees them")
  func plain() throws {
    let manifest = Self.rules + "build b: cp a\nbuild d: say\n  description = SAY\n"
    let engine = try tree(manifest, ["a": "1\n"])
    #expect(try inFile(engine, ["-j1", "b"]).text == "[1/1] COPY b\n")
    #expect(try inFile(engine, ["d"]).text == "[1/1] SAY\nred\n")
    unlink(engine.space.path("d"))
    let forced = try inFile(engine, ["d"], ["CLICOLOR_FORCE": "1"])
    #expect(forced.text == "[1/1] SAY\n\u{1B}[31mred\u{1B}[0m\n")
    unlink(engine.space.path("d"))
    #expect(try onTerminal(engine, ["d"], ["TERM": "dumb"]).text == "[1/1] SAY\r\nred\r\n")
    unlink(engine.space.path("d"))
    #expect(try inFile(engine, ["--quiet"]).text == "red\n")
  }

  @Test("S1, B21: an edge of the console has the terminal, another has not")
  func console() throws {
    let engine = try tree(
      "rule r\n  command = if test -t 1; then echo yes > $out; else echo no > $out; fi\n"
        + "build mine: r\n  pool = console\nbuild other: r\n")
    let run = try onTerminal(engine)
    #expect(run.status == 0, "\(run.text)")
    #expect(engine.space.text("mine") == "yes\n")
    #expect(engine.space.text("other") == "no\n")
  }

  @Test(
    "S1, B16: signals end commands and their children, take half-made outputs away, and are told",
    arguments: [SIGINT, SIGTERM, SIGHUP])
  func signals(_ signal: Int32) throws {
    let engine = try tree(
      "rule slow\n  command = echo half > $out; echo $$$$ > pid; (sleep 50; touch late) & wait\n"
        + "build o: slow\nbuild p: slow\n")
    let log = TemporarySpace()
    let build = try start(engine, ["-j1"], to: log.path("log"))
    try WatchTests.wait("the command's start") { engine.space.text("pid")?.hasSuffix("\n") == true }
    kill(build, signal)
    #expect(try Child.wait(build, limitSeconds: 30) == 130)
    #expect(log.text("log")?.hasSuffix("ninja: build stopped: interrupted by user.\n") == true)
    #expect(engine.space.read("o") == nil && engine.space.read("p") == nil)
    // (What was killed may still wait for its parent to look.)
    for _ in 0..<400 where !engine.inhabitants.isEmpty { usleep(5_000) }
    #expect(engine.inhabitants.isEmpty, "something lives on")
    engine.space.write("build.ninja", "rule slow\n  command = touch $out\nbuild o: slow\n")
    #expect(try inFile(engine).status == 0)
  }

  @Test("S1: a command that a signal killed has failed with 128 and the signal's number")
  func killed() throws {
    let engine = try tree(
      "rule k\n  command = kill -$signal $$$$\nbuild k: k\n  signal = KILL\nbuild t: k\n  signal = TERM\n"
    )
    #expect(try inFile(engine, ["k"]).text.contains("FAILED: [code=137] k"))
    #expect(try inFile(engine, ["k"]).status == 137)
    #expect(try inFile(engine, ["t"]).status == 143)
  }
}
