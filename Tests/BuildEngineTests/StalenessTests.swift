// SPDX-License-Identifier: Apache-2.0

import BuildEngine
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("What makes an edge run")
struct StalenessTests {
  private func chain() -> World {
    World("build b: cp a\nbuild c: cp b\n", ["a": "1\n"])
  }

  @Test("nothing runs twice")
  func null() throws {
    let world = chain()
    #expect(try world.build().ran == ["b", "c"])
    let again = try world.build()
    #expect(again.ran.isEmpty)
    #expect(again.summary.isNothingToDo)
    #expect(again.summary.fresh == 2)
  }

  @Test("an edge is stale when the content of its input changed")
  func edit() throws {
    let world = chain()
    try world.build()
    world.write("a", "2\n")
    #expect(try world.build().ran == ["b", "c"])
    #expect(world.text("c") == "2\n")
  }

  @Test("a touch runs nothing, nor does a file replaced by the same bytes")
  func touch() throws {
    let world = chain()
    try world.build()
    world.touch("a", secondsFromNow: 5)
    #expect(try world.build().ran.isEmpty)
    world.remove("a")
    world.write("a", "1\n")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("an older input counts as much as a newer one")
  func older() throws {
    let world = chain()
    try world.build()
    world.write("a", "2\n")
    world.touch("a", secondsFromNow: -86_400)
    #expect(try world.build().ran == ["b", "c"])
  }

  @Test("a change within the same size and time is seen")
  func sameStat() throws {
    let world = chain()
    world.touch("a", secondsFromNow: -100)
    try world.build()
    world.write("a", "2\n")
    world.touch("a", secondsFromNow: -100)
    #expect(try world.build().ran == ["b", "c"])
  }

  @Test("an edit right after the build is seen, however fast it came")
  func raciest() throws {
    let world = chain()
    try world.build()
    for round in 0..<20 {
      world.write("a", "\(round % 10)\n")
      try world.build()
      #expect(world.text("c") == "\(round % 10)\n")
    }
  }

  @Test("an output with unchanged bytes wakes nobody, and its edge stays quiet afterwards")
  func cutoff() throws {
    let world = World()
    world.write(
      "build.ninja",
      World.rules
        + "rule first\n  command = head -n 1 $in > $out\nbuild b: first a\nbuild c: cp b\n")
    world.write("a", "1\nx\n")
    try world.build()
    world.write("a", "1\ny\n")
    #expect(try world.build().ran == ["b"])
    #expect(try world.build().ran.isEmpty)
  }

  @Test("going back to earlier bytes runs the edge again, since its output is another one")
  func revert() throws {
    let world = chain()
    try world.build()
    world.write("a", "2\n")
    try world.build()
    world.write("a", "1\n")
    #expect(try world.build().ran == ["b", "c"])
    #expect(world.text("c") == "1\n")
  }

  @Test("an output that was changed or removed behind the build's back is made again")
  func outputs() throws {
    let world = chain()
    try world.build()
    world.write("b", "hand\n")
    let outcome = try world.build()
    #expect(outcome.ran == ["b"])
    #expect(outcome.reasons["b"] == .outputChanged("b"))
    #expect(world.text("b") == "1\n")
    world.remove("c")
    #expect(try world.build().reasons["c"] == .missingOutput("c"))
  }

  @Test("a command that writes no output has failed")
  func noOutput() throws {
    let world = World()
    world.write("build.ninja", "rule none\n  command = true\nbuild b: none\n")
    let outcome = try world.build()
    #expect(outcome.summary.exitCode == 1)
    #expect(outcome.failures["b"] == "the command succeeded but did not write \"b\"")
  }

  @Test("an output that only aliases read may be missing: its command always runs")
  func marker() throws {
    let world = World()
    world.write("build.ninja", "rule none\n  command = true\nbuild b: none\nbuild all: phony b\n")
    #expect(try world.build(["all"]).summary.exitCode == 0)
    #expect(try world.build(["all"]).ran == ["b"])
  }

  @Test("an input edited while its command runs makes the record worthless")
  func editedDuringRun() throws {
    let world = World()
    world.write(
      "build.ninja",
      """
      rule slow
        command = cat $in > $out; test -e late || echo 2 > $in; touch late
      build b: slow a

      """)
    world.write("a", "1\n")
    let first = try world.build()
    #expect(first.warnings.contains { $0.contains("a changed while b was made from it") })
    let second = try world.build()
    #expect(second.reasons["b"] == .changedDuringRun("a"))
    #expect(world.text("b") == "2\n")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a discovered input edited while its command runs does too")
  func discoveredDuringRun() throws {
    let world = World()
    world.write(
      "build.ninja",
      """
      rule cc
        command = cat $in inc/h > $out; test -e late || echo 2 > inc/h; touch late; $
            echo "$out: $in inc/h" > $out.d
        depfile = $out.d
        deps = gcc
      build b: cc a

      """)
    world.write("a", "a\n")
    world.write("inc/h", "1\n")
    try world.build()
    #expect(try world.build().ran == ["b"])
    #expect(world.text("b") == "a\n2\n")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a command that touches its own input runs once more, then is quiet")
  func touchesInput() throws {
    let world = World()
    world.write("build.ninja", "rule t\n  command = cat $in > $out; touch $in\nbuild b: t a\n")
    world.write("a", "1\n")
    try world.build()
    #expect(try world.build().ran == ["b"])
    #expect(try world.build().ran.isEmpty)
  }

  @Test("command, response file, environment and tools are part of the key")
  func key() throws {
    let world = World()
    func manifest(_ option: String, _ response: String) -> String {
      """
      rule r
        command = sh ./tool.sh \(option) $$WORLD_VALUE < $out.rsp > $out
        rspfile = $out.rsp
        rspfile_content = \(response)
      build b: r

      """
    }
    world.write("tool.sh", "echo v1 $*; cat\n")
    world.write("build.ninja", manifest("--method mse", "one"))
    world.environment["WORLD_VALUE"] = "x"
    try world.build()
    #expect(world.text("b") == "v1 --method mse x\none")
    #expect(!world.exists("b.rsp"))

    world.write("build.ninja", manifest("--method kl", "one"))
    #expect(
      try world.build().reasons["b"] == .commandChanged(old: "--method mse", new: "--method kl"))
    world.write("build.ninja", manifest("--method kl", "two"))
    #expect(
      try world.build().reasons["b"] == .responseFileChanged(old: "one", new: "two"))
    world.environment["WORLD_VALUE"] = "y"
    #expect(
      try world.build().reasons["b"]
        == .environmentChanged(name: "WORLD_VALUE", old: "x", new: "y"))
    world.write("tool.sh", "echo v2 $*; cat\n")
    #expect(try world.build().reasons["b"] == .toolChanged("tool.sh"))
    #expect(world.text("b") == "v2 --method kl y\ntwo")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a declared environment variable counts though the command does not name it")
  func declaredEnvironment() throws {
    let world = World("build b: cp a\n  environment = WORLD_VALUE\n", ["a": "1"])
    try world.build()
    world.environment["WORLD_VALUE"] = "x"
    #expect(
      try world.build().reasons["b"]
        == .environmentChanged(name: "WORLD_VALUE", old: nil, new: "x"))
  }

