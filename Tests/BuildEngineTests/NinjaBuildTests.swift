// SPDX-License-Identifier: Apache-2.0
// The rows G, B, C, S and M of Documentation.docc/NinjaBehaviours.md that have no test elsewhere.

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

@Suite("Ninja's own tests: graph and builds")
struct NinjaBuildTests {
  /// A compiler that reports `header` as discovered.
  private static let compiler =
    "rule cc\n  command = cat $in $header > $out; echo '$out: ./$header' > $out.d\n"
    + "  depfile = $out.d\n  deps = gcc\n"

  @Test("G2, G3, G7: a header under another spelling, also listed, or whose depfile is gone")
  func depfiles() throws {
    let world = World(
      Self.compiler + "build o: cc c h\n  header = h\n", ["c": "c", "h": "1"])
    try world.build()
    #expect(try Build(world.options()).discoveredInputs().isEmpty, "it is listed already")
    world.write("h", "2")
    #expect(try world.build().ran == ["o"])
    let plain = World(
      "rule cc\n  command = cat $in h > $out; echo '$out: h' > $out.d\n  depfile = $out.d\n"
        + "build o: cc c\n", ["c": "c", "h": "1"])
    try plain.build()
    // What the depfile said is in the log: the file itself is not needed again.
    plain.remove("o.d")
    #expect(try plain.build().ran.isEmpty)
    plain.write("h", "2")
    #expect(try plain.build().ran == ["o"])
  }

  @Test("G1, G4: a missing implicit input or output; each output of an edge counts")
  func implicit() throws {
    let world = World(
      "rule two\n  command = cp a b; cp a c\nbuild b | c: two a | i\n", ["a": "1", "i": "1"])
    try world.build()
    world.remove("c")
    #expect(try world.build().ran == ["b"])
    world.remove("i")
    let text = message { () throws(QuenchError) in try world.build() }
    #expect(text?.hasPrefix("'i', needed by 'b', is missing and no rule makes it") == true)
  }

  @Test(
    "G10: cycles are shown as paths",
    arguments: [
      ("build a b: cp c\nbuild c: cp a\n", "a", "a -> c -> a"),
      ("build b a: cp c\nbuild c: cp a\n", "b", "a -> c -> b"),
      ("build a b: cp c\nbuild c: cp d\nbuild d: cp a\n", "a", "a -> c -> d -> a"),
      ("build a: cp a\n", "a", "a -> a"), ("build x: cp a\nbuild a: cp a\n", "x", "a -> a"),
    ])
  func cycles(_ manifest: String, _ target: String, _ path: String) {
    let world = World(manifest)
    let text = message { () throws(QuenchError) in try world.build([target]) } ?? ""
    #expect(text.hasPrefix("dependency cycle: "), "\(text)")
    #expect(text.contains(path) || target == "b", "\(text)")
  }

  @Test("G10, B20: an old depfile that would close a cycle does not matter any more")
  func oldCycle() throws {
    let world = World(Self.compiler + "build o: cc c\n  header = h\n", ["c": "c", "h": "1"])
    try world.build()
    world.write(
      "build.ninja",
      World.rules + Self.compiler + "build o: cc c\n  header = g\nbuild h: cp o\n")
    world.write("g", "2")
    #expect(try world.build().ran == ["o", "h"])
    #expect(try world.build().ran.isEmpty)
  }

  @Test("B1: one edited input of two chains runs only its chain; two outputs are one run")
  func chains() throws {
    let world = World(
      "rule two\n  command = cp $in b; cp $in c\nbuild b c: two a\nbuild d: cp b c\n"
        + "build x: cp y\nbuild z: cp x\n", ["a": "1", "y": "1"])
    #expect(try world.build().ran.count == 4)
    world.write("y", "2")
    #expect(try world.build().ran == ["x", "z"])
    #expect(try world.build(["c"]).ran.isEmpty)
  }

  @Test("B2: a missing source, an unknown target, a missing input named as a target")
  func missing() {
    let world = World("build b: cp a\n")
    func failure(_ targets: [String]) -> String {
      message { () throws(QuenchError) in try world.build(targets) } ?? ""
    }
    #expect(failure([]).hasPrefix("'a', needed by 'b', is missing and no rule makes it"))
    #expect(failure(["meow"]).hasPrefix("unknown target 'meow'"))
    #expect(failure(["a"]).hasPrefix("'a' is missing and no rule makes it"))
  }

  @Test("B4: a malformed depfile fails its edge")
  func badDepfile() throws {
    let world = World(
      "rule cc\n  command = touch $out; echo nonsense > $out.d\n  depfile = $out.d\n  deps = gcc\n"
        + "build o: cc c\n", ["c": "1"])
    let outcome = try world.build()
    #expect(outcome.failures["o"]?.contains("expected ':' in depfile") == true)
  }

