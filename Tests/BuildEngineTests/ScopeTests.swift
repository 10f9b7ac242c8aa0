// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

@Suite("What is asked after a change")
struct ScopeTests {
  /// A rule whose depfile names what stands in `$in.h`.
  private static let rules = """
    rule cc
      command = cat $in $$(cat $in.h) > $out; echo "$out: $$(cat $in.h)" > $out.d
      depfile = $out.d
      deps = gcc

    """

  private func world(_ manifest: String, _ files: [String: String]) throws -> World {
    let world = World(ScopeTests.rules + manifest, files)
    try world.build()
    usleep(40_000)
    #expect(try world.build().ran.isEmpty)
    return world
  }

  private func isFine(_ world: World) throws -> Bool {
    let files = try FileSystem(world.space.path)
    return try BuildLock("probe", files: files) { _ in }.probe() != nil
  }

  /// Whether the next build could start from the certificate.
  private func knows(_ world: World) throws -> Bool {
    try Glance(world.options(), targets: []).nothingToDo != nil
  }

  @Test("after a build that ran commands the next one knows at once that nothing is to be done")
  func afterRun() throws {
    let world = try world(
      "build b: cp a\nbuild c: cp b\nbuild e: cp d\n", ["a": "1\n", "d": "x\n"])
    guard try isFine(world) else { return }
    for text in ["2\n", "3\n", "4\n"] {
      world.write("a", text)
      let outcome = try world.build()
      #expect(outcome.ran == ["b", "c"])
      #expect(outcome.summary.fresh == 1)
      #expect(try knows(world))
      #expect(try world.build().summary.fresh == 3)
    }
  }

  @Test("a touched file that holds the same wakes nobody, and the next build knows it")
  func touched() throws {
    let world = try world("build b: cp a\nbuild c: cp b\n", ["a": "1\n"])
    world.touch("a", secondsFromNow: -5)
    let outcome = try world.build()
    #expect(outcome.ran.isEmpty)
    #expect(outcome.summary.fresh == 2)
    usleep(30_000)
    try world.build()
    #expect(try knows(world))
  }

  @Test("a discovered file wakes those that read it, also when another build discovered it")
  func discovered() throws {
    let files = ["a": "a\n", "b": "b\n", "a.h": "h", "b.h": "k", "h": "1\n", "k": "1\n"]
    let world = try world("build o/a: cc a\nbuild o/b: cc b\nbuild all: cat o/a o/b\n", files)
    world.write("h", "2\n")
    #expect(try world.build().ran == ["o/a", "all"])
    world.write("k", "2\n")
    #expect(try world.build().ran == ["o/b", "all"])
    // From now on a reads k as well.
    world.write("a.h", "h k")
    world.write("a", "a2\n")
    #expect(try world.build().ran == ["o/a", "all"])
    world.write("k", "3\n")
    #expect(Set(try world.build().ran) == ["o/a", "o/b", "all"])
    #expect(world.text("all") == "a2\n2\n3\nb\n3\n")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a missing source without a rule is an error, as an order-only input and a target too")
  func missing() throws {
    for statement in ["build b: cp a s\n", "build b: cp a || s\n", "build b: cp a |@ s\n"] {
      let world = try world(statement, ["a": "1\n", "s": "1\n"])
      world.remove("s")
      let text = message { () throws(QuenchError) in try world.build() }
      #expect(text?.contains("'s'") == true, "\(statement)")
      #expect(text?.contains("is missing and no rule makes it") == true)
    }
  }

  @Test("an output edited by hand is made again, and what reads it runs only if it must")
  func output() throws {
    let world = try world("build b: cp a\nbuild c: cp b\n", ["a": "1\n"])
    world.write("b", "hand\n")
    #expect(try world.build().ran == ["b"])
    #expect(world.text("c") == "1\n")
    world.remove("b")
    #expect(try world.build().ran == ["b"])
    world.remove("c")
    #expect(try world.build().ran == ["c"])
  }

  @Test("an alias hands on what its members are, validations run, and other targets stay alone")
  func aliases() throws {
    let world = try world(
      "build b: cp a\nbuild all: phony b\nbuild c: cp d | all\nbuild v: cp b\n"
        + "build x: cp y |@ v\nbuild z: cp a\ndefault c x\n",
      ["a": "1\n", "d": "1\n", "y": "1\n"])
    world.write("a", "2\n")
    #expect(Set(try world.build().ran) == ["b", "c", "v"])
    #expect(!world.exists("z"))
    #expect(try world.build(["z"]).ran == ["z"])
    world.write("a", "3\n")
    #expect(try world.build(["z"]).ran == ["z"])
    #expect(Set(try world.build().ran) == ["b", "c", "v"])
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a command that changes a file behind another edge's back is found out")
  func stray() throws {
    let world = World(
      "rule w\n  command = cat $in > $out; cat $in > d\nbuild b: w a\nbuild c: cp d\n"
        + "build e: cp c\n", ["a": "1\n", "d": "x\n"])
    for _ in 0..<3 { try world.build() }
    #expect(world.text("e") == "1\n")
    #expect(try world.build().ran.isEmpty)
    world.write("a", "2\n")
    _ = try world.build()
    _ = try world.build()
    #expect(world.text("e") == "2\n")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("after a failure the same is asked again until it succeeds")
  func failure() throws {
    let world = try world(
      "rule t\n  command = grep -v bad $in > $out\nbuild b: t a\nbuild c: cp b\nbuild e: cp d\n",
      ["a": "1\n", "d": "1\n"])
    world.write("a", "bad\n")
    #expect(try world.build().failures.keys.sorted() == ["b"])
    #expect(try world.build().failures.keys.sorted() == ["b"])
    world.write("d", "2\n")
    #expect(try world.build([]) { $0.keepGoing = 0 }.ran.sorted() == ["b", "e"])
    world.write("a", "2\n")
    #expect(try world.build().ran == ["b", "c"])
    #expect(try world.build().ran.isEmpty)
    #expect(world.text("c") == "2\n")
  }

  @Test("a changed manifest is read anew, whatever else changed")
  func manifest() throws {
    let world = try world("build b: cp a\nbuild c: cp b\n", ["a": "1\n", "d": "2\n"])
    world.write("build.ninja", World.rules + "build b: cp d\nbuild c: cp b\n")
    world.write("a", "9\n")
    #expect(try world.build().ran == ["b", "c"])
    #expect(world.text("c") == "2\n")
  }

  @Test("a manifest that an edge makes is made first")
  func generated() throws {
    let world = World()
    world.write("in", World.rules + "build b: cp a\n")
    let own = "rule g\n  command = cat in own > build.ninja\n  generator = 1\n"
    world.write("own", own + "build build.ninja: g | in own\n")
    world.write("build.ninja", World.rules + "build b: cp a\n" + (world.text("own") ?? ""))
    world.write("a", "1\n")
    try world.build()
    usleep(40_000)
    try world.build()
    world.write("a", "2\n")
    #expect(try world.build().ran == ["b"])
    world.write("in", World.rules + "build b: cp a\nbuild c: cp a\n")
    #expect(Set(try world.build().ran) == ["build.ninja", "c"])
    world.write("a", "3\n")
    #expect(Set(try world.build().ran) == ["b", "c"])
  }
}
