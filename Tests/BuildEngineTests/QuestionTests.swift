// SPDX-License-Identifier: Apache-2.0

import BuildEngine
import Diagnostics
import Testing

@Suite("Asking a build")
struct QuestionTests {
  @Test("why tells the culprit first, then what follows")
  func why() throws {
    let world = World("build b: cp a.cfg\nbuild c: cp b\n", ["a.cfg": "x: 1\ny: 2\n"])
    try world.build()
    world.write("a.cfg", "x: 1\ny: 3\n")
    #expect(
      try world.why("c") == [
        "b is stale because content of a.cfg changed, line 2: 2 -> 3",
        "c is stale because b will be made anew",
      ])
  }

  @Test("why tells of a fresh target why it ran last")
  func whyFresh() throws {
    let world = World("build b: cp a\n", ["a": "1"])
    try world.build()
    #expect(try world.why("b") == ["b is up to date; it ran last because b is missing"])
  }

  @Test("status lists edges with their reasons and changes nothing")
  func status() throws {
    let world = World("build b: cp a\nbuild c: cp b\n", ["a": "1"])
    #expect(try world.stale() == ["b", "c"])
    #expect(!world.exists(".quench"))
    try world.build()
    #expect(try world.stale() == [])
  }

  @Test("clean removes what edges made and nothing else")
  func clean() throws {
    let world = World("build b: cp a\nbuild sub/c: cp b\nbuild d: cp a\n", ["a": "1", "d": "mine"])
    try world.build(["sub/c"])
    #expect(try Build(world.options { $0.dryRun = true }).clean().sorted() == ["b", "sub/c"])
    #expect(world.exists("b"))
    #expect(try Build(world.options()).clean(CleanScope(targets: ["b"])) == ["b"])
    #expect(try Build(world.options()).clean() == ["sub/c"])
    #expect(world.text("d") == "mine")
    #expect(try world.build(["sub/c"]).ran == ["b", "sub/c"])
  }

  @Test("the graph is told in Graphviz's language")
  func dot() throws {
    let world = World("build b: cp a || o\n", ["a": "1", "o": "1"])
    let text = try Build(world.options()).graphDot()
    #expect(text.contains("\"a\" -> e0;"))
    #expect(text.contains("\"o\" -> e0 [style=dotted];"))
    #expect(text.contains("e0 -> \"b\";"))
  }

  @Test("sources are the manifest's files and what no edge makes, discovered files too")
  func sources() throws {
    let world = World("", ["a": "1", "h": "1", "images/1": "x"])
    world.write(
      "build.ninja",
      """
      rule cc
        command = cat $in > $out; echo "$out: h" > $out.d
        depfile = $out.d
        deps = gcc
      build b: cc a | images
      build c: cc b

      """)
    try world.build()
    #expect(try Build(world.options()).sourceInputs == ["a", "build.ninja", "h", "images"])
  }

  @Test("the fields that are compared can be read")
  func fields() throws {
    let world = World("build b: cp a\n", ["a": "1"])
    try world.build()
    let fields = try Build(world.options()).fields(of: "b")
    #expect(fields.first == "command cat a > b")
    #expect(fields.contains("outputs b"))
    // SHA-256 of "1".
    #expect(
      fields.contains(
        "inputs a 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"))
    #expect(fields.contains { $0.hasPrefix("tools /") || $0.hasPrefix("tools cat") })
  }
}
