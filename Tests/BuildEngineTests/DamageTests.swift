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
      command = cat $in h > $out; echo '$out: h' > $out.d
      depfile = $out.d
      deps = gcc
    build o/b: cc a
    build o/c: cat o/b | d
    build o/e: cp d
    build all: phony o/c o/e

    """

  /// A project that was built in two states and is at rest in the second one, with its state files.
  private func world() throws -> (world: World, state: [String: [UInt8]]) {
    let world = World(DamageTests.manifest, ["a": "1\n", "d": "x\n", "h": "h\n"])
    try world.build()
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
    try #require(state.keys.contains("log") && state.keys.contains("fresh"))
    return (world, state)
  }

  /// Edges that are called fresh though they are not.
  private func wrong(_ world: World, stale: [String]) throws -> [String] {
    if try Glance(world.options(), targets: []).nothingToDo != nil { return stale }
    let found = try world.stale()
    return stale.filter { !found.contains($0) }
  }

  /// The ways in which the sources differ from what the state tells of.
  private static let changes: [(files: [String: String], stale: [String])] = [
    (["a": "3\n"], ["o/b", "o/c"]), (["a": "1\n"], ["o/b", "o/c"]), (["d": "y\n"], ["o/c", "o/e"]),
    (["h": "i\n"], ["o/b", "o/c"]), (["o/b": "hand\n"], ["o/b"]),
  ]

  @Test("cut at every byte, each file alone: it opens, and nothing stale is called fresh")
  func cut() throws {
    let (world, state) = try world()
    let change = DamageTests.changes[1]
    for (name, text) in change.files { world.write(name, text) }
    for (name, bytes) in state.sorted(by: { $0.key < $1.key }) {
      // A long file is sampled, but for a long run.
      let step = bytes.count > 8192 && DamageTests.cases < 10_000 ? 97 : 1
      for length in stride(from: 0, to: bytes.count, by: step) {
        world.space.write(".quench/\(name)", Array(bytes[..<length]))
        #expect(try wrong(world, stale: change.stale).isEmpty, "\(name) cut at \(length)")
      }
      world.space.write(".quench/\(name)", bytes)
    }
    #expect(try world.build().ran == ["o/b", "o/c"])
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
      let names = state.keys.sorted()
      for (index, name) in names.enumerated() {
        var bytes = state[name] ?? []
        // One at least.
        if dice.roll(2) == 0 || (told.isEmpty && index == names.count - 1) {
          let kind = damage(&bytes, &dice)
          told += " \(name): \(kind)"
        }
        world.space.write(".quench/\(name)", bytes)
      }
      let note: Comment = "seed \(DamageTests.seed), case \(number):\(told)"
      #expect(try wrong(world, stale: change.stale).isEmpty, note)
      guard number % 50 == 0 else { continue }
      // And the build itself: it ends, right, and the next one has nothing to do.
      #expect(try world.build().summary.exitCode == 0, note)
      #expect(world.text("o/c") == (world.text("a") ?? "") + (world.text("h") ?? ""), note)
      #expect(world.text("o/e") == world.text("d"), note)
      #expect(try world.build().ran.isEmpty, note)
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
