// SPDX-License-Identifier: Apache-2.0
// More rows of Documentation.docc/NinjaBehaviours.md: what a run reads, leaves and takes away.

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

@Suite("Ninja's own tests: runs and what they leave")
struct NinjaRunTests {
  @Test("B14: a dry run shows all that may have to run, and touches neither files nor log")
  func dryRun() throws {
    let world = World(
      "rule first\n  command = head -c1 $in > $out\n  restat = 1\nbuild f: first a\nbuild g: cp f\n",
      ["a": "1x"])
    try world.build()
    world.write("a", "1y")
    let log = world.space.read(".quench/log")
    #expect(try world.build { $0.dryRun = true }.ran == ["f", "g"])
    #expect(world.space.read(".quench/log") == log)
    #expect(try world.build().ran == ["f"])
  }

  @Test("B15: a response file is there while the command runs, stays after a failure, and counts")
  func responseFile() throws {
    func manifest(_ text: String, _ end: String = "true") -> String {
      "rule r\n  command = cp $rsp $out; \(end)\n  rspfile = $rsp\n  rspfile_content = \(text)\n"
        + "build o: r\n  rsp = dir/o.rsp\n"
    }
    let world = World(manifest("one"))
    try world.build()
    #expect(world.text("o") == "one")
    #expect(!world.exists("dir/o.rsp"))
    world.write("build.ninja", manifest("two"))
    #expect(try world.build().ran == ["o"])
    #expect(world.text("o") == "two")
    world.write("build.ninja", manifest("three", "false"))
    #expect(try world.build().summary.failed == ["o"])
    #expect(world.text("dir/o.rsp") == "three")
    world.write("build.ninja", manifest("three"))
    #expect(try world.build().ran == ["o"])
    #expect(!world.exists("dir/o.rsp"))
  }

  @Test("B16: an interrupt keeps what was not touched; what was, and what has a depfile, goes")
  func interrupt() throws {
    let world = World("", ["seconds": "0\n"])
    world.write(
      "build.ninja",
      """
      rule slow
        command = $first echo 1 2 >&$$QUENCH_PROGRESS_FD; sleep $$(cat seconds); echo whole > $out
      build kept: slow | seconds
        progress = 1
      build touched: slow | seconds
        progress = 1
        first = echo half > touched;
      build found: slow | seconds
        progress = 1
        depfile = found.d

      """)
    #expect(try world.build().summary.exitCode == 0)
    world.write("seconds", "100\n")
    var begun: Set<String> = []
    let outcome = try world.build([]) {
      $0.jobs = 3
    } during: { event, build in
      guard case .progress(let edge, _, _, _) = event else { return }
      begun.insert(edge.output)
      if begun.count == 3 { build.interrupt() }
    }
    #expect(outcome.summary.exitCode == 130)
    #expect(world.text("kept") == "whole\n")
    #expect(!world.exists("touched") && !world.exists("found"))
    world.write("seconds", "0\n")
    #expect(Set(try world.build().ran) == ["kept", "touched", "found"])
  }

  @Test("G9, G13: aliases of aliases have nothing to do, nor has one of validations only")
  func aliases() throws {
    let world = World(
      "build in: phony s\nbuild mid: phony in\nbuild o: cp a | mid\n",
      ["a": "1", "s": "1"])
    #expect(try world.build().ran == ["o"])
    #expect(try world.build().summary.isNothingToDo)
    world.write("s", "2")
    #expect(try world.build().ran == ["o"])
    let checked = World("build p: phony |@ v\nbuild v: cp a\nbuild o: cp a | p\n", ["a": "1"])
    #expect(Set(try checked.build(["o"]).ran) == ["o", "v"])
    #expect(try checked.build(["o"]).ran.isEmpty)
  }

  @Test(
    "G11, B4: a depfile is read right after its command; what it became later is nobody's matter")
  func laterDepfile() throws {
    let world = World(
      "rule cc\n  command = cat $in h > $out; echo '$out: h' > $out.d\n  depfile = $out.d\n"
        + "build o: cc c\n", ["c": "c", "h": "1"])
    try world.build()
    world.write("o.d", "nonsense\n")
    #expect(try world.build().ran.isEmpty)
    world.write("c", "d")
    #expect(try world.build().ran == ["o"])
    #expect(world.text("o.d") == "o: h\n")
  }

  @Test("B20: an input that only the depfile names and that changes during the run: once more")
  func discoveredDuringRun() throws {
    let world = World(
      "rule cc\n  command = cat $in h > $out; echo '$out: h' > $out.d; cp h.new h\n"
        + "  depfile = $out.d\n  deps = gcc\nbuild o: cc c\n",
      ["c": "c", "h": "1", "h.new": "2"])
    #expect(try world.build().ran == ["o"])
    #expect(try world.build().ran == ["o"])
    #expect(try world.build().ran.isEmpty)
    #expect(world.text("o") == "c2")
  }

  @Test("C1: clean takes depfiles and response files along, through aliases, and what dyndep names")
  func clean() throws {
    let world = World(
      "rule cc\n  command = cat $in > $out; echo '$out:' > $out.d; touch $out.rsp\n"
        + "  depfile = $out.d\n  rspfile = $out.rsp\n  rspfile_content = x\nbuild o: cc c\n"
        + "build mid: phony o\nbuild all: phony mid\nbuild other: cp c\n"
        + "rule two\n  command = touch two extra\nbuild two: two || dd\n  dyndep = dd\n",
      ["c": "1", "dd": "ninja_dyndep_version = 1\nbuild two | extra: dyndep\n"])
    try world.build(["all", "other", "two"])
    world.write("o.rsp", "kept\n")
    #expect(
      try Build(world.options()).clean(CleanScope(targets: ["all"])).sorted() == [
        "o", "o.d", "o.rsp",
      ])
    #expect(try Build(world.options()).clean().sorted() == ["extra", "other", "two"])
    #expect(world.exists("dd") && world.exists("c"))
  }

  @Test("D1, D2: long commands, many discovered inputs and blanks in names come back from the log")
  func records() throws {
    let names = (0..<2000).map { "in/a long name \($0)" }
    let list = names.map { $0.replacing(" ", with: "\\ ") }.joined(separator: " ")
    let long = String(repeating: "x", count: 300_000)
    let world = World(
      "rule cc\n  command = : \(long); cat $in > $out; cp list $out.d\n  depfile = $out.d\n"
        + "  deps = gcc\nbuild o$ b: cc c\n", ["c": "1", "list": "o\\ b: \(list)\n"])
    for name in names { world.write(name, "1") }
    try world.build()
    #expect(try world.build().ran.isEmpty)
    #expect(
      try Build(world.options()).discoveredInputs(of: ["o b"]).first?.inputs.count == names.count)
    let size = world.space.read(".quench/log")?.count ?? 0
    world.write("in/a long name 1234", "2")
    #expect(try world.build().ran == ["o b"])
    // Nothing is written twice that did not change: paths and contents are there already.
    #expect((world.space.read(".quench/log")?.count ?? 0) - size < size / 2)
  }
}