  @Test("a program found through PATH is an input; Quench itself is not")
  func tools() throws {
    let world = World()
    world.write(
      "build.ninja", "rule t\n  command = mytool > $out; quench > /dev/null\nbuild b: t\n")
    for name in ["mytool", "quench"] {
      world.write("bin/\(name)", "#!/bin/sh\necho 1\n")
      chmod(world.space.path("bin/\(name)"), 0o755)
    }
    world.environment["PATH"] = world.space.path("bin") + ":/usr/bin:/bin"
    try world.build()
    world.write("bin/quench", "#!/bin/sh\necho 3\n")
    #expect(try world.build().ran.isEmpty)
    world.write("bin/mytool", "#!/bin/sh\necho 2\n")
    #expect(try world.build().ran == ["b"])
    #expect(world.text("b") == "2\n")
  }

  @Test("inputs added to or taken from a statement count, the command being the same")
  func inputLists() throws {
    let world = World("", ["x1": "1\n", "x2": "2\n"])
    func manifest(_ inputs: String) -> String {
      "rule all\n  command = cat x* > $out\nbuild b: all | \(inputs)\n"
    }
    world.write("build.ninja", manifest("x1"))
    try world.build()
    world.write("build.ninja", manifest("x1 x2"))
    #expect(try world.build().reasons["b"] == .inputAdded("x2"))
    world.remove("x2")
    world.write("build.ninja", manifest("x1"))
    #expect(try world.build().reasons["b"] == .inputRemoved("x2"))
    #expect(world.text("b") == "1\n")
  }