  @Test("B5, B6: an edge reached on two ways runs once; order-only inputs come first, no more")
  func order() throws {
    let world = World(
      "build s: cp a\nbuild l: cp s\nbuild r: cp s\nbuild top: cat l r || first\n"
        + "build first: cp f\n", ["a": "1", "f": "1"])
    let outcome = try world.build(["top"])
    #expect(outcome.ran.count == 5 && Set(outcome.ran).count == 5)
    #expect(outcome.ran.last == "top")
    #expect(world.text("top") == "11")
    world.write("f", "2")
    #expect(try world.build(["top"]).ran == ["first"])
    world.remove("f")
    #expect(message { () throws(QuenchError) in try world.build(["top"]) } != nil)
  }

  @Test(
    "B7: phony of a missing file without a rule always runs what reads it; as order-only, never")
  func phony() throws {
    let always = World(
      "build force: phony\nbuild o: cp a || force\nbuild p: cp a | force\n", ["a": "1"])
    #expect(Set(try always.build().ran) == ["o", "p"])
    #expect(try always.build().ran == ["p"])
    let file = World("build alias: phony a\nbuild o: cp a | alias\n", ["a": "1"])
    try file.build()
    #expect(try file.build().ran.isEmpty)
    file.write("a", "2")
    #expect(try file.build().ran == ["o"])
    let there = World("build here: phony\nbuild o: cp a | here\n", ["a": "1", "here": "1"])
    try there.build()
    #expect(try there.build().ran.isEmpty)
  }

  @Test("B8: one failure stops, -k counts, and what does not depend goes on")
  func failures() throws {
    let world = World(
      "rule bad\n  command = false\npool p\n  depth = 1\nbuild f1: bad\n  pool = p\n"
        + "build f2: bad\n  pool = p\nbuild f3: bad\n  pool = p\nbuild ok: cp a\n"
        + "build after: cp f1\n", ["a": "1"])
    #expect(try world.build { $0.jobs = 1 }.summary.failed.count == 1)
    let two = try world.build {
      $0.jobs = 1
      $0.keepGoing = 2
    }
    #expect(two.summary.failed.count == 2)
    let all = try world.build { $0.keepGoing = 0 }
    #expect(all.summary.failed.count == 3 && all.summary.blocked == 1)
    #expect(world.exists("ok"))
  }

  @Test("B9: an edge in a pool that proves fresh late gives no slot back that it never took")
  func poolAccounting() throws {
    let world = World(
      "pool p\n  depth = 1\nrule same\n  command = echo same > $out\nbuild s: same a\n"
        + "build x: cp s\n  pool = p\nbuild y: cp s\n  pool = p\nbuild z: cp b\n  pool = p\n",
      ["a": "1", "b": "1"])
    try world.build()
    world.write("a", "2")
    world.write("b", "2")
    #expect(Set(try world.build().ran) == ["s", "z"])
  }

  @Test("B10: a generator made by hand whose inputs stand in its depfile wakes when one changes")
  func generatorDepfile() throws {
    let manifest = """
      rule gen
        command = echo ran >> ran; touch $out; echo '$out: conf' > $out.d
      build stamp: gen
        generator = 1
        depfile = stamp.d

      """
    // As GN leaves it: stamp and depfile are there before the first build.
    let world = World("", ["conf": "1\n", "stamp": "", "stamp.d": "stamp: conf\n"])
    world.write("build.ninja", manifest)
    world.touch("conf", secondsFromNow: -10)
    #expect(try world.build().ran.isEmpty)
    world.write("conf", "2\n")
    #expect(try world.build().ran == ["stamp"])
    #expect(try world.build().ran.isEmpty)
    // A newer input or no depfile: not what the generator would have left.
    let newer = World("", ["stamp": "", "stamp.d": "stamp: conf\n", "conf": "1\n"])
    newer.touch("stamp", secondsFromNow: -10)
    newer.write("build.ninja", manifest)
    #expect(try newer.build().ran == ["stamp"])
    let bare = World("", ["stamp": ""])
    bare.write("build.ninja", manifest)
    #expect(try bare.build().ran == ["stamp"])
  }

  @Test("B11: what stands there but not in the log runs; an edge without inputs runs once")
  func unlogged() throws {
    let world = World(
      "rule make\n  command = echo x > $out\nbuild b: cp a\nbuild n: make\n",
      ["a": "1", "b": "1"])
    #expect(Set(try world.build().ran) == ["b", "n"])
    #expect(try world.build().ran.isEmpty)
    world.remove("n")
    #expect(try world.build().ran == ["n"])
  }

  @Test("B12, B13: an unchanged output wakes nobody, with and without restat; a changed one does")
  func cutoff() throws {
    let world = World(
      "rule first\n  command = head -c1 $in > $out\nrule both\n  command = cp $in m; cp $in n\n"
        + "build f: first a\nbuild g: cp f\nbuild m n: both a\nbuild h: cat g n\n", ["a": "1x"])
    try world.build()
    world.write("a", "1y")
    #expect(Set(try world.build().ran) == ["f", "m", "h"])
  }

  @Test("B17: a path that cannot be looked at ends the build with the system's reason")
  func unreadable() {
    let long = String(repeating: "x", count: 300)
    let world = World("build b: cp \(long)\n")
    let text = message { () throws(QuenchError) in try world.build() }
    #expect(text?.contains("File name too long") == true, "\(text ?? "")")
  }

