// SPDX-License-Identifier: Apache-2.0
// What is large, odd or in the way.

import Foundation
import Glibc
import TestSupport
import Testing

@Suite(
  "The engine at its limits", .enabled(if: Project.hasBinary, "the binary quench is not built"))
struct EngineLimitsTests {
  @Test("ten thousand inputs on one edge: built, null, and one of them changed, gone or new")
  func manyInputs() throws {
    func manifest(_ range: Range<Int>) -> String {
      "rule join\n  command = cat $out.rsp | xargs cat > $out\n  rspfile = $out.rsp\n"
        + "  rspfile_content = $in_newline\nbuild all: join "
        + range.map { "in/some-long-name-\($0)" }.joined(separator: " $\n  ") + "\n"
    }
    let engine = EngineSpace(manifest(0..<10_000))
    for index in 0...10_000 { engine.space.write("in/some-long-name-\(index)", "\(index)\n") }
    func expected(_ range: Range<Int>) -> String { range.map { "\($0)\n" }.joined() }
    let run = try engine.build()
    #expect(run.status == 0, "\(run.errors)")
    #expect(engine.space.text("all") == expected(0..<10_000))
    #expect(try engine.build().output == "quench: nothing to do\n")
    engine.space.write("in/some-long-name-7777", "changed\n")
    #expect(try engine.build().status == 0)
    #expect(
      engine.space.text("all") == expected(0..<7777) + "changed\n" + expected(7778..<10_000))
    engine.space.write("in/some-long-name-7777", "7777\n")
    engine.space.write("build.ninja", manifest(1..<10_001))
    #expect(try engine.build().status == 0)
    #expect(engine.space.text("all") == expected(1..<10_001))
    #expect(try engine.build().output == "quench: nothing to do\n")
  }

  @Test(
    "a command line of one MiB runs, with a shell and without, and a change in its middle counts",
    arguments: [true, false])
  func longCommand(needsShell: Bool) throws {
    func manifest(_ middle: String) -> String {
      let word = String(repeating: "word", count: 20)
      let words = (0..<15_000).map { $0 == 7_500 ? middle : word }
      let text = words.joined(separator: " ")
      return needsShell
        ? "rule r\n  command = set -- \(text) && echo $$# $${7501} > $out\nbuild out: r\n"
        : "rule r\n  command = ./count \(text)\nbuild out: r count\n"
    }
    let engine = EngineSpace(
      manifest("one"), ["count": "#!/bin/sh\nshift 7500\necho $# \"$1\" > out\n"])
    chmod(engine.space.path("count"), 0o755)
    try #require((engine.space.read("build.ninja")?.count ?? 0) > 1 << 20)
    let run = try engine.build("-q")
    #expect(run.status == 0, "\(run.errors.prefix(500))")
    #expect(engine.space.text("out")?.hasSuffix(needsShell ? "15000 one\n" : "7500 one\n") == true)
    #expect(try engine.build().output == "quench: nothing to do\n")
    engine.space.write("build.ninja", manifest("two"))
    #expect(try engine.build("-q").status == 0)
    #expect(engine.space.text("out")?.hasSuffix(" two\n") == true)
    let failing = manifest("one").replacing("&& echo", with: "&& exit 7 && echo")
    if needsShell {
      engine.space.write("build.ninja", failing)
      #expect(try engine.build("-q").errors.contains("exit code 7"))
    }
  }

  @Test("arguments that are too long for the system are told with the program that should get them")
  func tooLong() throws {
    // Past the two MiB that Linux gives to arguments at the usual limit of the stack, in words that are
    // short enough each.
    let words = (0..<60_000).map { _ in String(repeating: "w", count: 60) }.joined(separator: " ")
    let engine = EngineSpace("rule r\n  command = ./tool \(words)\nbuild out: r tool\n")
    engine.space.write("tool", "#!/bin/sh\n")
    chmod(engine.space.path("tool"), 0o755)
    let run = try engine.build("-q")
    #expect(run.status == 1)
    #expect(
      run.errors.contains("cannot start \"./tool\": Argument list too long"),
      "\(run.errors.suffix(500))")
    #expect(run.errors.contains("rspfile"))
  }

  @Test("a caller that ignores the end of its children does not make commands fail")
  func ignoredChildren() throws {
    let engine = EngineSpace(
      "rule r\n  command = cat $in > $out\nbuild o: r a\nbuild p: r o\n", ["a": "1\n"])
    let status = try Child.run(
      "/usr/bin/env", ["--ignore-signal=CHLD", Project.binary, "build", "-f", "build.ninja"],
      in: engine.space.path, environment: [:], output: engine.space.path("said"),
      errors: engine.space.path("said"))
    #expect(status == 0, "\(engine.space.text("said") ?? "")")
    #expect(engine.space.text("p") == "1\n")
  }

  @Test("a cycle is shown as a path, whether statements or a depfile close it")
  func cycles() throws {
    let rules = "rule cp\n  command = cp $in $out\n"
    let engine = EngineSpace(
      rules + "build a: cp b\nbuild b: cp c\nbuild c: cp a\nbuild d: cp a\n")
    let run = try engine.build("d")
    #expect(run.status == 65)
    #expect(run.errors.contains("dependency cycle: a -> b -> c -> a"), "\(run.errors)")
    let found = EngineSpace(
      "rule cc\n  command = cp $in $out; echo '$out: b' > $out.d\n  depfile = $out.d\n"
        + "build a: cc s\nbuild b: cc a\n", ["s": "1\n"])
    #expect(try found.build().status == 0)
    #expect(found.space.text("b") == "1\n")
    found.space.write("s", "2\n")
    _ = try found.build()
    let last = try found.build()
    #expect(
      found.space.text("b") == "2\n" || last.errors.contains("dependency cycle"),
      "\(last.output)\(last.errors)")
  }

  @Test("duplicate outputs are refused with both places' names, whatever their spelling")
  func duplicates() throws {
    let rules = "rule cp\n  command = cp $in $out\n"
    let engine = EngineSpace(
      rules + "build x/o: cp a\nbuild x/../x/./o: cp b\n", ["a": "1", "b": "2"])
    let run = try engine.build()
    #expect(run.status == 65)
    #expect(run.errors.contains("multiple rules generate x/o"), "\(run.errors)")
    #expect(run.errors.contains("build.ninja:4"), "\(run.errors)")
    engine.space.write("build.ninja", rules + "build o | ./o: cp a\n")
    #expect(try engine.build().errors.contains("o is defined as an output multiple times"))
    #expect(engine.space.read("o") == nil)
  }

  /// Names that a shell or a manifest could trip over, as the manifest spells them. (A bar cannot be
  /// spelled.)
  private static let names: [(spelled: String, real: String)] = [
    ("with$ space", "with space"), ("two$ $ spaces", "two  spaces"), ("quo'te", "quo'te"),
    ("dou\"ble", "dou\"ble"), ("colon$:", "colon:"), ("dollar$$x", "dollar$x"),
    ("star*", "star*"), ("semi;colon", "semi;colon"), ("amp&", "amp&"),
    ("hash#", "hash#"), ("back\\slash", "back\\slash"), ("paren(s)", "paren(s)"),
    ("Größe", "Größe"), ("量化", "量化"), ("🙂", "🙂"), ("line$^break", "line\nbreak"),
    ("-dash", "-dash"), ("~tilde", "~tilde"), ("per%cent", "per%cent"), ("e\u{301}", "e\u{301}"),
  ]

  @Test(
    "names with blanks, quotes, line ends and letters of any script build, rest, and wake alone")
  func names() throws {
    let names = Self.names
    var manifest =
      "ninja_required_version = 1.14\nrule cp\n  command = echo x >> ran; cat -- $in > $out\n"
    for name in names { manifest += "build out/\(name.spelled): cp ./\(name.spelled)\n" }
    let engine = EngineSpace(manifest)
    for name in names { engine.space.write(name.real, "text of \(name.real)\n") }
    let run = try engine.build()
    #expect(run.status == 0, "\(run.output)\(run.errors)")
    #expect(engine.takeRan().count == names.count)
    for name in names {
      #expect(engine.space.text("out/\(name.real)") == "text of \(name.real)\n", "\(name.real)")
    }
    #expect(try engine.build().output == "quench: nothing to do\n")
    for name in names {
      engine.space.write(name.real, "changed\n")
      let run = try engine.build()
      #expect(run.status == 0 && engine.takeRan().count == 1, "\(name.real): \(run.errors)")
      #expect(engine.space.text("out/\(name.real)") == "changed\n", "\(name.real)")
    }
    let why = try engine.quench(["why", "-f", "build.ninja", "out/量化"])
    #expect(why.output.contains("out/量化"), "\(why.output)\(why.errors)")
    #expect(try engine.quench(["clean", "-f", "build.ninja"]).status == 0)
    for name in names { #expect(engine.space.read("out/\(name.real)") == nil, "\(name.real)") }
  }

  @Test("headers with blanks and signs in their names are found in depfiles")
  func discovered() throws {
    let engine = EngineSpace(
      "rule cc\n  command = cat $in h* > $out; "
        + "echo '$out: a h\\ one h\\#two h$$$$three h\\:four hä' > $out.d\n"
        + "  depfile = $out.d\n  deps = gcc\nbuild o: cc a\n", ["a": "a\n"])
    let headers = ["h one", "h#two", "h$three", "h:four", "hä"]
    for header in headers { engine.space.write(header, "\(header)\n") }
    #expect(try engine.build().status == 0)
    #expect(try engine.build().output == "quench: nothing to do\n")
    for header in headers {
      engine.space.write(header, "changed \(header)\n")
      #expect(try engine.build().output.contains("ran 1 edge"), "\(header)")
      #expect(engine.space.text("o")?.contains("changed \(header)") == true)
    }
  }

  @Test("bytes that are no text go to commands as they are, and are refused in names of files")
  func notText() throws {
    let engine = EngineSpace()
    func manifest(_ name: [UInt8]) -> [UInt8] {
      Array("rule put\n  command = printf %s ".utf8) + [0xFC] + Array(" > $out\nbuild ".utf8)
        + name + Array(": put\n".utf8)
    }
    engine.space.write("build.ninja", manifest(Array("o".utf8)))
    let run = try engine.build()
    #expect(run.status == 0, "\(run.output)\(run.errors)")
    #expect(engine.space.read("o") == [0xFC])
    engine.space.write("build.ninja", manifest([0x67, 0xFC]))
    let refused = try engine.build()
    #expect(refused.status == 65)
    #expect(refused.errors.contains("is not UTF-8"), "\(refused.errors)")
    #expect(refused.errors.contains("build.ninja:3:7"), "\(refused.errors)")
  }

  @Test(
    "without PATH commands find what a shell finds then, and so does the look at their programs")
  func noPath() throws {
    let engine = EngineSpace("rule r\n  command = cat $in > $out\nbuild o: r a\n", ["a": "1"])
    func build() throws -> Int32 {
      try Child.run(
        Project.binary, ["build", "-f", "build.ninja"], in: engine.space.path, environment: [:],
        output: engine.space.path("out"), errors: engine.space.path("err"))
    }
    #expect(try build() == 0)
    #expect(engine.space.text("o") == "1")
    #expect(try build() == 0)
    #expect(engine.space.text("out")?.hasSuffix("\nquench: nothing to do\n") == true)
  }

  @Test("a limit on the size of files ends the command that meets it, as without us")
  func fileLimit() throws {
    let engine = EngineSpace(
      "rule w\n  command = head -c 3000000 /dev/zero > $out\nbuild big: w\n")
    let run = try Child.run(
      "/bin/sh", ["-c", "ulimit -f 2000; exec \(Project.binary) build -f build.ninja -k0"],
      in: engine.space.path, environment: ["PATH": "/usr/bin:/bin"],
      output: engine.space.path("out"),
      errors: engine.space.path("err"))
    #expect(run == 1)
    let text = (engine.space.text("out") ?? "") + (engine.space.text("err") ?? "")
    #expect(text.contains("ended by signal \(SIGXFSZ)"), "\(text)")
    #expect(try engine.build().status == 0)
    #expect(engine.space.read("big")?.count == 3_000_000)
  }

  @Test(
    "a full disk stops the build with the system's reason; with space again, it ends right",
    .enabled(if: SystemTests.canMount, "mounting a small tmpfs needs root"))
  func fullDisk() throws {
    let place = TemporarySpace()
    // Room for the log of all builds below, so that only the filler fills it.
    try #require(mount("none", place.path, "tmpfs", 0, "size=2m") == 0)
    defer { umount(place.path) }
    var manifest = "rule cp\n  command = cat $in > $out\n"
    for index in 0..<40 {
      manifest += "build o\(index): cp \(index == 0 ? "s" : "o\(index - 1)")\n"
    }
    let engine = EngineSpace(manifest, ["s": "first\n"], in: place)
    #expect(try engine.build().status == 0)
    var failures = 0
    // From no space left to enough: the log, the outputs and the caches fail in turn.
    for left in stride(from: 0, through: 48, by: 4) {
      engine.space.write("s", "left \(left)\n")
      let filled = try Child.run(
        "/bin/sh",
        [
          "-c",
          "cat /dev/zero > filler 2> /dev/null; size=$(stat -c %s filler); "
            + "truncate -s $((size - \(left) * 1024)) filler",
        ], in: place.path, environment: [:], output: "/dev/null", errors: "/dev/null")
      try #require(filled == 0)
      let run = try engine.build()
      if run.status != 0 {
        failures += 1
        #expect(run.status == 1, "\(left) KiB: \(run.status)")
        #expect(
          (run.output + run.errors).contains("No space left on device"),
          "\(left) KiB: \(run.output)\(run.errors)")
      }
      unlink(place.path("filler"))
      let freed = try engine.build()
      #expect(freed.status == 0, "\(left) KiB: \(freed.output)\(freed.errors)")
      #expect(engine.space.text("o39") == "left \(left)\n", "\(left) KiB")
      #expect(try engine.build().output == "quench: nothing to do\n", "\(left) KiB")
    }
    #expect(failures > 0)
  }
}
