// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

/// Whatever becomes of the engine's own files, a build opens them and calls nothing fresh that is
/// not.
@Suite("Damaged state")
struct DamageTests {
  private static let cases = Int(getenv("QUENCH_FLIPS").map { String(cString: $0) } ?? "") ?? 600
  private static let seed = UInt64(getenv("QUENCH_SEED").map { String(cString: $0) } ?? "") ?? 1

  private static let manifest = """
    rule cc
      command = cat $in $$(cat $in.h) > $out; echo "$out: $$(cat $in.h)" > $out.d
      depfile = $out.d
      deps = gcc
    build o/b: cc a
    build o/c: cat o/b | d
    build o/e: cp d
    build o/y: cp h
    build all: phony o/c o/e o/y

    """

  /// A project that was built in two states and is at rest in the second one, with its state files.
  /// Of the header `h` only the log's end tells that `o/b` reads it.
  private func world() throws -> (world: World, state: [String: [UInt8]]) {
    let world = World(
      DamageTests.manifest,
      ["a": "1\n", "a.h": "k", "d": "x\n", "h": "h\n", "k": "k\n"])
    try world.build()
    world.write("a.h", "h")
    world.write("a", "2\n")
    try world.build()
    for _ in 0..<2 {
      usleep(40_000)
      #expect(try world.build().ran.isEmpty)
    }
    try #require(try Glance(world.options(), targets: []).nothingToDo != nil)
    var state: [String: [UInt8]] = [:]
    guard let directory = opendir(world.space.path(".quench")) else { return (world, [:]) }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard entry.pointee.d_type == UInt8(DT_REG), name != "lock", name != "last.json" else {
        continue
      }
      state[name] = world.space.read(".quench/\(name)")
    }
    try #require(Set(state.keys).isSuperset(of: ["log", "fresh", "graph"]))
    return (world, state)
  }

  /// Edges that are called fresh though they are not, by the answer to a question or by a build.
  private func wrong(_ world: World, stale: [String], asked: Bool) throws -> [String] {
    if try Glance(world.options(), targets: []).nothingToDo != nil { return stale }
    let found = asked ? try world.stale() : try world.build([]) { $0.dryRun = true }.ran
    return stale.filter { !found.contains($0) }
  }

  /// Writes a file of the state, if it is another one.
  private func place(_ name: String, _ bytes: [UInt8], in world: World) {
    let path = ".quench/\(name)"
    if world.space.read(path) != bytes { world.space.write(path, bytes) }
  }

  /// A certificate for the log that lies there now, as if nobody had written it since: what damages a
  /// disk leaves a file's times alone.
  private func signed(_ certificate: [UInt8], in world: World) throws -> [UInt8] {
    guard let log = try FileSystem(world.space.path).identity(".quench/log") else {
      return certificate
    }
    var out = certificate
    out.withUnsafeMutableBytes { bytes in
      let header = Certificate.Header.log
      bytes.storeBytes(of: log.inode, toByteOffset: header, as: UInt64.self)
      bytes.storeBytes(of: log.size, toByteOffset: header + 8, as: UInt64.self)
      bytes.storeBytes(of: log.changed, toByteOffset: header + 16, as: Int64.self)
      let check = Certificate.checksum(UnsafeRawBufferPointer(bytes))
      bytes.storeBytes(of: check, toByteOffset: Certificate.Header.checksum, as: UInt64.self)
    }
    return out
  }

  /// The ways in which the sources differ from what the state tells of.
  private static let changes: [(files: [String: String], stale: [String])] = [
    (["a": "3\n"], ["o/b", "o/c"]), (["a": "1\n"], ["o/b", "o/c"]), (["d": "y\n"], ["o/c", "o/e"]),
    (["h": "i\n"], ["o/b", "o/c", "o/y"]), (["o/b": "hand\n"], ["o/b"]),
  ]

  @Test("cut at every byte, each file alone: it opens, and nothing stale is called fresh")
  func cut() throws {
    let (world, state) = try world()
    let change = DamageTests.changes[1]
    for (name, text) in change.files { world.write(name, text) }
    for (name, bytes) in state.sorted(by: { $0.key < $1.key }) {
      // A long file is sampled, but for a long run.
      let step = bytes.count > 2048 && DamageTests.cases < 10_000 ? 97 : 1
      for length in stride(from: 0, to: bytes.count, by: step) {
        place(name, Array(bytes[..<length]), in: world)
        for notices in name == "log" ? [true, false] : [true] {
          if !notices { place("fresh", try signed(state["fresh"] ?? [], in: world), in: world) }
          for asked in [false, true] {
            #expect(
              try wrong(world, stale: change.stale, asked: asked).isEmpty,
              "\(name) cut at \(length)")
          }
        }
      }
      place(name, bytes, in: world)
      place("fresh", try signed(state["fresh"] ?? [], in: world), in: world)
    }
    #expect(try world.build().ran == ["o/b", "o/c"])
  }

  @Test("a log that lacks its last records behind a valid certificate: what is built is right")
  func lostRecords() throws {
    let log = try world().state["log"] ?? []
    // Each record has its length in its first four bytes and 16 bytes before its padded payload.
    var ends: [Int] = []
    var end = TraceLog.header.count
    while end + 16 <= log.count {
      let length = log[end..<end + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
      end += 16 + ((length + 7) & ~7)
      ends.append(end)
    }
    try #require(ends.last == log.count)
    for end in ends.suffix(16) {
      let (world, state) = try world()
      let log = state["log"] ?? []
      world.write("h", "i\n")
      place("log", Array(log[..<min(end, log.count)]), in: world)
      place("fresh", try signed(state["fresh"] ?? [], in: world), in: world)
      try world.build()
      #expect(world.text("o/c") == "2\ni\n", "cut at \(end) of \(log.count)")
    }
  }

  @Test("damaged at random, one file or several: they open, and nothing stale is called fresh")
  func random() throws {
    var dice = Dice(seed: DamageTests.seed)
    var made: (world: World, state: [String: [UInt8]])?
    var change = DamageTests.changes[0]
    for number in 0..<DamageTests.cases {
      if made == nil || number % 1000 == 0 {
        made = try world()
        change = DamageTests.changes[dice.roll(DamageTests.changes.count)]
        for (name, text) in change.files { made?.world.write(name, text) }
      }
      guard let (world, state) = made else { continue }
      var told = ""
      // The log before the certificate that tells of it.
      let names = state.keys.sorted().reversed()
      for (index, name) in names.enumerated() {
        var bytes = state[name] ?? []
        if name == "fresh", dice.roll(4) > 0 { bytes = try signed(bytes, in: world) }
        // One at least.
        if dice.roll(2) == 0 || (told.isEmpty && index == names.count - 1) {
          let kind = damage(&bytes, &dice)
          told += " \(name): \(kind)"
        }
        place(name, bytes, in: world)
      }
      let note: Comment = "seed \(DamageTests.seed), case \(number):\(told)"
      #expect(try wrong(world, stale: change.stale, asked: number % 2 == 0).isEmpty, note)
      guard number % 50 == 0 else { continue }
      // And the build itself: it ends, right, and the next one has nothing to do.
      #expect(try world.build().summary.exitCode == 0, note)
      #expect(world.text("o/c") == (world.text("a") ?? "") + (world.text("h") ?? ""), note)
      #expect(world.text("o/e") == world.text("d"), note)
      let again = try world.build()
      #expect(again.ran.isEmpty, "\(note) ran \(again.ran), because \(again.reasons)")
      made = nil
    }
  }

  /// Does something to a file. - Returns: what.
  private func damage(_ bytes: inout [UInt8], _ dice: inout Dice) -> String {
    guard !bytes.isEmpty else { return "empty" }
    let start = dice.roll(bytes.count)
    let end = min(bytes.count, start + 1 + dice.roll(64))
    switch dice.roll(8) {
    case 0, 1, 2:
      for _ in 0...dice.roll(4) { bytes[dice.roll(bytes.count)] ^= UInt8(1 << dice.roll(8)) }
      return "flipped"
    case 3:
      bytes.removeLast(bytes.count - start)
      return "cut at \(start)"
    case 4:
      for index in start..<end { bytes[index] = 0 }
      return "zeroed from \(start)"
    case 5:
      for index in start..<end { bytes[index] = UInt8(dice.roll(256)) }
      return "noise from \(start)"
    case 6:
      bytes.removeSubrange(start..<end)
      return "\(end - start) bytes lost at \(start)"
    default:
      bytes.insert(contentsOf: bytes[start..<end], at: start)
      return "\(end - start) bytes twice at \(start)"
    }
  }
}
