// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

@Suite("GNU make's jobserver")
struct JobserverTests {
  @Test(
    "MAKEFLAGS",
    arguments: [
      ("", Jobserver.Announcement.none), ("kns", .none), ("-j3", .none),
      (" -j3 --jobserver-auth=3,4", .pipe(read: 3, write: 4)),
      ("k -j --jobserver-fds=5,6", .pipe(read: 5, write: 6)),
      (" -j3 --jobserver-auth=fifo:/tmp/x", .fifo("/tmp/x")),
      (" --jobserver-auth=-2,-2", .none),
      (" --jobserver-auth=3,4 --jobserver-auth=fifo:y", .fifo("y")),
      ("kn --jobserver-auth=3,4", .none),
    ])
  func announcement(_ text: String, _ expected: Jobserver.Announcement) {
    #expect(Jobserver.announcement(text) == expected)
  }

  /// Builds eight sleeping edges under a fifo that holds `tokens`; the most that ran at once, and the
  /// tokens that are there afterwards.
  private func run(tokens: String, command: String) throws -> (most: Int, left: String) {
    let world = World()
    var text = "rule r\n  command = \(command)\n"
    for index in 0..<8 { text += "build o\(index): r\n" }
    world.write("build.ninja", text)
    let path = world.space.path("fifo")
    #expect(mkfifo(path, 0o600) == 0)
    let keeper = open(path, O_RDWR | O_NONBLOCK)
    defer { close(keeper) }
    var bytes = Array(tokens.utf8)
    #expect(write(keeper, &bytes, bytes.count) == bytes.count)
    world.environment["MAKEFLAGS"] = " -j --jobserver-auth=fifo:\(path)"
    var most = 0
    try world.build([]) {
      $0.usesJobserver = true
      $0.keepGoing = 0
    } during: { event, _ in
      if case .started(_, _, let counts) = event { most = max(most, counts.running) }
    }
    var left = [UInt8](repeating: 0, count: 64)
    let count = max(0, read(keeper, &left, left.count))
    return (most, String(decoding: left[..<count].sorted(), as: UTF8.self))
  }

  @Test("one command needs no token, each further one takes one and gives the same byte back")
  func tokens() throws {
    let two = try run(tokens: "ab", command: "sleep 0.05; touch $out")
    #expect(two.most == 3)
    #expect(two.left == "ab")
    let none = try run(tokens: "", command: "touch $out")
    #expect(none.most == 1)
  }

  @Test("tokens come back after failures too")
  func failures() throws {
    #expect(try run(tokens: "xyz", command: "sleep 0.02; false").left == "xyz")
  }

  @Test("a jobserver that cannot be reached is told, and the build goes on")
  func unreachable() throws {
    let world = World("build b: cp a\n", ["a": "1"])
    world.environment["MAKEFLAGS"] = " --jobserver-auth=fifo:/nonexistent"
    let outcome = try world.build([]) { $0.usesJobserver = true }
    #expect(outcome.ran == ["b"])
    #expect(outcome.warnings.contains { $0.contains("jobserver") })
  }
}
