// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

@Suite("The trace log")
struct TraceLogTests {
  /// A world whose log tells of two different states of `a`.
  private func world() throws -> (World, [UInt8]) {
    let world = World("build b: cp a\nbuild c: cp b | d\n", ["a": "1\n", "d": "x\n"])
    try world.build()
    world.write("a", "2\n")
    try world.build()
    let log = try #require(world.space.read(".quench/log"))
    return (world, log)
  }

  /// Whether everything that `status` calls fresh is.
  private func isNeverWrong(_ world: World, stale: [String]) throws -> Bool {
    let found = try world.stale()
    return stale.allSatisfy { found.contains($0) }
  }

  @Test("cut at every byte it opens, and nothing stale is called fresh")
  func truncated() throws {
    let (world, log) = try world()
    for length in 0..<log.count {
      world.space.write(".quench/log", Array(log[..<length]))
      // Nothing changed: any answer is right, as long as there is one.
      _ = try world.stale()
    }
    world.write("a", "3\n")
    for length in 0...log.count {
      world.space.write(".quench/log", Array(log[..<length]))
      #expect(try isNeverWrong(world, stale: ["b", "c"]), "cut at \(length)")
    }
    // The first state of the input with the outputs of the second.
    world.write("a", "1\n")
    for length in 0...log.count {
      world.space.write(".quench/log", Array(log[..<length]))
      #expect(try isNeverWrong(world, stale: ["b", "c"]), "cut at \(length)")
    }
  }

  @Test("with any byte flipped it opens, and nothing stale is called fresh")
  func flipped() throws {
    let (world, log) = try world()
    world.write("a", "1\n")
    for index in log.indices {
      var damaged = log
      damaged[index] ^= UInt8(1 << (index % 8))
      world.space.write(".quench/log", damaged)
      #expect(try isNeverWrong(world, stale: ["b", "c"]), "flipped at \(index)")
    }
  }

  @Test("a torn tail is cut off, reported, and built anew")
  func torn() throws {
    let (world, log) = try world()
    world.space.write(".quench/log", Array(log.dropLast(5)))
    let outcome = try world.build()
    #expect(outcome.warnings.contains { $0.hasPrefix("the build log was damaged") })
    #expect(try world.build().summary.isNothingToDo)
  }

  @Test("garbage behind the records is cut off without harm")
  func garbage() throws {
    let (world, log) = try world()
    world.space.write(".quench/log", log + [1, 2, 3])
    #expect(try world.build().ran.isEmpty)
    #expect(try world.build().warnings.isEmpty)
  }

  @Test("a log of another version is put aside and everything is built anew")
  func foreign() throws {
    let (world, log) = try world()
    var other = log
    other[8] = 99
    world.space.write(".quench/log", other)
    let outcome = try world.build()
    #expect(outcome.ran == ["b", "c"])
    #expect(outcome.warnings == ["the build log is of another version; everything is built anew"])
    #expect(world.space.read(".quench/log.old") == other)
  }

  @Test("a null build writes nothing")
  func quiet() throws {
    let (world, _) = try world()
    usleep(30_000)
    try world.build()
    let log = world.space.read(".quench/log")
    try world.build()
    #expect(world.space.read(".quench/log") == log)
  }

  @Test("compaction keeps all that counts")
  func compaction() throws {
    let (world, log) = try world()
    for text in ["3\n", "4\n", "5\n"] {
      world.write("a", text)
      try world.build()
    }
    let long = try #require(world.space.read(".quench/log"))
    let files = try FileSystem(world.space.path)
    let trace = TraceLog(".quench/log", files: files, paths: PathTable())
    try trace.load()
    try trace.openForWriting()
    try trace.compact()
    let short = try #require(world.space.read(".quench/log"))
    #expect(short.count < long.count)
    #expect(log.count > 0)
    #expect(try world.stale().isEmpty)
    #expect(try world.build().ran.isEmpty)
    world.write("a", "6\n")
    #expect(try world.build().ran == ["b", "c"])
  }

  @Test("a log that is no file is refused, whatever it is")
  func noFile() throws {
    let world = World("build b: cp a\n", ["a": "1\n"])
    mkdir(world.space.path(".quench"), 0o755)
    symlink("/dev/zero", world.space.path(".quench/log"))
    let text = message { () throws(QuenchError) in try world.build() }
    #expect(text?.hasPrefix("the build log \".quench/log\" is not a file") == true)
  }

  @Test(
    "a directory that cannot be written to is told", .enabled(if: geteuid() != 0, "not as root"))
  func readOnly() throws {
    let world = World("build b: cp a\n", ["a": "1\n"])
    chmod(world.space.path, 0o555)
    defer { chmod(world.space.path, 0o755) }
    let text = message { () throws(QuenchError) in try world.build() }
    #expect(text?.contains("Permission denied") == true)
  }
}
