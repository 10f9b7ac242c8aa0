// SPDX-License-Identifier: Apache-2.0
// What the system refuses: space, permission, and files that change under a running stage.

import Foundation
import Glibc
import ONNXModel
import TestSupport
import Testing

@Suite(
  "When the system says no", .enabled(if: Project.hasBinary, "the binary quench is not built"))
struct SystemTests {
  static let isRoot = geteuid() == 0

  /// Whether this process may mount; containers often may not, even as root.
  static let canMount: Bool = {
    guard isRoot else { return false }
    let space = TemporarySpace()
    guard mount("none", space.path, "tmpfs", 0, "size=64k") == 0 else { return false }
    umount(space.path)
    return true
  }()

  @Test(
    "a full disk: the message names file and reason, the old bundle stays, nothing is half-written",
    .enabled(if: canMount, "mounting a small tmpfs needs root"),
    .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
  func fullDisk() throws {
    let project = try Project()
    for folder in ["build", ".quench"] {
      try FileManager.default.createDirectory(
        atPath: project.space.path(folder), withIntermediateDirectories: true)
    }
    let build = project.space.path("build")
    try #require(mount("none", build, "tmpfs", 0, "size=256k") == 0)
    defer { umount(build) }
    let first = try project.quench("build")
    try #require(first.status == 0, "\(first.output)\(first.errors)")
    let bundle = project.space.read("build/release.tar.zst")
    // What is left is filled, then everything has to be made anew.
    _ = try project.run("/bin/sh", ["-c", "cat /dev/zero > build/filler 2> /dev/null; true"])
    try project.space.write("tiny.onnx", Project.network(seed: 2).encode())
    let run = try project.quench("build")
    #expect(run.status == 1, "\(run.errors)")
    #expect((run.output + run.errors).contains("No space left on device"), "\(run.errors)")
    #expect(project.space.read("build/release.tar.zst") == bundle)
    let leftovers = try FileManager.default.subpathsOfDirectory(atPath: build)
      .filter { $0.contains(".tmp") }
    #expect(leftovers.isEmpty, "\(leftovers)")
    unlink(project.space.path("build/filler"))
    #expect(try project.quench("build").status == 0)
  }

  @Test(
    "no write permission, as an ordinary user",
    .enabled(if: isRoot, "running as another user needs root; as a user the next test serves"),
    .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/setpriv"), "no setpriv"))
  func noPermission() throws {
    let project = try Project()
    // The binary and the project must be readable for the other user; nothing is writable.
    let copy = project.space.path("bin")
    try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
    _ = try project.run("/bin/cp", [Project.binary, "\(copy)/quench"])
    _ = try project.run("/bin/sh", ["-c", "chmod -R a+rX . && chmod 755 ."])
    let run = try project.run(
      "/usr/bin/setpriv",
      ["--reuid=65534", "--regid=65534", "--clear-groups", "\(copy)/quench", "build"])
    #expect(run.status == 1, "\(run.output)\(run.errors)")
    #expect(run.errors.contains("Permission denied"), "\(run.errors)")
    #expect(run.errors.contains(".quench"), "\(run.errors)")
  }

  @Test("an input edited while its command runs is not recorded as fresh")
  func editedDuringRun() throws {
    let project = try Project()
    project.space.write(
      "build.ninja",
      """
      rule slow
        command = cat $in > $out && sleep 2
      build out: slow in

      """)
    project.space.write("in", "first\n")
    let running = try project.start("build", "-f", "build.ninja")
    try WatchTests.wait("the command's start") { project.space.text("out") == "first\n" }
    project.space.write("in", "second\n")
    #expect(try Child.wait(running) == 0)
    let why = try project.quench("why", "-f", "build.ninja", "out")
    #expect(why.output.contains("changed while the last run read it"), "\(why.output)")
    let again = try project.quench("build", "-f", "build.ninja")
    #expect(again.output.contains("[1/1]"), "\(again.output)")
    #expect(project.space.text("out") == "second\n")
    #expect(try project.quench("build", "-f", "build.ninja").output.contains("nothing to do"))
  }
}
