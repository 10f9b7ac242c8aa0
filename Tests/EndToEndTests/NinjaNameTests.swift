// SPDX-License-Identifier: Apache-2.0
// The binary through a link called `ninja`.

import Foundation
import TestSupport
import Testing

@Suite("Called ninja", .enabled(if: Project.hasBinary, "the binary quench is not built"))
struct NinjaNameTests {
  /// A directory with the link `ninja` and a build in it.
  private final class Tree {
    let space = TemporarySpace()
    var ninja: String { space.path("bin/ninja") }

    init(_ manifest: String, _ files: [String: String] = [:]) throws {
      space.write("build.ninja", manifest)
      for (name, text) in files { space.write(name, text) }
      space.write("bin/.keep", "")
      try FileManager.default.createSymbolicLink(
        atPath: ninja, withDestinationPath: Project.binary)
    }

    func run(
      _ program: String, _ arguments: [String], environment: [String: String] = [:]
    ) throws -> Run {
      var variables = ProcessInfo.processInfo.environment
      variables["MAKEFLAGS"] = nil
      variables["NINJA_STATUS"] = nil
      variables.merge(environment) { $1 }
      let out = space.path(".out-\(UUID().uuidString)")
      let err = space.path(".err-\(UUID().uuidString)")
      let status = try Child.run(
        program, arguments, in: space.path, environment: variables, output: out, errors: err)
      return Run(
        status: status, output: try String(contentsOfFile: out, encoding: .utf8),
        errors: try String(contentsOfFile: err, encoding: .utf8))
    }

    @discardableResult
    func ninja(_ arguments: String..., environment: [String: String] = [:]) throws -> Run {
      try run(ninja, arguments, environment: environment)
    }
  }

  private static let rules = """
    rule cp
      command = cp $in $out
      description = COPY $out
    rule bad
      command = echo said; exit 7

    """

  @Test("--version is one that CMake and Meson compare")
  func version() throws {
    let run = try Tree("").ninja("--version")
    #expect(run.output == "1.13.0\n" && run.status == 0)
  }

  @Test("status lines, verbose ones, and no work to do")
  func status() throws {
    let tree = try Tree(Self.rules + "build b: cp a\nbuild c: cp b\n", ["a": "1"])
    #expect(try tree.ninja("-n").output == "[1/2] COPY b\n[2/2] COPY c\n")
    #expect(try tree.ninja().output == "[1/2] COPY b\n[2/2] COPY c\n")
    #expect(try tree.ninja().output == "ninja: no work to do.\n")
    tree.space.write("a", "2")
    #expect(try tree.ninja("-v", "b").output == "[1/1] cp a b\n")
    tree.space.write("a", "3")
    let run = try tree.ninja(environment: ["NINJA_STATUS": "<%f of %t, %p, %u left> "])
    #expect(run.output.hasPrefix("<1 of 2,  50%, 1 left> COPY b\n"), "\(run.output)")
    tree.space.write("a", "4")
    #expect(try tree.ninja("--quiet").output.isEmpty)
  }

