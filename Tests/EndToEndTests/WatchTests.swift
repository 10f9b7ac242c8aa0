// SPDX-License-Identifier: Apache-2.0
// `quench watch` with real files, a real kernel and a real Ctrl-C.

import Foundation
import Glibc
import TestSupport
import Testing

@Suite(
  "Watching",
  .enabled(if: Project.hasBinary, "the binary quench is not built"),
  .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
struct WatchTests {
  /// Waits for a condition; watch answers in milliseconds, a loaded machine may take longer.
  static func wait(_ what: String, until condition: () -> Bool) throws {
    for _ in 0..<1200 {
      if condition() { return }
      usleep(50_000)
    }
    Issue.record("nothing happened: \(what)")
    throw CancellationError()
  }

  @Test(
    "it builds, builds again what a new image touches, survives a bad recipe, and ends on SIGINT")
  func day() throws {
    let project = try Project()
    let log = project.space.path("watch.log")
    let child = try Child.start(
      Project.binary, ["watch"], in: project.path, environment: project.environment(),
      output: log, errors: log)
    defer { kill(child, SIGKILL) }
    func text() -> String { project.space.text("watch.log") ?? "" }
    func count(_ part: String) -> Int { text().components(separatedBy: part).count - 1 }

    try Self.wait("the first build") { count("watching") == 1 }
    #expect(project.space.read("build/release.tar.zst") != nil)

    project.addImage("calibration/fresh.png", seed: 99)
    try Self.wait("the build of the new image") { text().contains(", 1 image\n") }
    try Self.wait("its end") { count("watching") >= 2 }

    let before = count("watching")
    project.space.write("quench.yaml", Project.recipe + "oops: 1\n")
    try Self.wait("the complaint") { text().contains("unknown key \"oops\"") }
    project.space.write("quench.yaml", Project.recipe)
    try Self.wait("the recovery") { count("watching") >= before + 1 }

    try FileManager.default.removeItem(atPath: project.space.path("images/calibration/0000.png"))
    try Self.wait("the build without an image") { text().contains("31 images") }

    kill(child, SIGINT)
    #expect(try Child.wait(child) == 130)
  }

  @Test("commands get none of the watcher's descriptors")
  func descriptors() throws {
    let engine = EngineSpace(
      "rule r\n  command = ls /proc/self/fd > fds; cat $in > $out\nbuild o: r a\n", ["a": "1\n"])
    let log = engine.space.path("watch.log")
    // Other tests of this process have files open at the time: the watcher starts without them.
    let bare = """
      for place in /proc/self/fd/*; do
        number=${place##*/}
        if [ $number -gt 2 ]; then eval "exec $number>&-"; fi
      done
      exec \(Project.binary) watch -f build.ninja
      """
    let child = try Child.start(
      "/bin/bash", ["-c", bare], in: engine.space.path, environment: [:], output: log, errors: log)
    defer { kill(child, SIGKILL) }
    try Self.wait("the first build") {
      engine.space.text("watch.log")?.contains("watching") == true
    }
    // The last one is the directory that ls reads.
    #expect(engine.space.text("fds") == "0\n1\n2\n3\n")
    kill(child, SIGINT)
    #expect(try Child.wait(child) == 130)
  }
}
