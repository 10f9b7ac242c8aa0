// SPDX-License-Identifier: Apache-2.0
// Quench beside ninja, CMake and itself.

import Foundation
import TestSupport
import Testing

@Suite(
  "Beside other tools", .enabled(if: Project.hasBinary, "the binary quench is not built"))
struct NeighboursTests {
  static func tool(_ name: String) -> String? {
    ["/usr/bin/\(name)", "/usr/local/bin/\(name)", "/bin/\(name)"]
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  @Test(
    "export ninja builds with ninja to the same bytes",
    .enabled(if: tool("ninja") != nil, "ninja is not installed"),
    .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
  func exported() throws {
    let ours = try Project()
    #expect(try ours.quench("build").status == 0)
    let theirs = try Project()
    let export = try theirs.quench("export", "ninja", "-o", "exported.ninja")
    #expect(export.status == 0, "\(export.errors)")
    let path = URL(fileURLWithPath: Project.binary).deletingLastPathComponent().path
    let run = try theirs.run(
      try #require(Self.tool("ninja")), ["-f", "exported.ninja"],
      environment: ["PATH": "\(path):/usr/bin:/bin"])
    #expect(run.status == 0, "\(run.output)\(run.errors)")
    for file in ["release.tar.zst", "tiny/tiny.om", "tiny/scales.json", "tiny/report.html"] {
      #expect(ours.space.read("build/\(file)") != nil)
      #expect(ours.space.read("build/\(file)") == theirs.space.read("build/\(file)"), "\(file)")
    }
  }

  @Test(
    "a small CMake project builds with quench build -f build.ninja",
    .enabled(if: tool("cmake") != nil && tool("cc") != nil, "cmake or cc is not installed"),
    .enabled(if: tool("ninja") != nil, "cmake's generator asks for ninja"))
  func cmake() throws {
    let project = try Project()
    project.space.write(
      "c/CMakeLists.txt",
      """
      cmake_minimum_required(VERSION 3.13)
      project(small C)
      add_library(part STATIC part.c)
      add_executable(whole whole.c)
      target_link_libraries(whole part)
      """)
    project.space.write("c/part.h", "int part(void);\n")
    project.space.write("c/part.c", "#include \"part.h\"\nint part(void) { return 42; }\n")
    project.space.write(
      "c/whole.c", "#include \"part.h\"\nint main(void) { return part() == 42 ? 0 : 1; }\n")
    let configured = try project.run(
      try #require(Self.tool("cmake")), ["-G", "Ninja", "-S", "c", "-B", "out"])
    try #require(configured.status == 0, "\(configured.output)\(configured.errors)")
    let run = try project.quench("build", "-C", "out", "-f", "build.ninja")
    #expect(run.status == 0, "\(run.output)\(run.errors)")
    #expect(try project.run(project.space.path("out/whole"), []).status == 0)
    let again = try project.quench("build", "-C", "out", "-f", "build.ninja")
    #expect((again.output + again.errors).contains("nothing to do"), "\(again.output)")
    // A header known only through the compiler's depfile.
    project.space.write("c/part.h", "int part(void);\nint other(void);\n")
    let changed = try project.quench("build", "-C", "out", "-f", "build.ninja")
    #expect(changed.status == 0 && changed.output.contains("part.c"), "\(changed.output)")
  }

  @Test("two builds in one directory: the second waits, says so, and has nothing to do")
  func two() throws {
    let project = try Project()
    project.space.write(
      "build.ninja",
      """
      rule slow
        command = cat $in > $out && sleep 2
      build out: slow quench.yaml

      """)
    let first = try project.start("build", "-f", "build.ninja")
    try WatchTests.wait("the command's start") { project.space.read("out") != nil }
    let second = try project.quench("build", "-f", "build.ninja")
    #expect(try Child.wait(first) == 0)
    #expect(second.status == 0)
    #expect(second.errors.contains("waiting for another build"), "\(second.errors)")
    #expect(second.output.contains("nothing to do"), "\(second.output)")
  }

  @Test(
    "bundles from two directories, time zones, locales and umasks are the same bytes",
    .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
  func reproducible() throws {
    let here = try Project()
    #expect(try here.quench("build").status == 0)
    let there = try Project()
    let run = try there.run(
      "/bin/sh", ["-c", "umask 077; exec \"$0\" build -j1", Project.binary],
      environment: ["TZ": "Pacific/Chatham", "LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE.UTF-8"])
    #expect(run.status == 0, "\(run.errors)")
    #expect(here.space.read("build/release.tar.zst") != nil)
    #expect(here.space.read("build/release.tar.zst") == there.space.read("build/release.tar.zst"))
  }

  @Test("what init writes builds", .enabled(if: Project.hasRuntime, "ONNX Runtime is not here"))
  func initialise() throws {
    let project = try Project()
    try FileManager.default.removeItem(atPath: project.space.path("quench.yaml"))
    let made = try project.quench("init", "--model", "tiny.onnx", "--images", "images/calibration")
    #expect(made.status == 0, "\(made.errors)")
    let run = try project.quench("build")
    #expect(run.status == 0, "\(run.errors)")
    #expect(try project.quench("verify", "build/release.tar.zst").status == 0)
    #expect(try project.quench("init", "--model", "tiny.onnx", "--images", "images").status == 64)
  }

  /// An OM file that another compiler wrote, from the data beside the repository.
  static let deviceOM =
    (ProcessInfo.processInfo.environment["QUENCH_SHARED"] ?? "\(Project.root)/../shared")
    + "/data/om/hiai_ir_conv_weights.om"

  @Test(
    "a build with atc (a stand-in) calls it, judges the QDQ model in the OM's place, and ships",
    .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"),
    .enabled(
      if: FileManager.default.fileExists(atPath: deviceOM), "the OM samples are not here"))
  func standInForATC() throws {
    let project = try Project()
    project.space.write(
      "quench.yaml",
      Project.recipe.replacing("compiler: host", with: "compiler: auto").replacing(
        "allowHostModels: true", with: "allowHostModels: false"))
    let environment = [
      "QUENCH_ATC": "\(Project.root)/Tests/CompilationTests/Golden/atc",
      "FAKE_ATC_RECORD": project.space.path("record"), "FAKE_ATC_OM": Self.deviceOM,
    ]
    let run = try project.quench("build", environment: environment)
    #expect(run.status == 0, "\(run.output)\(run.errors)")
    let record = project.space.text("record") ?? ""
    #expect(record.contains("--soc_version=Ascend310P3"), "\(record)")
    #expect(record.contains("model.deploy.onnx"), "\(record)")
    #expect(run.output.contains("the QDQ model it was made with was simulated"), "\(run.output)")
    #expect(run.errors.contains("W11001"), "a warning of the tool is not lost: \(run.errors)")
    #expect(try project.quench("build", environment: environment).ran.isEmpty)
    // The compiler is gone: the manifest notices, and the host's work may not be shipped.
    let without = try project.quench("build")
    #expect(without.status == 2, "\(without.output)\(without.errors)")
    #expect(without.errors.contains("allowHostModels"), "\(without.errors)")
    #expect(project.space.read("build/release.tar.zst") != nil)
  }
}
