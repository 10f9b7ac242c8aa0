// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Testing

@testable import BuildEngine

@Suite("The manifest language")
struct ManifestTests {
  /// The command of the edge that makes `output`.
  private func command(_ manifest: String, of output: String) throws -> String {
    let world = World()
    world.write("build.ninja", manifest)
    let build = try Build(world.options())
    return try build.info(build.graph.producer(try build.node(output))).command
  }

  private func failure(_ manifest: String, files: [String: String] = [:]) -> String? {
    let world = World("", files)
    world.write("build.ninja", manifest)
    return message { () throws(QuenchError) in _ = try Build(world.options()) }
  }

  @Test("an empty manifest has no edges and builds nothing")
  func empty() throws {
    let world = World()
    world.write("build.ninja", "")
    #expect(try world.build().summary.isNothingToDo)
  }

  @Test("a rule's variables are read late: a file variable set below still counts")
  func lateBinding() throws {
    let text = """
      flags = one
      rule r
        command = tool $flags $in -o $out
      build a: r b
      flags = two

      """
    #expect(try command(text, of: "a") == "tool two b -o a")
  }

  @Test("variables of a statement are read at once and win over the file's")
  func ownVariables() throws {
    let text = """
      x = file
      rule r
        command = tool $x $y
      build a: r
        y = [$x]
        x = own
      x = later

      """
    #expect(try command(text, of: "a") == "tool own [file]")
  }

  @Test("a rule's value wins over a file variable of the same name")
  func ruleBeforeFile() throws {
    let text = """
      description = file
      rule r
        command = tool $description
        description = rule
      build a: r

      """
    #expect(try command(text, of: "a") == "tool rule")
  }

  @Test(
    "escapes",
    arguments: [
      ("$$", "$"), ("a$ b", "a b"), ("a$:b", "a:b"), ("a$\n     b", "ab"), ("${x}y", "1y"),
      ("$x.y", "1.y"), ("# no comment", "# no comment"), ("a\\ b", "a\\ b"), ("$$$\n  z", "$z"),
    ])
  func escapes(_ written: String, _ meant: String) throws {
    let text = "x = 1\nrule r\n  command = t \(written)\nbuild a: r\n"
    #expect(try command(text, of: "a") == "t " + meant)
  }

