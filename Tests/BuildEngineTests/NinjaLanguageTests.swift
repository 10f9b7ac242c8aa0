// SPDX-License-Identifier: Apache-2.0
// The rows P and L of Documentation.docc/NinjaBehaviours.md.

import Diagnostics
import Testing

@testable import BuildEngine

@Suite("Ninja's own tests: the language")
struct NinjaLanguageTests {
  struct Case: CustomTestStringConvertible {
    var row: String
    var manifest: String
    var target: String
    var command: String
    var testDescription: String { "\(row): \(command)" }
    init(_ row: String, _ manifest: String, _ target: String, _ command: String) {
      (self.row, self.manifest, self.target, self.command) = (row, manifest, target, command)
    }
  }

  private static let cat = "rule cat\n  command = cat $in > $out\n"

  static let commands: [Case] = [
    Case("P2", cat + "build result: cat in_1.cc in-2.O\n", "result", "cat in_1.cc in-2.O > result"),
    Case(
      "P3",
      "rule r\n  command = c\n  depfile = d\n  dyndep =\n  description = x\n  deps =\n"
        + "  generator =\n  pool =\n  restat = 1\n  rspfile = f\n  rspfile_content = x\n"
        + "  msvc_deps_prefix = p\nbuild o: r\n", "o", "c"),
    Case(
      "P4",
      "  # indented comment\nrule r\n  command = c\n  # in the block\n  restat = 1 # comment\n"
        + "build o: r\n", "o", "c"),
    Case("P5", "rule r\n  command = c $v\n  \nv = 1\nbuild o: r\n", "o", "c 1"),
    Case(
      "P7",
      "rule r\n  command = c $rspfile\n  rspfile = $rspfile\n  rspfile_content = $in\n"
        + "build o: r\n  rspfile = o.rsp\n", "o", "c o.rsp"),
    Case("P8", "rule r\n  command = $in_newline\nbuild o: r in in2\n", "o", "in\nin2"),
    Case(
      "P9",
      "extra =\nrule r\n  command = t $extra $nested2\nnested1 = 1\nnested2 = $nested1/2\n"
        + "build o: r\n  extra = $nested2/3\nbuild p: r\n", "o", "t 1/2/3 1/2"),
    Case("P10", "foo = bar\nrule r\n  command = t $foo\nbuild a: r\n  foo = baz\n", "a", "t baz"),
    Case(
      "P10", "foo = bar\nrule r\n  command = t $foo\nbuild a: r\n  foo = baz\nbuild b: r\n", "b",
      "t bar"),
    Case(
      "P11",
      "rule r\n  command = foo bar $\n    baz $in\nbuild o: r a $\n    b $\n  c\n", "o",
      "foo bar baz a b c"),
    Case(
      "P12", "foo = bar\\baz\nfoo2 = bar\\ baz\nrule r\n  command = $foo $foo2\nbuild o: r\n",
      "o", "bar\\baz bar\\ baz"),
    Case(
      "P13", "# comment\nfoo = not # a comment\nrule r\n  command = $foo\nbuild o: r\n", "o",
      "not # a comment"),
    Case(
      "P14", "rule r\n  command = ${out}bar$$baz$$$\nblah\nx = $$\nbuild o: r\n", "o",
      "obar$baz$blah"),
    Case(
      "P15", cat + "build foo$ bar: cat $$one two$$$\n three\n", "foo bar",
      "cat '$one' 'two$three' > 'foo bar'"),
    Case(
      "P16", "dollar = $$\n" + cat + "build ${dollar}x: cat ${dollar}dollar\n", "$x",
      "cat '$dollar' > '$x'"),
    Case(
      "P17", cat + "build out: cat in/1 in//2\nbuild in/1: cat\nbuild in/2: cat\n", "out",
      "cat in/1 in/2 > out"),
    Case("P18", "dir = out\n" + cat + "build $dir/exe: cat src\n", "out/exe", "cat src > out/exe"),
    Case(
      "P19", cat + "build ./out.o: cat ./bar/baz/../foo.cc\n", "out.o",
      "cat bar/foo.cc > out.o"),
    Case(
      "P23",
      "rule build\n  command = c\nbuild build: build\nbuild rule: build build\n"
        + "default rule\n", "build", "c"),
    Case("P26", cat + "build a.o b.o: cat c.cc\n", "b.o", "cat c.cc > a.o b.o"),
    Case(
      "P33", "rule utf8\n  command = true\n  description = compilaci\u{F3}\nbuild o: utf8\n",
      "o", "true"),
    Case("P33", "# comment with crlf\r\nrule r\r\n  command = c\r\nbuild o: r\r\n", "o", "c"),
    Case("L1", "a = 1\na.b = 2\nrule r\n  command = $a.b ${a.b}\nbuild o: r\n", "o", "1.b 2"),
  ]

