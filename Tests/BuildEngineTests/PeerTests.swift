// SPDX-License-Identifier: Apache-2.0

import BuildEngine
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("Beside other tools")
struct PeerTests {
  /// Runs a command line in the world's directory. - Returns: its exit code.
  private func shell(_ world: World, _ command: String) throws -> Int32 {
    let runner = World()
    runner.write(
      "build.ninja", "rule r\n  command = cd \(world.space.path) && \(command)\nbuild x: r\n")
    let outcome = try runner.build()
    let made = outcome.failures["x"]?.contains("did not write") ?? false
    return made ? 0 : 1
  }

  @Test(
    "ninja builds the same manifest to the same bytes, our own variables included",
    .enabled(if: installed("ninja") != nil, "ninja is not installed"))
  func ninja() throws {
    let manifest = """
      builddir = state
      pool one
        depth = 1
      rule cp
        command = cat $in > $out
        description = copy $in
      rule join
        command = cat $out.rsp > $out
        rspfile = $out.rsp
        rspfile_content = $in_newline
        pool = one
      build b.cfg | side: touchside a
        keep_edits = 1
        progress = 1
        memory = 2G
      build c$ d: join a b.cfg || order
      build order: cp a
      build all: phony c$ d
      default all

      """
    let rules = "rule touchside\n  command = cat $in > b.cfg; touch side\n"
    let ours = World("", ["a": "1\n"])
    let theirs = World("", ["a": "1\n"])
    for world in [ours, theirs] { world.write("build.ninja", rules + manifest) }
    try ours.build()
    #expect(try shell(theirs, "ninja") == 0)
    for name in ["b.cfg", "side", "c d", "order"] {
      #expect(ours.text(name) == theirs.text(name), "\(name)")
      #expect(ours.exists(name), "\(name)")
    }
    #expect(ours.exists("state/.quench/log"))
    // Ours leaves ninja's logs alone, and builds in a tree that ninja has built before.
    #expect(try theirs.build().summary.exitCode == 0)
    #expect(try theirs.build().summary.isNothingToDo)
  }

  @Test(
    "a project that CMake configured for Ninja builds, then has nothing to do",
    .enabled(
      if: installed("cmake") != nil && installed("ninja") != nil && installed("cc") != nil,
      "cmake, ninja or cc is not installed"))
  func cmake() throws {
    let world = World()
    world.write(
      "src/CMakeLists.txt",
      """
      cmake_minimum_required(VERSION 3.16)
      project(small C)
      add_library(part STATIC part.c)
      add_custom_command(OUTPUT made.h DEPENDS made.in
        COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_SOURCE_DIR}/made.in made.h)
      add_executable(main main.c made.h)
      target_include_directories(main PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
      target_link_libraries(main part)
      add_custom_target(always ALL COMMAND ${CMAKE_COMMAND} -E true)

      """)
    world.write("src/made.in", "#define MADE 1\n")
    world.write("src/part.c", "#include \"part.h\"\nint part(void) { return PART; }\n")
    world.write("src/part.h", "#define PART 2\nint part(void);\n")
    world.write(
      "src/main.c",
      "#include \"made.h\"\n#include \"part.h\"\nint main(void) { return part() - 2 * MADE; }\n")
    try #require(try shell(world, "cmake -G Ninja -S src -B out") == 0)
    let change = { (options: inout BuildOptions) in options.directory += "/out" }
    let first = try world.build([], change)
    #expect(first.summary.exitCode == 0, "\(first.outputs)")
    #expect(first.ran.contains("main"))
    #expect(!first.ran.contains("build.ninja"))
    #expect(try shell(world, "./out/main") == 0)
    // The custom target always runs: that is what CMake means by it.
    #expect(try world.build([], change).ran == ["CMakeFiles/always"])
    let again = try world.build(["main"], change)
    #expect(again.summary.isNothingToDo, "\(again.ran) \(again.reasons)")
    world.write("src/part.h", "#define PART 3\nint part(void);\n")
    let edited = try world.build(["main"], change)
    #expect(edited.ran.count == 4, "\(edited.ran)")
    #expect(try shell(world, "./out/main") == 1)
  }
}
