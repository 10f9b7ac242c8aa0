// SPDX-License-Identifier: Apache-2.0

import BuildEngine
import Diagnostics
import Testing

/// The rows G12, B22 and P34 of the list of what Ninja's own tests cover.
@Suite("Dynamic dependencies")
struct DyndepTests {
  private static let version = "ninja_dyndep_version = 1\n"

  private static let refused: [(String, String)] = [
    ("", "expected 'ninja_dyndep_version = ...'"),
    ("build out: dyndep\n", "expected 'ninja_dyndep_version = ...'"),
    ("ninja_dyndep_version = 2\n", "unsupported 'ninja_dyndep_version = 2'"),
    (version, "'out' not mentioned in its dyndep file 'dd'"),
    (version + "build out: dyndep\nbuild out: dyndep\n", "multiple statements for 'out'"),
    (version + "build none: dyndep\n", "no build statement exists for 'none'"),
    (version + "build out b: dyndep\n", "explicit outputs not supported"),
    (version + "build out: cp\n", "expected build command name 'dyndep'"),
    (version + "build out: dyndep x\n", "explicit inputs not supported"),
    (version + "build out: dyndep || x\n", "order-only inputs not supported"),
    (version + "build out: dyndep\n  x = 1\n", "binding is not 'restat'"),
    (version + "rule x\n", "unexpected 'rule'"),
    (version + "build out | b: dyndep", "unexpected end of file"),
  ]

  private func failure(
    _ dyndep: String, _ manifest: String = "build out: cp in || dd\n  dyndep = dd\n"
  )
    -> String?
  {
    let world = World(manifest, ["in": "1", "dd": dyndep])
    return message { () throws(QuenchError) in try world.build() }
  }

  @Test("a dyndep file that stands adds implicit inputs and outputs")
  func standing() throws {
    let world = World(
      "rule two\n  command = cat in more > out; echo x > extra\n"
        + "build out: two in || dd\n  dyndep = dd\nbuild more: cp src\n",
      ["in": "1", "src": "2", "dd": Self.version + "build out | extra: dyndep | more\n"])
    #expect(try world.build().ran == ["more", "out"])
    #expect(world.text("out") == "12")
    #expect(try world.build().ran.isEmpty)
    world.write("src", "3")
    #expect(try world.build().ran == ["more", "out"])
    world.remove("extra")
    #expect(try world.build().ran == ["out"])
  }

  @Test("a dyndep file that is built is read before what it speaks of is planned")
  func built() throws {
    let world = World(
      "rule use\n  command = cat in made > out\n"
        + "build dd: cp dd-in\nbuild out: use in || dd\n  dyndep = dd\nbuild made: cp src\n"
        + "default out\n",
      ["in": "1", "src": "2", "dd-in": Self.version + "build out: dyndep | made\n"])
    #expect(try world.build().ran == ["dd", "made", "out"])
    #expect(world.text("out") == "12")
    let again = try world.build()
    #expect(again.ran.isEmpty)
    #expect(again.summary.fresh == 3)
    world.write("src", "4")
    #expect(try world.build().ran == ["made", "out"])
  }

  @Test("a newly named input rebuilds the edge, and an input that is gone does too")
  func changed() throws {
    let world = World(
      "build dd: cp dd-in\nbuild out: cp in || dd\n  dyndep = dd\n",
      ["in": "1", "a": "a", "dd-in": Self.version + "build out: dyndep\n"])
    try world.build()
    world.write("dd-in", Self.version + "build out: dyndep | a\n")
    #expect(try world.build().ran == ["dd", "out"])
    world.write("a", "b")
    #expect(try world.build().ran == ["out"])
    world.write("dd-in", Self.version + "build out: dyndep\n")
    #expect(try world.build().ran == ["dd", "out"])
  }

  @Test("an output that a dyndep file no longer names is removed")
  func deadOutput() throws {
    let world = World(
      "rule two\n  command = touch out extra\nbuild out: two in || dd\n  dyndep = dd\n",
      ["in": "1", "dd": Self.version + "build out | extra: dyndep\n"])
    try world.build()
    #expect(try world.build().summary.removed.isEmpty)
    world.write("dd", Self.version + "build out: dyndep\n")
    #expect(try world.build().summary.removed == ["extra"])
  }