  @Test("commands", arguments: commands)
  func command(_ test: Case) throws {
    let world = World()
    world.write("build.ninja", test.manifest)
    let build = try Build(world.options())
    #expect(try build.edges(of: [test.target], onlyTheirs: true)[0].command == test.command)
  }

  /// Row P24, with the place that the caret points at.
  static let errors: [(manifest: String, message: String, place: String)] = [
    ("subn", "expected '=', got end of file", "1:5"), ("foobar", "expected '=', got end", "1:7"),
    ("x 3", "expected '=', got identifier", "1:3"),
    ("x = 3", "unexpected end of file", "1:6"),
    ("x = 3\ny 2", "expected '=', got identifier", "2:3"),
    ("x = $", "bad $-escape", "1:5"), ("x = $\n $[\n", "bad $-escape", "2:2"),
    ("x = a$\n b$\n $\n", "unexpected end of file", "4:1"),
    ("build\n", "expected path", "1:6"), ("build x: y z\n", "unknown build rule 'y'", "1:10"),
    ("build x:: y z\n", "expected build command name", "1:9"),
    ("rule cat\n  command = cat ok\nbuild x: cat $\n :\n", "expected newline, got ':'", "4:2"),
    ("rule cat\n", "expected 'command =' line", "1:9"),
    (
      "rule cat\n  command = echo\nrule cat\n  command = echo\n", "duplicate rule 'cat'", "3:6"
    ),
    (
      "rule cat\n  command = echo\n  rspfile = cat.rsp\n",
      "rspfile and rspfile_content need to be both specified", "3:11"
    ),
    ("rule cat\n  command = ${fafsd\nfoo = bar\n", "bad $-escape", "2:13"),
    ("rule cat\n  command = cat\nbuild $.: cat foo\n", "bad $-escape", "3:7"),
    ("rule cat\n  command = cat\nbuild $: cat foo\n", "expected ':', got newline", "3:17"),
    ("rule %foo\n", "expected rule name", "1:6"),
    ("rule cc\n  command = foo\n  othervar = bar\n", "unexpected variable 'othervar'", "3:3"),
    ("rule cc\n  command = foo\nbuild $.: cc bar.cc\n", "bad $-escape", "3:7"),
    ("rule cc\n  command = foo\n  && bar", "expected variable name", "3:3"),
    ("default\n", "expected target name", "1:8"),
    ("default nonexistent\n", "unknown target 'nonexistent'", "1:9"),
    ("rule r\n  command = r\nbuild b: r\ndefault b:\n", "expected newline, got ':'", "4:10"),
    ("default $a\n", "empty path", "1:9"),
    ("rule r\n  command = r\nbuild $a: r $c\n", "empty path", "3:7"),
    ("rule r\n  command = r\n  \n  generator = 1\n", "unexpected indent", "4:1"),
    ("pool\n", "expected pool name", "1:5"), ("pool foo\n", "expected 'depth =' line", "1:9"),
    ("pool foo\n  depth = 4\npool foo\n", "duplicate pool 'foo'", "3:6"),
    ("pool foo\n  depth = -1\n", "invalid pool depth", "2:9"),
    ("pool foo\n  bar = 1\n", "unexpected variable 'bar'", "2:7"),
    (
      "rule run\n  command = echo\n  pool = unnamed_pool\nbuild out: run in\n",
      "unknown pool name 'unnamed_pool'", "4:1"
    ),
    ("\tx = 1\n", "tabs are not allowed, use spaces", "1:1"),
    ("rule cat\n\tcommand = x\n", "expected 'command =' line", "1:9"),
    ("# no newline", "a comment must end with a newline", "1:1"),
    ("x = 1\rz\n", "a carriage return must be followed by a newline", "1:6"),
    ("include $\n", "unexpected end of file", "2:1"), ("^ = 1\n", "lexing error", "1:1"),
  ]

  @Test("P24, P6, P29: errors say what is wrong and point at it", arguments: errors)
  func error(_ manifest: String, _ expected: String, _ place: String) throws {
    let world = World()
    world.write("build.ninja", manifest)
    let text = try #require(message { () throws(QuenchError) in _ = try Build(world.options()) })
    #expect(text.hasPrefix(expected), "\(text)")
    #expect(text.contains("build.ninja:\(place)"), "\(text)")
    #expect(text.contains("^"), "\(text)")
  }