  @Test("a failure shows code, outputs, command and output, and ends with its code")
  func failure() throws {
    let tree = try Tree(Self.rules + "build b: bad\nbuild c: bad\n")
    let run = try tree.ninja("-j1")
    #expect(run.status == 7)
    #expect(
      run.output
        == "[1/2] echo said; exit 7\nFAILED: [code=7] b \necho said; exit 7\nsaid\n"
        + "ninja: build stopped: subcommand failed.\n", "\(run.output)")
    #expect(try tree.ninja("-k0").output.contains("cannot make progress due to previous errors"))
    #expect(try tree.ninja("-k", "2").output.contains("ninja: build stopped: subcommands failed."))
  }

  @Test("directories, manifests, and what cannot be done")
  func refusals() throws {
    let tree = try Tree(Self.rules + "build b: cp a\n", ["a": "1", "sub/x": ""])
    tree.space.write("sub/other.ninja", Self.rules + "build y: cp x\n")
    let run = try tree.ninja("-C", "sub", "-f", "other.ninja", "-j2", "-l", "100")
    #expect(run.output.hasPrefix("ninja: Entering directory `sub'\n"))
    #expect(run.status == 0)
    #expect(try tree.ninja("-C", "sub").errors.contains("loading 'build.ninja': No such file"))
    #expect(try tree.ninja("bb").errors.contains("unknown target 'bb'; did you mean \"b\"?"))
    #expect(try tree.ninja("-jx").errors.contains("invalid -j parameter"))
    #expect(try tree.ninja("-kx").status == 1)
    #expect(try tree.ninja("-w", "nonsense").errors.contains("unknown warning flag"))
    #expect(try tree.ninja("-dnonsense").errors.contains("unknown debug setting"))
    #expect(try tree.ninja("--nonsense").status == 1)
    #expect(try tree.ninja("-d", "list").output.contains("keepdepfile"))
    #expect(try tree.ninja("-t", "browse").errors.contains("browse is not offered"))
    #expect(try tree.ninja("-t", "queri").errors.contains("did you mean \"query\"?"))
  }

  @Test("subtools print what programs read")
  func tools() throws {
    let tree = try Tree(
      Self.rules
        + "rule cc\n  command = cat $in h > $out; echo '$out: h' > $out.d\n  depfile = $out.d\n"
        + "  deps = gcc\nbuild o: cc a | i || order\nbuild i: cp a\nbuild order: cp a\n"
        + "build all: phony o\ndefault all\n", ["a": "1", "h": "2"])
    try tree.ninja()
    #expect(try tree.ninja("-t", "targets").output == "all: phony\n")
    #expect(
      try tree.ninja("-t", "targets", "all").output
        == "o: cc\ni: cp\norder: cp\nall: phony\n")
    #expect(try tree.ninja("-t", "targets", "rule", "cp").output == "i\norder\n")
    #expect(try tree.ninja("-t", "targets", "rule").output == "a\n")
    #expect(try tree.ninja("-t", "targets", "depth", "2").output == "all: phony\n  o: cc\n")
    #expect(try tree.ninja("-t", "rules", "-d").output.contains("cp: COPY ${out}\n"))
    #expect(
      try tree.ninja("-t", "query", "o").output
        == "o:\n  input: cc\n    a\n    | i\n    || order\n  outputs:\n    all\n")
    #expect(try tree.ninja("-t", "inputs", "all").output == "a\ni\no\norder\n")
    #expect(try tree.ninja("-t", "inputs", "-d", "all").output == "a\ni\norder\no\n")
    #expect(
      try tree.ninja("-t", "multi-inputs", "-d", ":", "i", "order").output == "i:a\norder:a\n")
    #expect(try tree.ninja("-t", "commands", "i").output == "cp a i\n")
    #expect(try tree.ninja("-t", "deps", "o").output.contains("(VALID)\n    h\n"))
    #expect(try tree.ninja("-t", "graph").output.hasPrefix("digraph"))
    #expect(
      try tree.ninja("-t", "missingdeps").output
        == "No missing dependencies on generated files found.\n")
    let database = try JSONSerialization.jsonObject(
      with: Data(try tree.ninja("-t", "compdb", "cp").output.utf8))
    let entries = try #require(database as? [[String: String]])
    #expect(entries.map(\.["file"]) == ["a", "a"])
    #expect(entries.map(\.["command"]) == ["cp a i", "cp a order"])
    #expect(try tree.ninja("-t", "compdb-targets", "i").output.contains("\"cp a i\""))
    #expect(try tree.ninja("-t", "recompact").status == 0)
    #expect(try tree.ninja("-t", "restat", "o").status == 0)
    #expect(try tree.ninja().output == "ninja: no work to do.\n")
    #expect(try tree.ninja("h^").status == 0)
    #expect(try tree.ninja("-t", "clean", "-r", "cp").output == "Cleaning... 2 files.\n")
    #expect(try tree.ninja("-t", "clean").output == "Cleaning... 1 files.\n")
    #expect(tree.space.read("o") == nil)
  }

  @Test("-t cleandead removes what the manifest no longer makes; missingdeps finds what it must")
  func deadAndMissing() throws {
    let cc =
      "rule cc\n  command = cat $in g > $out; echo '$out: g' > $out.d\n  depfile = $out.d\n"
      + "  deps = gcc\n"
    let tree = try Tree(
      Self.rules + cc + "build g: cp a\nbuild o: cc a\nbuild old: cp a\n", ["a": "1"])
    try tree.ninja("g")
    try tree.ninja()
    let missing = try tree.ninja("-t", "missingdeps")
    #expect(missing.status == 3)
    #expect(missing.output.hasPrefix("Missing dep: o uses g (generated by cp)\n"))
    tree.space.write("build.ninja", Self.rules + cc + "build g: cp a\nbuild o: cc a || g\n")
    #expect(try tree.ninja("-t", "missingdeps").status == 0)
    #expect(try tree.ninja("-t", "cleandead").output == "Cleaning... 1 files.\n")
    #expect(tree.space.read("old") == nil)
  }

  @Test("-d keeprsp, keepdepfile and explain")
  func debugModes() throws {
    let tree = try Tree(
      "rule r\n  command = cp $rsp $out; echo '$out:' > d\n  rspfile = $rsp\n"
        + "  rspfile_content = text\n  depfile = d\n  deps = gcc\nbuild o: r\n  rsp = o.rsp\n")
    try tree.ninja()
    #expect(tree.space.read("o.rsp") == nil && tree.space.read("d") == nil)
    try FileManager.default.removeItem(atPath: tree.space.path("o"))
    let run = try tree.ninja("-d", "keeprsp", "-dkeepdepfile", "-d", "explain")
    #expect(tree.space.read("o.rsp") != nil && tree.space.read("d") != nil)
    #expect(run.errors.contains("ninja explain: o is dirty: o is missing"))
  }

  @Test("-d stats shows how often each step was taken and how long it took")
  func stats() throws {
    let tree = try Tree(Self.rules + "build b: cp a\nbuild c: cp b\n", ["a": "1"])
    let first = try tree.ninja("-d", "stats").output
    #expect(first.contains("[2/2] COPY c\nmetric"), "\(first)")
    for step in ["command start", "command end", "edge verdict"] {
      let line = first.split(separator: "\n").first { $0.hasPrefix(step) }
      #expect(line?.split(separator: "\t").dropFirst().first == "2     ", "\(step): \(first)")
    }
    #expect(first.contains("manifest parse") && first.contains("log write"), "\(first)")
    usleep(30_000)
    _ = try tree.ninja()
    let null = try tree.ninja("-d", "stats").output
    #expect(null.hasPrefix("ninja: no work to do.\nmetric"), "\(null)")
    #expect(null.contains("certified file") && !null.contains("manifest parse"), "\(null)")
    let quench = try tree.run(Project.binary, ["build", "-f", "build.ninja", "-d", "stats"])
    #expect(quench.output.contains("metric") && quench.output.contains("nothing to do"))
  }

  @Test(
    "GNU make's jobserver limits what runs at once",
    .enabled(if: NeighboursTests.tool("make") != nil, "make is not installed"))
  func make() throws {
    var manifest =
      "rule r\n  command = echo + >> count; sleep 0.1; echo - >> count; touch $out\n"
    for index in 0..<8 { manifest += "build o\(index): r\n" }
    let tree = try Tree(manifest)
    tree.space.write("Makefile", "all:\n\t+./bin/ninja\nplain:\n\t./bin/ninja o0\n")
    let run = try tree.run(try #require(NeighboursTests.tool("make")), ["-j2"])
    #expect(run.status == 0, "\(run.output)\(run.errors)")
    #expect(!run.errors.contains("jobserver"), "\(run.errors)")
    let text = String(decoding: try #require(tree.space.read("count")), as: UTF8.self)
    var running = 0
    var most = 0
    for line in text.split(separator: "\n") {
      running += line == "+" ? 1 : -1
      most = max(most, running)
    }
    #expect(running == 0)
    #expect(most == 2, "make allows two jobs, \(most) ran")
  }

  @Test(
    "CMake configures, builds, installs and tests a project with it; Ninja's logs stay as they were",
    .enabled(
      if: NeighboursTests.tool("cmake") != nil && NeighboursTests.tool("cc") != nil,
      "cmake or cc is not installed"))
  func cmake() throws {
    let tree = try Tree(
      "",
      [
        "c/CMakeLists.txt": """
        cmake_minimum_required(VERSION 3.13)
        project(small C)
        enable_testing()
        add_custom_command(OUTPUT gen.h COMMAND ${CMAKE_COMMAND} -E echo_append "" COMMAND
          ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_SOURCE_DIR}/gen.in gen.h DEPENDS gen.in)
        add_library(part STATIC part.c ${CMAKE_CURRENT_BINARY_DIR}/gen.h)
        target_include_directories(part PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
        add_executable(whole whole.c)
        target_link_libraries(whole part)
        install(TARGETS whole DESTINATION bin)
        add_test(NAME runs COMMAND whole)
        """,
        "c/gen.in": "#define ANSWER 42\n", "c/part.h": "int part(void);\n",
        "c/part.c": "#include \"gen.h\"\n#include \"part.h\"\nint part(void) { return ANSWER; }\n",
        "c/whole.c": "#include \"part.h\"\nint main(void) { return part() == 42 ? 0 : 1; }\n",
      ])
    let cmake = try #require(NeighboursTests.tool("cmake"))
    let configured = try tree.run(
      cmake,
      [
        "-G", "Ninja", "-DCMAKE_MAKE_PROGRAM=\(tree.ninja)",
        "-DCMAKE_INSTALL_PREFIX=\(tree.space.path("prefix"))", "-S", "c", "-B", "out",
      ])
    try #require(configured.status == 0, "\(configured.output)\(configured.errors)")
    // As if Ninja had been here.
    tree.space.write("out/.ninja_log", "# ninja log v5\n")
    tree.space.write("out/.ninja_deps", "# ninjadeps\n")
    let built = try tree.run(cmake, ["--build", "out"])
    #expect(built.status == 0, "\(built.output)\(built.errors)")
    #expect(try tree.run(cmake, ["--build", "out"]).output == "ninja: no work to do.\n")
    #expect(try tree.run(cmake, ["--install", "out"]).status == 0)
    #expect(try tree.run(tree.space.path("prefix/bin/whole"), []).status == 0)
    let tested = try tree.run(cmake, ["--build", "out", "--target", "test"])
    #expect(tested.status == 0 && tested.output.contains("100% tests passed"), "\(tested.output)")
    // A changed CMakeLists.txt regenerates, once.
    let lists = String(decoding: try #require(tree.space.read("c/CMakeLists.txt")), as: UTF8.self)
    tree.space.write("c/CMakeLists.txt", lists + "\nadd_custom_target(more)\n")
    let again = try tree.run(cmake, ["--build", "out"])
    #expect(again.output.contains("Re-running CMake"), "\(again.output)")
    #expect(try tree.run(cmake, ["--build", "out"]).output == "ninja: no work to do.\n")
    #expect(tree.space.read("out/.ninja_log") == Array("# ninja log v5\n".utf8))
    #expect(tree.space.read("out/.ninja_deps") == Array("# ninjadeps\n".utf8))
  }

  @Test(
    "Meson configures, builds and tests a project with it, and regenerates when it must",
    .enabled(
      if: NeighboursTests.tool("meson") != nil && NeighboursTests.tool("cc") != nil,
      "meson or cc is not installed"))
  func meson() throws {
    let tree = try Tree(
      "",
      [
        "m/meson.build": """
        project('small', 'c')
        part = static_library('part', 'part.c')
        whole = executable('whole', 'whole.c', link_with: part)
        test('runs', whole)

        """,
        "m/part.c": "int part(void) { return 42; }\n",
        "m/whole.c": "int part(void);\nint main(void) { return part() == 42 ? 0 : 1; }\n",
      ])
    let meson = try #require(NeighboursTests.tool("meson"))
    let environment = ["NINJA": tree.ninja]
    let setup = try tree.run(meson, ["setup", "out", "m"], environment: environment)
    try #require(setup.status == 0, "\(setup.output)\(setup.errors)")
    let tested = try tree.run(meson, ["test", "-C", "out"], environment: environment)
    #expect(tested.status == 0, "\(tested.output)\(tested.errors)")
    let text = String(decoding: try #require(tree.space.read("m/meson.build")), as: UTF8.self)
    for round in 1...2 {
      tree.space.write("m/meson.build", text + String(repeating: "# more\n", count: round))
      let run = try tree.ninja("-C", "out")
      #expect(run.status == 0 && run.output.contains("Regenerating"), "\(run.output)")
      #expect(try tree.ninja("-C", "out").output.hasSuffix("ninja: no work to do.\n"))
    }
  }
}
