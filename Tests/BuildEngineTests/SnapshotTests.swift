// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

/// How many damaged files the tests try, and how they are chosen.
private let cases = Int(getenv("QUENCH_FLIPS").map { String(cString: $0) } ?? "") ?? 200
private let seed = UInt64(getenv("QUENCH_SEED").map { String(cString: $0) } ?? "") ?? 1

@Suite("The snapshot of graph and log")
struct SnapshotTests {
  private static let path = ".quench/graph"
  private static let manifest = """
    pool few
      depth = 2
    flags = -x
    rule cc
      command = cat $in $$(cat $in.h) > $out; echo "$out: $$(cat $in.h)" > $out.d; : $flags
      description = CC $out
      depfile = $out.d
      deps = gcc
      pool = few
    include more.ninja
    build o/a: cc a
      flags = $flags -y
    build o/b: cc b
    build all: cat o/a o/b | m
    default all

    """

  private func world() throws -> World {
    let world = World()
    world.write("build.ninja", World.rules + SnapshotTests.manifest)
    world.write("more.ninja", "build m: cp n\n")
    for (name, text) in [
      "a": "a\n", "b": "b\n", "n": "n\n", "a.h": "h", "b.h": "h k", "h": "1\n", "k": "1\n",
    ] {
      world.write(name, text)
    }
    try world.build()
    usleep(30_000)
    #expect(try world.build().ran.isEmpty)
    try #require(snapshot(world) != nil)
    return world
  }

  private func snapshot(_ world: World) throws -> Snapshot? {
    Snapshot(world.options(), files: try FileSystem(world.space.path))
  }

  /// Changes a file, builds, and compares with what must come of it.
  private func change(_ world: World, _ number: Int, _ note: Comment? = nil) throws {
    let name = ["a", "h", "k", "n"][number % 4]
    world.write(name, "\(name)\(number)\n")
    let expected: Set<String> =
      switch name {
      case "a": ["o/a", "all"]
      case "h": ["o/a", "o/b", "all"]
      case "k": ["o/b", "all"]
      default: ["m", "all"]
      }
    let outcome = try world.build()
    // A file that is no input in the end wakes nobody behind it: m is read by nobody's command.
    #expect(Set(outcome.ran) == expected, note)
    let text = { (name: String) in world.text(name) ?? "" }
    #expect(world.text("o/a") == text("a") + text("h"), note)
    #expect(world.text("o/b") == text("b") + text("h") + text("k"), note)
    #expect(world.text("all") == text("o/a") + text("o/b"), note)
    #expect(world.text("m") == text("n"), note)
    #expect(try world.build().ran.isEmpty, note)
  }

  @Test("the graph read back is the one that was parsed")
  func same() throws {
    let world = try world()
    let snapshot = try #require(try snapshot(world))
    let paths = try #require(PathTable(snapshot))
    let read = try #require(Graph(snapshot, paths: paths))
    let parsed = try Parser.parse(
      "build.ninja", files: try FileSystem(world.space.path), paths: PathTable())
    #expect(read.edgeCount == parsed.edgeCount)
    func names(_ graph: Graph, _ nodes: ColumnSlice<Int32>) -> [String] {
      nodes.map { graph.paths.string($0) }
    }
    for edge in 0..<Int32(parsed.edgeCount) {
      #expect(names(read, read.outputs(edge)) == names(parsed, parsed.outputs(edge)))
      #expect(names(read, read.inputs(edge)) == names(parsed, parsed.inputs(edge)))
      for key in RuleKey.allCases {
        #expect(try read.string(key, of: edge) == parsed.string(key, of: edge))
      }
      #expect(read.poolOf[Int(edge)] == parsed.poolOf[Int(edge)])
      #expect(read.producer(read.firstOutput(edge)) == edge)
    }
    #expect(read.pools.map(\.depth) == parsed.pools.map(\.depth))
    #expect(read.defaults.map { paths.string($0) } == ["all"])
    #expect(read.sources.map(\.path) == ["build.ninja", "more.ninja"])
  }

  @Test("places and questions work from a snapshot as from the text")
  func places() throws {
    let world = try world()
    let build = try Build(world.options())
    try #require(build.graph.origin != 0)
    #expect("\(build.graph.place(1))".hasPrefix("build.ninja:"))
    #expect(try build.status().allSatisfy { $0.reason == nil })
    #expect(try build.edges().count == 4)
    world.write("h", "2\n")
    #expect(try Build(world.options()).why("all").first?.text.contains("h changed") == true)
  }