  @Test("levels: a dyndep file whose own edge has one")
  func levels() throws {
    let world = World(
      "build dd0: cp dd0-in\nbuild dd1: cp dd1-in || dd0\n  dyndep = dd0\n"
        + "build out: cp in || dd1\n  dyndep = dd1\nbuild x: cp src\nbuild y: cp src\n"
        + "default out\n",
      [
        "in": "1", "src": "s", "dd0-in": Self.version + "build dd1: dyndep | x\n",
        "dd1-in": Self.version + "build out: dyndep | y\n",
      ])
    #expect(try world.build().ran == ["dd0", "x", "dd1", "y", "out"])
    #expect(try world.build().ran.isEmpty)
  }

  @Test("several edges may share a file")
  func shared() throws {
    let world = World(
      "build dd: cp dd-in\nbuild a: cp in || dd\n  dyndep = dd\nbuild b: cp in || dd\n"
        + "  dyndep = dd\nbuild x: cp in\n",
      ["in": "1", "dd-in": Self.version + "build a: dyndep | x\nbuild b: dyndep | x\n"])
    #expect(Set(try world.build(["a", "b"]).ran) == ["dd", "x", "a", "b"])
  }

  @Test("a dyndep file that cannot be made blocks only its edges")
  func failing() throws {
    let world = World(
      "rule bad\n  command = false\nbuild dd: bad in\nbuild out: cp in || dd\n  dyndep = dd\n"
        + "build other: cp in\n", ["in": "1"])
    let outcome = try world.build { $0.keepGoing = 0 }
    #expect(outcome.summary.failed == ["dd"])
    #expect(outcome.summary.blocked == 1)
    #expect(world.exists("other"))
    #expect(outcome.ran.filter { $0 == "dd" }.count == 1)
  }

  @Test("a dry run names the edge whose dyndep file would be made")
  func dryRun() throws {
    let world = World(
      "build dd: cp dd-in\nbuild out: cp in || dd\n  dyndep = dd\n",
      ["in": "1", "dd-in": Self.version + "build out: dyndep\n"])
    #expect(try world.build { $0.dryRun = true }.ran == ["dd", "out"])
  }

  @Test("cycles through what is read are refused, as a path")
  func cycle() {
    let text = failure(
      Self.version + "build out: dyndep | after\n",
      "build out: cp in || dd\n  dyndep = dd\nbuild after: cp out\n")
    #expect(text?.hasPrefix("dependency cycle: ") == true, "\(text ?? "")")
  }

  @Test("a dyndep file must be an input")
  func notAnInput() {
    let text = failure("", "build out: cp in\n  dyndep = dd\n")
    #expect(text?.hasPrefix("dyndep 'dd' is not an input") == true, "\(text ?? "")")
  }

  @Test("a missing dyndep file without a rule is a missing input")
  func missing() {
    let world = World("build out: cp in || dd\n  dyndep = dd\n", ["in": "1"])
    let text = message { () throws(QuenchError) in try world.build() }
    #expect(text?.hasPrefix("'dd', needed by 'out', is missing") == true, "\(text ?? "")")
  }

  @Test("what a dyndep file may not say", arguments: refused)
  func malformed(_ text: String, _ expected: String) {
    let found = failure(text)
    #expect(found?.hasPrefix(expected) == true, "\(found ?? "no error")")
  }

  @Test(
    "versions that are spoken",
    arguments: ["1", "1.0", "1.0-extra"])
  func versions(_ text: String) throws {
    #expect(failure("ninja_dyndep_version = \(text)\nbuild out: dyndep\n  restat = 1\n") == nil)
  }

  @Test("an edge without a dyndep binding, or an output with an owner, is refused")
  func owners() {
    let manifest = "build out: cp in || dd\n  dyndep = dd\nbuild other: cp in\n"
    let stranger = failure(Self.version + "build out: dyndep\nbuild other: dyndep\n", manifest)
    #expect(stranger?.hasPrefix("dyndep file 'dd' mentions output 'other'") == true)
    let owned = failure(Self.version + "build out | other: dyndep\n", manifest)
    #expect(owned?.hasPrefix("multiple rules generate other") == true, "\(owned ?? "")")
  }