  @Test("$in and $out are quoted for the shell, $in_newline joins by lines, implicit ones are out")
  func inputsAndOutputs() throws {
    let text = """
      rule r
        command = t $in $in_newline $out
      build o$ 1 | o2: r i$ 1 it's | i2 || i3

      """
    #expect(
      try command(text, of: "o 1") == "t 'i 1' 'it'\\''s' 'i 1'\n'it'\\''s' 'o 1'")
  }

  @Test("spellings of one path are one node")
  func canonical() throws {
    let text = "rule r\n  command = t $in\nbuild a: r ./x//y/../z\nbuild x/z: r\n"
    #expect(try command(text, of: "./a") == "t x/z")
  }

  @Test("include shares the scope, subninja has its own")
  func scopes() throws {
    let world = World()
    world.write(
      "build.ninja",
      """
      x = outer
      rule r
        command = t $x
      include inc.ninja
      subninja sub.ninja
      build c: r

      """)
    world.write("inc.ninja", "x = included\nbuild a: r\n")
    world.write("sub.ninja", "x = inner\nrule r\n  command = sub $x\nbuild b: r\n")
    let build = try Build(world.options())
    func text(_ output: String) throws -> String {
      try build.info(build.graph.producer(try build.node(output))).command
    }
    #expect(try text("a") == "t included")
    #expect(try text("b") == "sub inner")
    #expect(try text("c") == "t included")
  }

  @Test("keywords may be names, comments may be indented, lines may end in CR LF")
  func oddities() throws {
    let text = "rule build\r\n  # comment\r\n  command = t $in\r\nbuild rule: build default\r\n"
    #expect(try command(text, of: "rule") == "t default")
  }

  @Test(
    "errors name the fault",
    arguments: [
      ("foo\n", "expected '=', got newline"),
      ("x 3\n", "expected '=', got identifier"),
      ("x = 3", "unexpected end of file; the last line needs a newline"),
      ("x = $[\n", "bad $-escape (literal $ must be written as $$)"),
      ("build\n", "expected path"),
      ("build x: y z\n", "unknown build rule 'y'"),
      ("rule cat\n", "expected 'command =' line"),
      ("rule cat\n  command = a\nrule cat\n  command = b\n", "duplicate rule 'cat'"),
      (
        "rule cat\n  command = a\n  rspfile = x\n",
        "rspfile and rspfile_content need to be both specified"
      ),
      (
        "rule cat\n  comand = a\n", "unexpected variable 'comand'; did you mean \"command\"?"
      ),
      (
        "rule cat\n  command = a\n  keep_edits = 1\n",
        "unexpected variable 'keep_edits'; it belongs on build statements"
      ),
      (
        "rule cat\n  command = a\nbuild x: catt\n",
        "unknown build rule 'catt'; did you mean \"cat\"?"
      ),
      ("rule cat\n  command = a\nbuild x x: cat\n", "x is defined as an output multiple times"),
      ("rule cat\n  command = a\nbuild x: cat\nbuild x: cat\n", "multiple rules generate x"),
      ("rule cat\n  command = a\nbuild $e: cat\n", "empty path"),
      ("default nonexistent\n", "unknown target 'nonexistent'"),
      ("pool p\n", "expected 'depth =' line"),
      ("pool p\n  depth = -1\n", "invalid pool depth"),
      ("rule r\n  command = a\nbuild x: r\n  pool = p\n", "unknown pool name 'p'"),
      ("\tx = 1\n", "tabs are not allowed, use spaces"),
      ("ninja_required_version = 9.1\n", "the manifest asks for Ninja 9.1"),
      ("rule r\n  command = a\nbuild x: r\n  deps = msvc\n", "deps = msvc is not supported"),
      ("rule r\n  command = a\nbuild x: r\n  dyndep = d\n", "dyndep 'd' is not an input"),
      ("rule r\n  command = a\nbuild x: r\n  memory = lots\n", "invalid memory 'lots'"),
      (
        "x = a$^b\n",
        "bad $-escape (literal $ must be written as $$); $^ needs ninja_required_version = 1.14"
      ),
      ("x = a\0b\n", "a NUL byte cannot be part of a manifest"),
      ("rule cat\n  command = a\nbuild x\0: cat\n", "a NUL byte cannot be part of a manifest"),
      ("rule cat\n  command = a\n\0build x: cat\n", "a NUL byte cannot be part of a manifest"),
      ("rule cat\n  command = a\n# \0\nbuild x: cat\n", "a NUL byte cannot be part of a manifest"),
      ("rule r\n  command = a\n  deps = gcc\nbuild x: r\n", "edge with deps=gcc but no depfile"),
      ("include no.ninja\n", "loading \"no.ninja\": cannot open"),
      ("# no end", "a comment must end with a newline"),
    ])
  func errors(_ manifest: String, _ expected: String) throws {
    let text = try #require(failure(manifest))
    #expect(text.hasPrefix(expected), "\(text)")
  }

  @Test("$^ is a newline where the manifest asks for 1.14")
  func newlineEscape() throws {
    let text = "ninja_required_version = 1.14\nrule r\n  command = a$^b $$^\nbuild x: r\n"
    #expect(try command(text, of: "x") == "a\nb $^")
  }

  @Test("an error shows file, line, column and a caret")
  func caret() {
    let text = failure("rule cat\n  command = a\nbuild x: cat\nbuild y: dat\n")
    #expect(
      text == """
        unknown build rule 'dat'; did you mean "cat"?
           at  build.ninja:4:10
          4 | build y: dat
            |          ^
        """)
  }

  @Test("a cycle is shown as a path")
  func cycle() {
    let world = World("build a: cp b\nbuild b: cp c\nbuild c: cp a\nbuild all: phony a\n")
    let text = message { () throws(QuenchError) in try world.build(["all"]) }
    #expect(text?.hasPrefix("dependency cycle: a -> b -> c -> a") == true, "\(text ?? "")")
  }

  @Test("a missing input is named with who needs it and its nearest name")
  func missingInput() {
    let world = World("build b: cp soruce.txt\n", ["source.txt": "1"])
    let text = message { () throws(QuenchError) in try world.build() }
    let expected =
      "'soruce.txt', needed by 'b', is missing and no rule makes it; did you mean \"source.txt\"?"
    #expect(text?.hasPrefix(expected) == true, "\(text ?? "")")
  }

  @Test("an unknown target is answered with the nearest one")
  func unknownTarget() {
    let world = World("build output: cp a\n", ["a": "1"])
    let text = message { () throws(QuenchError) in try world.build(["outptu"]) }
    #expect(text == "unknown target 'outptu'; did you mean \"output\"?")
  }

  @Test("a missing manifest is named")
  func missingManifest() {
    let world = World()
    let text = message { () throws(QuenchError) in _ = try Build(world.options()) }
    #expect(
      text == "loading \"build.ninja\": cannot open \"build.ninja\": No such file or directory")
  }

  @Test("a rule variable that refers to itself is refused")
  func variableCycle() {
    let text = "rule r\n  command = $description\n  description = $command\nbuild a: r\n"
    let world = World()
    world.write("build.ninja", text)
    let found = message { () throws(QuenchError) in try world.build() }
    #expect(found?.hasPrefix("cycle in rule variables") == true)
  }

  @Test(
    "paths are folded",
    arguments: [
      ("a/b", "a/b"), ("./a", "a"), ("a/../b", "b"), ("../a", "../a"), ("a/../../b", "../b"),
      ("a//b/", "a/b"), ("/a/../../b", "/../b"), (".", "."), ("a/..", "."),
      ("foo/.._bar", "foo/.._bar"),
      ("/", "/"), ("a/.b/..c", "a/.b/..c"), ("", ""), ("./.", "."), ("a/./b", "a/b"), ("a/.", "a"),
      ("./x/a/../b.h", "x/b.h"), ("./x/../a/../../b.h", "../b.h"), ("a//.//..///b", "b"),
      ("a/.hidden", "a/.hidden"), ("/a", "/a"), ("..", ".."), ("../", ".."), ("../a/", "../a"),
      ("../..", "../.."), ("../../", "../.."), ("./..", ".."), ("./../", ".."), ("/..", "/.."),
      ("/a/..", "/"), ("/a/../..", "/.."), ("/./a", "/a"), ("a/b/c/../../../d", "d"),
      ("../../a/../b", "../../b"), ("a/...", "a/..."), (".../a", ".../a"),
      (String(repeating: "a/", count: 300) + String(repeating: "../", count: 300) + "b", "b"),
      (String(repeating: "a/", count: 300) + "b", String(repeating: "a/", count: 300) + "b"),
    ])
  func folding(_ path: String, _ folded: String) {
    #expect(CanonicalPath.fold(path) == folded)
  }

  @Test("file^ is what is made from a file")
  func caretTarget() throws {
    let world = World("build b: cp a\nbuild c: cp b\n", ["a": "1"])
    #expect(try world.build(["a^"]).ran == ["b"])
  }
}