  @Test("many changes one after the other, most of them from the log's end")
  func many() throws {
    let world = try world()
    for number in 0..<24 { try change(world, number, "change \(number)") }
  }

  @Test("one build object that runs again and again sees what happens between")
  func again() throws {
    let world = try world()
    let build = try Build(world.options())
    for number in 0..<8 {
      world.write("a", "\(number)\n")
      var ran: [String] = []
      _ = try build.run { if case .started(let info, _, _) = $0 { ran.append(info.output) } }
      #expect(ran == ["o/a", "all"])
      if number == 4 {
        world.write("more.ninja", "build m: cp k\n")
        _ = try build.run { _ in }
        #expect(world.text("m") == world.text("k"))
      }
    }
  }

  @Test("cut anywhere it is not believed, and the build is right")
  func truncated() throws {
    let world = try world()
    var state = seed
    for number in 0..<cases {
      let whole = try #require(world.space.read(SnapshotTests.path))
      let length = number < 64 ? number * 31 : roll(&state, whole.count)
      world.space.write(SnapshotTests.path, Array(whole[..<length]))
      #expect(try snapshot(world) == nil)
      try change(world, number, "cut at \(length), seed \(seed)")
    }
  }

  @Test("with bytes flipped it is not believed where they count, and the build is right")
  func flipped() throws {
    let world = try world()
    var state = seed
    for number in 0..<cases {
      var bytes = try #require(world.space.read(SnapshotTests.path))
      let used = Snapshot.headerSize + Snapshot.Section.allCases.count * Snapshot.entrySize
      for _ in 0...roll(&state, 3) {
        let limit = roll(&state, 3) == 0 ? used : bytes.count
        bytes[roll(&state, limit)] ^= UInt8(1 << roll(&state, 8))
      }
      world.space.write(SnapshotTests.path, bytes)
      try change(world, number, "seed \(seed), case \(number)")
    }
  }

  private func roll(_ state: inout UInt64, _ limit: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % limit
  }

  @Test("another version, another option or another manifest is not the same graph")
  func foreign() throws {
    let world = try world()
    var bytes = try #require(world.space.read(SnapshotTests.path))
    bytes[8] += 1
    world.space.write(SnapshotTests.path, bytes)
    #expect(try snapshot(world) == nil)
    try change(world, 1)
    let files = try FileSystem(world.space.path)
    #expect(Snapshot(world.options(), files: files)?.isCurrent == true)
    #expect(
      Snapshot(world.options { $0.refusesSelfReference = true }, files: files)?.isCurrent == false)
    #expect(
      Snapshot(world.options { $0.manifest = "more.ninja" }, files: files)?.isCurrent == false)
    world.write("more.ninja", "build m: cp k\n")
    #expect(Snapshot(world.options(), files: files)?.isCurrent == false)
    #expect(try world.build().ran.first == "m")
    #expect(world.text("m") == world.text("k"))
    #expect(Snapshot(world.options(), files: files)?.isCurrent == true)
  }

  @Test("a manifest that is edited while a build runs is read by the next one")
  func edited() throws {
    let world = try world()
    world.write("a", "2\n")
    try world.build(
      [],
      during: { event, _ in
        guard case .started(let info, _, _) = event, info.output == "o/a" else { return }
        world.write("more.ninja", "build m: cp k\n")
      })
    #expect(try world.build().ran == ["m", "all"])
    #expect(world.text("m") == world.text("k"))
    #expect(try world.build().ran.isEmpty)
  }

  @Test("a log that was replaced, cut or grew without a certificate is read in full")
  func otherLog() throws {
    let world = try world()
    for number in 0..<6 {
      let log = try #require(world.space.read(".quench/log"))
      switch number % 3 {
      case 0: world.space.write(".quench/log", Array(log.dropLast(40)))
      case 1: unlink(world.space.path(".quench/log"))
      default: world.space.write(".quench/log", log + [1, 2, 3, 4, 5, 6, 7, 8])
      }
      world.write("h", "\(number) more\n")
      let ran = Set(try world.build().ran)
      #expect(ran.isSuperset(of: ["o/a", "o/b", "all"]))
      #expect(world.text("o/b") == "b\n\(number) more\n1\n")
      #expect(try world.build().ran.isEmpty)
    }
  }
}