  @Test("an alias stands for its members")
  func alias() throws {
    let world = World("", ["x1": "1\n", "x2": "2\n"])
    let rule = "rule all\n  command = cat x* > $out\n"
    world.write("build.ninja", rule + "build p: phony x1 x2\nbuild b: all | p\n")
    try world.build(["b"])
    #expect(try world.build(["b"]).ran.isEmpty)
    world.write("x1", "3\n")
    #expect(try world.build(["b"]).ran == ["b"])
    world.remove("x2")
    world.write("build.ninja", rule + "build p: phony x1\nbuild b: all | p\n")
    #expect(try world.build(["b"]).ran == ["b"])
    #expect(world.text("b") == "3\n")
  }

  @Test("an alias without members and without a file always counts as changed")
  func alwaysDirty() throws {
    let world = World("build always: phony\nbuild b: cp a | always\n", ["a": "1"])
    try world.build()
    #expect(try world.build().reasons["b"] == .alwaysRuns("always"))
  }

  @Test("order-only inputs are made first and never make stale")
  func orderOnly() throws {
    let world = World("build b: cp a || o\nbuild o: cp p\n", ["a": "1", "p": "1"])
    #expect(try world.build(["b"]).ran == ["o", "b"])
    world.write("p", "2")
    #expect(try world.build(["b"]).ran == ["o"])
  }

  @Test("a discovered input that is deleted counts as changed, not as an error")
  func discoveredDeleted() throws {
    let world = World("", ["a": "1\n", "h": "2\n"])
    world.write(
      "build.ninja",
      """
      rule cc
        command = cat $in > $out; test -e h && cat h >> $out; echo "$out: $in" $$(ls h) > $out.d
        depfile = $out.d
        deps = gcc
      build b: cc a

      """)
    try world.build()
    #expect(!world.exists("b.d"))
    world.remove("h")
    try world.build()
    #expect(world.text("b") == "1\n")
  }

