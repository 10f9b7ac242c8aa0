// SPDX-License-Identifier: Apache-2.0

import BuildEngine
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("The local cache")
struct CacheTests {
  private func cached(_ options: inout BuildOptions) { options.cache = .on(limit: nil) }

  @Test("reverting a change restores without running")
  func revert() throws {
    let world = World("build b: cp a\nbuild c: cp b\n", ["a": "1"])
    try world.build([], cached)
    world.write("a", "2")
    #expect(try world.build([], cached).ran == ["b", "c"])
    world.write("a", "1")
    let back = try world.build([], cached)
    #expect(back.ran.isEmpty)
    #expect(back.summary.restored == 2)
    #expect(world.text("c") == "1")
    #expect(try world.build([], cached).summary.isNothingToDo)
  }

  @Test("a build without a log takes everything from the cache, with modes and what was printed")
  func clean() throws {
    let world = World()
    world.write(
      "build.ninja",
      "rule r\n  command = cp a b && chmod 755 b && echo made\nbuild b: r a\n")
    world.write("a", "1")
    try world.build([], cached)
    world.remove("b")
    world.remove(".quench/log")
    var printed = ""
    let back = try world.build([], cached) { event, _ in
      if case .restored(_, _, let output, _) = event {
        printed = String(decoding: output, as: UTF8.self)
      }
    }
    #expect(back.summary.restored == 1)
    #expect(printed == "made\n")
    #expect(access(world.space.path("b"), X_OK) == 0)
  }

  @Test("discovered inputs are part of what must be equal")
  func discovered() throws {
    let world = World()
    world.write(
      "build.ninja",
      "rule r\n  command = cat $in h > $out; echo '$out: h' > $out.d\n  depfile = $out.d\n"
        + "  deps = gcc\nbuild o: r c\n")
    world.write("c", "c")
    world.write("h", "1")
    try world.build([], cached)
    world.write("h", "2")
    #expect(try world.build([], cached).ran == ["o"])
    world.write("h", "1")
    let back = try world.build([], cached)
    #expect(back.ran.isEmpty && back.summary.restored == 1)
    #expect(world.text("o") == "c1")
    world.write("h", "3")
    #expect(try world.build([], cached).ran == ["o"])
    #expect(world.text("o") == "c3")
  }

  @Test("an output that is changed in place does not change the cache")
  func hardLinks() throws {
    let world = World("build b: cp a\n", ["a": "1"])
    try world.build([], cached)
    world.write("b", "by hand")
    let back = try world.build([], cached)
    #expect(back.summary.restored == 1)
    #expect(world.text("b") == "1")
    world.write("b", "again")
    #expect(try world.build([], cached).summary.restored == 1)
    #expect(world.text("b") == "1")
  }

  @Test("damaged contents and entries are noticed, and the command runs")
  func damage() throws {
    let world = World("build b: cp a\n", ["a": "1"])
    try world.build([], cached)
    let files = try #require(
      try? Child.run(
        "/bin/sh",
        [
          "-c",
          "for f in $(find .quench/cache/b -type f); do chmod 644 $f; echo x > $f; done",
        ], in: world.space.path, environment: [:], output: "/dev/null", errors: "/dev/null"))
    #expect(files == 0)
    world.remove("b")
    #expect(try world.build([], cached).ran == ["b"])
    #expect(world.text("b") == "1")
    _ = try Child.run(
      "/bin/sh", ["-c", "for f in $(find .quench/cache/k -type f); do echo x > $f; done"],
      in: world.space.path, environment: [:], output: "/dev/null", errors: "/dev/null")
    world.remove("b")
    #expect(try world.build([], cached).ran == ["b"])
  }

  @Test("the least recently used goes when the limit is exceeded")
  func limit() throws {
    let world = World("build b: cp a\n", ["a": String(repeating: "0", count: 4000)])
    for digit in 1...9 {
      world.write("a", String(repeating: "\(digit)", count: 4000))
      try world.build([]) { $0.cache = .on(limit: 20_000) }
    }
    func restores(_ digit: Int) throws -> Bool {
      world.write("a", String(repeating: "\(digit)", count: 4000))
      return try world.build([]) { $0.cache = .on(limit: 20_000) }.summary.restored == 1
    }
    #expect(try restores(8))
    #expect(try !restores(1))
  }

  @Test("generators, console edges and editable outputs are never cached")
  func excluded() throws {
    let world = World(
      "build b: cp a\n  keep_edits = 1\nbuild c: cp a\n  generator = 1\nbuild d: cp a\n"
        + "  pool = console\n", ["a": "1"])
    try world.build([], cached)
    #expect(!world.exists(".quench/cache"))
  }

  @Test("manifest, environment and option switch it, the last one first")
  func switches() throws {
    let world = World("quench_cache = 1G\nbuild b: cp a\n", ["a": "1"])
    try world.build()
    #expect(world.exists(".quench/cache"))
    world.environment["QUENCH_CACHE"] = "off"
    world.remove("b")
    #expect(try world.build().ran == ["b"])
    world.remove("b")
    #expect(try world.build([], cached).summary.restored == 1)
    world.environment["QUENCH_CACHE"] = "lots"
    #expect(message { () throws(QuenchError) in try world.build() }?.contains("cache size") == true)
  }
}