  @Test("an input that is learnt brings its own inputs and validations along")
  func transitive() throws {
    let world = World(
      "build dd: cp dd-in\nbuild out: cp in || dd\n  dyndep = dd\nbuild base: cp src\n"
        + "build made: cp base |@ check\nbuild check: cp made\ndefault out\n",
      ["in": "1", "src": "2", "dd-in": Self.version + "build out: dyndep | made\n"])
    let ran = try world.build().ran
    #expect(Set(ran) == ["dd", "base", "made", "out", "check"] && ran.count == 5)
    #expect(try world.build().ran.isEmpty)
    world.write("src", "3")
    #expect(Set(try world.build().ran) == ["base", "made", "out", "check"])
  }

  @Test("an output that is learnt connects its edge with those that are learnt to read it")
  func connection() throws {
    let world = World(
      "rule two\n  command = cat in > out; sleep 0.1; cat in > extra\nbuild dd: cp dd-in\n"
        + "rule use\n  command = cat extra > $out\nbuild user: use in || dd\n  dyndep = dd\n"
        + "build out: two in || dd\n  dyndep = dd\n"
        + "rule cc\n  command = cat $in extra > $out; echo '$out: extra' > $out.d\n"
        + "  depfile = $out.d\nbuild found: cc in || out\n",
      [
        "in": "1",
        "dd-in": Self.version + "build user: dyndep | extra\nbuild out | extra: dyndep\n",
      ])
    #expect(try world.build { $0.jobs = 4 }.summary.exitCode == 0)
    #expect(world.text("user") == "1" && world.text("found") == "11")
    #expect(try world.build().ran.isEmpty)
    world.write("in", "2")
    #expect(Set(try world.build { $0.jobs = 4 }.ran) == ["out", "user", "found"])
    #expect(world.text("user") == "2" && world.text("found") == "22")
  }

  @Test("what is learnt late and wanted anyway runs once; a restat there prunes as everywhere")
  func wantedAnyway() throws {
    let world = World(
      "rule first\n  command = head -c1 $in > $out\nbuild dd: cp dd-in\nbuild x: first src\n"
        + "build out: cp in || dd\n  dyndep = dd\nbuild last: cp out\n",
      ["in": "1", "src": "1a", "dd-in": Self.version + "build out: dyndep | x\n  restat = 1\n"])
    let ran = try world.build(["x", "last"]) { $0.jobs = 4 }.ran
    #expect(Set(ran) == ["x", "dd", "out", "last"] && ran.count == 4)
    world.write("src", "1b")
    #expect(try world.build(["x", "last"]).ran == ["x"])
  }

  @Test("two files at once, each for its edge, both inputs of a third")
  func twoFiles() throws {
    let world = World(
      "build d1: cp d1-in\nbuild d2: cp d2-in\nbuild a: cp in || d1 d2\n  dyndep = d1\n"
        + "build b: cp in || d2 d1\n  dyndep = d2\nbuild c: cat a b\nbuild x: cp in\n"
        + "build y: cp in\ndefault c\n",
      [
        "in": "1", "d1-in": Self.version + "build a: dyndep | x\n",
        "d2-in": Self.version + "build b: dyndep | y a\n",
      ])
    let ran = try world.build { $0.jobs = 4 }.ran
    #expect(Set(ran) == ["d1", "d2", "x", "y", "a", "b", "c"] && ran.count == 7)
    #expect(ran.last == "c")
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a file made during the build is refused like one that stood")
  func builtFaults() {
    func failure(_ text: String, _ more: String = "") -> String? {
      let world = World(
        "build dd: cp dd-in\nbuild out: cp in || dd\n  dyndep = dd\nbuild other: cp in || dd\n"
          + "  dyndep = dd\nbuild after: cp out\n" + more, ["in": "1", "dd-in": text])
      return message { () throws(QuenchError) in try world.build() }
    }
    let circle = failure(Self.version + "build out: dyndep | after\nbuild other: dyndep\n")
    #expect(circle?.hasPrefix("dependency cycle: ") == true, "\(circle ?? "")")
    let claimed = failure(Self.version + "build out | new: dyndep\nbuild other | new: dyndep\n")
    #expect(claimed?.hasPrefix("multiple rules generate new") == true, "\(claimed ?? "")")
    let broken = failure(Self.version + "nonsense\n")
    #expect(broken?.contains("dd:2") == true, "\(broken ?? "")")
  }
}