  @Test("an input that another edge makes but nobody lists is ordered from the second build on")
  func undeclared() throws {
    let world = World("", ["a": "1\n", "p": "1\n", "h": "0\n"])
    world.write(
      "build.ninja",
      """
      rule cc
        command = cat $in h > $out; echo "$out: h" > $out.d
        depfile = $out.d
        deps = gcc
      rule slow
        command = sleep 0.2; cat $in > $out
      build b: cc a
      build h: slow p

      """)
    try world.build([]) { $0.jobs = 2 }
    try world.build([]) { $0.jobs = 2 }
    #expect(world.text("b") == "1\n1\n")
    world.write("p", "2\n")
    #expect(try world.build([]) { $0.jobs = 2 }.ran == ["h", "b"])
    #expect(world.text("b") == "1\n2\n")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a directory as an input means its names, not the contents of its files")
  func directory() throws {
    let world = World()
    world.write("build.ninja", "rule ls\n  command = ls images > $out\nbuild b: ls | images\n")
    world.write("images/1.png", "x")
    try world.build()
    world.write("images/1.png", "y")
    #expect(try world.build().ran.isEmpty)
    world.write("images/2.png", "x")
    #expect(try world.build().ran == ["b"])
    #expect(world.text("b") == "1.png\n2.png\n")
    world.remove("images/1.png")
    #expect(try world.build().ran == ["b"])
    // A file that came and went leaves the listing as it was.
    world.write("images/3.png", "x")
    world.remove("images/3.png")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a link that is pointed elsewhere counts by what it points to")
  func links() throws {
    let world = World("build b: cp link\n", ["one": "1\n", "two": "2\n", "same": "1\n"])
    world.touch("two", secondsFromNow: -1_000)
    symlink("one", world.space.path("link"))
    try world.build()
    world.remove("link")
    symlink("same", world.space.path("link"))
    #expect(try world.build().ran.isEmpty)
    world.remove("link")
    symlink("two", world.space.path("link"))
    #expect(try world.build().ran == ["b"])
  }

  @Test("a failing command runs again, though it touched its output")
  func failure() throws {
    let world = World()
    world.write(
      "build.ninja", "rule bad\n  command = cat $in > $out; ! grep -q bad $in\nbuild b: bad a\n")
    world.write("a", "1\n")
    try world.build()
    world.write("a", "bad\n")
    #expect(try world.build().summary.exitCode == 1)
    let again = try world.build()
    #expect(again.reasons["b"] == .failed)
    #expect(again.summary.exitCode == 1)
  }

  @Test("an output that no edge makes any more is removed if it is still as it was written")
  func deadOutputs() throws {
    let world = World("build b: cp a\nbuild c: cp a\nbuild d: cp a\nbuild e: cp a\n", ["a": "1\n"])
    try world.build()
    world.write("build.ninja", World.rules + "build b: cp a\nbuild e: cp d\n")
    world.write("c", "mine now\n")
    #expect(try world.build(["b"], { $0.keepDead = true }).summary.removed.isEmpty)
    let outcome = try world.build()
    #expect(outcome.summary.removed.isEmpty)
    #expect(world.text("c") == "mine now\n")
    #expect(world.exists("d"), "it became a source")
    world.write("build.ninja", World.rules + "build b: cp a\n")
    #expect(try world.build().summary.removed == ["e"])
    #expect(!world.exists("e"))
    #expect(try world.build().summary.isNothingToDo)
  }

  @Test("another manifest of the same directory leaves these outputs alone")
  func twoManifests() throws {
    let world = World("build b: cp a\n", ["a": "1\n"])
    try world.build()
    world.write("other.ninja", World.rules + "build c: cp a\n")
    #expect(try world.build([]) { $0.manifest = "other.ninja" }.ran == ["c"])
    #expect(world.exists("b"))
    #expect(try world.build().ran.isEmpty)
  }

  @Test("an input of the future is like any other")
  func future() throws {
    let world = chain()
    world.touch("a", secondsFromNow: 86_400)
    try world.build()
    #expect(try world.build().ran.isEmpty)
  }

  @Test("names with spaces, quotes and UTF-8 build like others")
  func names() throws {
    let world = World("build ü$ b'c/größe$ 1: cp a$ b\n", ["a b": "1\n"])
    #expect(try world.build().ran == ["ü b'c/größe 1"])
    #expect(world.text("ü b'c/größe 1") == "1\n")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a manifest that an edge makes is brought up to date and read again")
  func generator() throws {
    let world = World("", ["list": "x"])
    world.write(
      "build.ninja",
      """
      rule gen
        command = sh ./gen.sh
        generator = 1
      rule cp
        command = cp $in $out
      build build.ninja: gen | list gen.sh
      build x: cp src

      """)
    world.write("src", "1")
    world.write(
      "gen.sh",
      "sed -i '/^build [^b]/d' build.ninja; for i in $(cat list); do "
        + "echo \"build $i: cp src\" >> build.ninja; done\n")
    // The manifest was made by hand and is newer than what it depends on.
    world.touch("build.ninja", secondsFromNow: 1)
    #expect(try world.build().ran == ["x"])
    world.write("list", "x y")
    world.touch("list", secondsFromNow: 10)
    let outcome = try world.build()
    #expect(outcome.ran == ["build.ninja", "y"])
    #expect(world.exists("y"))
    #expect(try world.build().ran.isEmpty)
  }
}