@Suite("Depfiles")
struct DepFileTests {
  private func read(_ text: String) throws -> (targets: [String], inputs: [String]) {
    let file = try DepFile(Array(text.utf8), path: "d")
    return (
      file.targets.map { String(decoding: $0, as: UTF8.self) },
      file.inputs.map { String(decoding: $0, as: UTF8.self) }
    )
  }

  @Test(
    "what compilers write",
    arguments: [
      ("a: b c\n", ["b", "c"]), ("a: b \\\n c\n", ["b", "c"]), ("a: b\\ c d\n", ["b c", "d"]),
      ("a: b\\#c $$d\n", ["b#c", "$d"]), ("a: c:\\\\x\\y.h\n", ["c:\\\\x\\y.h"]),
      ("a: ./x/../b b\n", ["b"]), ("a: b c\nb:\nc:\n", ["b", "c"]), ("", []),
      ("a: b\na: c\n", ["b", "c"]), ("a:\n", []), ("a: b\r\n", ["b"]),
      ("a: b \\\r\n  c\r\n", ["b", "c"]),
    ])
  func forms(_ text: String, _ inputs: [String]) throws {
    #expect(try read(text).inputs == inputs)
  }

  @Test("text without a colon is refused, and so are inputs of inputs")
  func refused() {
    #expect(throws: QuenchError.self) { try read("a b\n") }
    #expect(throws: QuenchError.self) { try read("a: b\nb: c\n") }
  }

  @Test("several targets are kept in order")
  func targets() throws {
    #expect(try read("a b : c\n").targets == ["a", "b"])
  }
}