  @Test("P20, P21, P31: an output has one edge, in subninjas too, and stands there once")
  func duplicates() {
    func failure(_ manifest: String) -> String? {
      let world = World(manifest, ["sub.ninja": "build b: cp x\n"])
      return message { () throws(QuenchError) in _ = try Build(world.options()) }
    }
    #expect(
      failure("build a b: cp x\nbuild b: cp y\n")?.hasPrefix("multiple rules generate b") == true)
    let sub = failure("build b: cp x\nsubninja sub.ninja\n")
    #expect(sub?.contains("sub.ninja:1:7") == true, "\(sub ?? "")")
    #expect(failure("build a | a: cp x\n")?.contains("defined as an output multiple times") == true)
    #expect(
      failure("build a | b b: cp x\n")?.contains("defined as an output multiple times") == true)
    #expect(failure("build | a: cp x\n") == nil)
    #expect(failure("build a |: cp x\n") == nil)
  }

  @Test("P22: a phony edge that names itself is told of, or refused when that is asked for")
  func phonySelf() throws {
    let world = World("build a: phony a b\nbuild b: cp c\n", ["c": "1"])
    let outcome = try world.build(["a"])
    #expect(outcome.warnings.contains { $0.contains("names itself as an input") })
    #expect(outcome.ran == ["b"])
    let text = message { () throws(QuenchError) in
      try world.build(["a"]) { $0.refusesSelfReference = true }
    }
    #expect(text?.hasPrefix("dependency cycle: a -> a") == true, "\(text ?? "")")
  }

  @Test("P27, P28: subninjas have a scope and rules of their own")
  func scopes() throws {
    let world = World()
    world.write(
      "build.ninja",
      "var = outer\nrule r\n  command = o $var\nsubninja 1.ninja\n"
        + "subninja 2.ninja\nbuild o: r\n")
    world.write("1.ninja", "var = one\nrule r\n  command = 1 $var\nbuild one: r\n")
    world.write("2.ninja", "var = two\nbuild two: r\n")
    let commands = try Build(world.options()).edges().map(\.command)
    #expect(commands == ["1 one", "o two", "o outer"])
  }

  @Test("P30: the groups of a statement are told apart")
  func groups() throws {
    let world = World("build a | b c: cp d e | f || g h |@ i\nbuild i: cp d\n")
    let edge = try Build(world.options()).edges()[0]
    #expect(edge.outputs == ["a"] && edge.implicitOutputs == ["b", "c"])
    #expect(edge.inputs == ["d", "e"] && edge.implicitInputs == ["f"])
    #expect(edge.orderOnlyInputs == ["g", "h"] && edge.validations == ["i"])
  }

  @Test("P32: without defaults the roots are built; defaults add up; a graph may have no root")
  func defaults() throws {
    let plain = World("build a: cp x\nbuild b: cp a\nbuild c: cp a\n")
    #expect(try Build(plain.options()).defaultTargets == ["b", "c"])
    let named = World("build a: cp x\nbuild b: cp a\nbuild c: cp a\nd = a\ndefault $d\ndefault c\n")
    #expect(try Build(named.options()).defaultTargets == ["a", "c"])
    let round = World("build a: cp b\nbuild b: cp a\n")
    let text = message { () throws(QuenchError) in try round.build() }
    // Ninja says only that it "could not determine root nodes of build graph".
    #expect(text?.hasPrefix("dependency cycle: b -> a -> b\n") == true)
    // The first edge lies below the cycle, and an edge beside it needs it.
    let deep = World(
      "build low: cp x\nbuild p: cp q low\nbuild q | q2: cp r\nbuild r: cp p | side\nbuild side: cp q2\n"
    )
    let path = message { () throws(QuenchError) in try deep.build() }
    #expect(path?.hasPrefix("dependency cycle: q -> r -> p -> q\n") == true)
    #expect(!deep.exists("low"))
    let own = message { () throws(QuenchError) in try World("build a: cp a\n").build() }
    #expect(own?.hasPrefix("dependency cycle: a -> a\n") == true)
  }

  @Test("L1: versions: newer ones are refused with both named, suffixes are read over")
  func versions() {
    func failure(_ version: String) -> String? {
      let world = World()
      world.write("build.ninja", "ninja_required_version = \(version)\n")
      return message { () throws(QuenchError) in _ = try Build(world.options()) }
    }
    for version in ["1", "1.3", "1.14", "1.13.0.git", "1.5.kitware"] {
      #expect(failure(version) == nil, "\(version)")
    }
    for version in ["1.15", "2", "2.0.1"] { #expect(failure(version) != nil, "\(version)") }
  }
}