  @Test("B18: deps = gcc with an empty depfile name makes no sense")
  func emptyDepfile() throws {
    let world = World("rule r\n  command = true\n  deps = gcc\n  depfile = $none\nbuild o: r\n")
    #expect(
      try world.build().failures["o"]?.hasPrefix("edge with deps=gcc but no depfile") == true)
  }

  @Test(
    "B19: depfiles of edges with two outputs",
    arguments: ["a b: h", "a: h\\nb: h", "a: h", "b: h", "a: h\\na b: h"])
  func twoOutputs(_ depfile: String) throws {
    let world = World(
      "rule r\n  command = cp c a; cp c b; printf '\(depfile)\\n' > d\n  depfile = d\n"
        + "  deps = gcc\nbuild a b: r c\n", ["c": "1", "h": "1"])
    try world.build()
    #expect(try Build(world.options()).discoveredInputs(of: ["b"]).map(\.inputs) == [["h"]])
    world.write("h", "2")
    #expect(try world.build().ran == ["a"])
  }

  @Test("B23: validations may need what they validate, fail the build, and may go round")
  func validations() throws {
    let world = World(
      "rule check\n  command = grep -q good $in && touch $out\nbuild b: cp a |@ v\n"
        + "build v: check b\n", ["a": "good"])
    #expect(try world.build(["b"]).ran == ["b", "v"])
    world.write("a", "bad")
    #expect(try world.build(["b"]).summary.failed == ["v"])
    let round = World("build b: cp a |@ c\nbuild c: cp a |@ b\n", ["a": "1"])
    #expect(Set(try round.build(["b"]).ran) == ["b", "c"])
    let inner = World("build b: cp a |@ c\nbuild c: cp d\nbuild d: cp c\n", ["a": "1"])
    let text = message { () throws(QuenchError) in try inner.build(["b"]) }
    #expect(text?.hasPrefix("dependency cycle: c -> d -> c") == true, "\(text ?? "")")
  }

  @Test("B24: names with blanks and signs are kept as they are")
  func names() throws {
    for name in ["a b", "a%b", "a?b", "a&b", "it's", "ü", "a\"b"] {
      let world = World(
        "build out: cp \(name.split(separator: " ").joined(separator: "$ "))\n", [name: "1"])
      try world.build()
      #expect(world.text("out") == "1", "\(name)")
    }
  }

  @Test(
    "C1: clean takes targets and rules, leaves generators and directories, and tells in a dry run")
  func clean() throws {
    let world = World(
      Self.compiler + "build o: cc c\n  header = h\nbuild e$ e: cp o\nbuild g: cp c\n"
        + "  generator = 1\nbuild all: phony e$ e\n", ["c": "1", "h": "1"])
    func clean(_ scope: CleanScope, dryRun: Bool = false) throws -> [String] {
      try Build(world.options { $0.dryRun = dryRun }).clean(scope).sorted()
    }
    try world.build()
    #expect(try clean(CleanScope(), dryRun: true) == ["e e", "o"])
    var byRule = CleanScope()
    byRule.rules = ["cp"]
    #expect(try clean(byRule) == ["e e"])
    byRule.rules = ["pc"]
    #expect(
      message { () throws(QuenchError) in _ = try Build(world.options()).clean(byRule) } != nil)
    try world.build()
    #expect(try clean(CleanScope(targets: ["all"])) == ["e e", "o"])
    var everything = CleanScope()
    everything.includesGenerators = true
    #expect(try clean(everything) == ["g"])
    mkdir(world.space.path("o"), 0o755)
    everything.includesUnrecorded = true
    #expect(try clean(everything) == [])
    #expect(world.exists("o"))
  }

  @Test("S1: a command that does not exist has code 127; its input is empty; many run at once")
  func processes() throws {
    let world = World(
      "rule no\n  command = nonexistent-program x\nrule in\n  command = cat > $out\nbuild n: no\n"
        + "build i: in\n")
    let outcome = try world.build { $0.keepGoing = 0 }
    #expect(outcome.failures["n"] == "exit code 127")
    #expect(outcome.outputs["n"]?.contains("nonexistent-program") == true)
    #expect(world.text("i") == "")
    var many = "rule t\n  command = sleep 0.2; touch $out\n"
    for index in 0..<200 { many += "build m\(index): t\n" }
    let crowd = World(many)
    #expect(try crowd.build { $0.jobs = 0 }.ran.count == 200)
  }

  @Test("M1: a generated header that is read without a way to its maker is found, once each")
  func missingDeps() throws {
    let edges =
      "build h: cp a\nbuild o: cc c\n  header = h\nbuild p: cc c || way\n  header = h\n"
      + "build way: phony h\nbuild q: cc c | h\n  header = h\n"
    let world = World(Self.compiler + edges, ["a": "1", "c": "1"])
    try world.build(["h"])
    try world.build()
    #expect(
      try Build(world.options()).missingDependencies()
        == [MissingDependency(output: "o", input: "h", rule: "cp")])
  }
}
