// SPDX-License-Identifier: Apache-2.0

import BuildEngine
import Diagnostics
import Glibc
import TestSupport
import Testing

/// A small generator whose numbers are the same on every machine.
private struct Dice {
  var state: UInt64
  mutating func roll(_ sides: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(sides))
  }
}

/// A graph of joins over sources, and what its outputs must hold.
private struct RandomProject {
  var sources: [Int: String] = [:]
  /// Inputs of edge i: below 100 sources, from 100 on edges.
  var edges: [Int: [Int]] = [:]
  /// Edges whose result is only the first line of their inputs.
  var cutting: Set<Int> = []
  var options: [Int: Int] = [:]

  func name(_ id: Int) -> String { id < 100 ? "s\(id)" : "o/e\(id)" }

  var manifest: String {
    var text = """
      rule join
        command = (echo $option; cat $in) > $out
      rule cut
        command = cat $in | head -n 1 > $out

      """
    for (edge, inputs) in edges.sorted(by: { $0.key < $1.key }) {
      let rule = cutting.contains(edge) ? "cut" : "join"
      text += "build \(name(edge)): \(rule) \(inputs.map(name).joined(separator: " "))\n"
      text += "  option = \(options[edge] ?? 0)\n"
    }
    return text
  }

  func expected(_ id: Int) -> String {
    guard id >= 100 else { return sources[id] ?? "" }
    let joined = (edges[id] ?? []).map(expected).joined()
    guard cutting.contains(id) else { return "\(options[id] ?? 0)\n" + joined }
    return joined.split(separator: "\n", omittingEmptySubsequences: false).first.map { $0 + "\n" }
      ?? ""
  }
}

@Suite("Random projects, random changes")
struct RandomTests {
  private static let rounds = Int(getenv("QUENCH_ROUNDS").map { String(cString: $0) } ?? "") ?? 60
  private static let seed = UInt64(getenv("QUENCH_SEED").map { String(cString: $0) } ?? "") ?? 1

  @Test("after every change the result is that of a build from scratch, and a second build is null")
  func rounds() throws {
    var dice = Dice(state: RandomTests.seed)
    var project = RandomProject()
    for source in 0..<5 { project.sources[source] = "\(source)\n" }
    for edge in 100..<108 {
      project.edges[edge] = (0..<(1 + dice.roll(3))).map { _ in
        let pick = dice.roll(edge - 100 + 5)
        return pick < 5 ? pick : pick - 5 + 100
      }
      if dice.roll(4) == 0 { project.cutting.insert(edge) }
    }
    let world = World()
    for (source, text) in project.sources { world.write("s\(source)", text) }
    for round in 0..<RandomTests.rounds {
      change(world, &project, &dice)
      world.write("build.ninja", project.manifest)
      let usesCache = dice.roll(2) == 0
      let outcome = try world.build([]) {
        $0.jobs = 1 + dice.roll(3)
        $0.cache = usesCache ? .on(limit: nil) : .off
      }
      let note: Comment = "seed \(RandomTests.seed), round \(round)"
      #expect(outcome.summary.exitCode == 0, note)
      for edge in project.edges.keys {
        #expect(world.text(project.name(edge)) == project.expected(edge), note)
      }
      #expect(try world.build().ran.isEmpty, note)
    }
  }

  private func change(_ world: World, _ project: inout RandomProject, _ dice: inout Dice) {
    let source = dice.roll(5)
    let edge = 100 + dice.roll(8)
    switch dice.roll(10) {
    case 0, 1:
      project.sources[source] = "\(dice.roll(3))\n"
      world.write("s\(source)", project.sources[source] ?? "")
    case 2: world.touch("s\(source)", secondsFromNow: dice.roll(20) - 10)
    case 3:
      // Other content under an old time.
      project.sources[source] = "\(dice.roll(9))\n\(dice.roll(9))\n"
      world.write("s\(source)", project.sources[source] ?? "")
      world.touch("s\(source)", secondsFromNow: -1_000)
    case 4: world.remove(project.name(edge))
    case 5: if project.edges[edge] != nil { world.write(project.name(edge), "hand\n") }
    case 6: project.options[edge] = dice.roll(3)
    case 7: project.edges[edge] = [dice.roll(5), dice.roll(5)]
    case 8:
      // Replaced by rename, with the same bytes.
      world.write("new", project.sources[source] ?? "")
      rename(world.space.path("new"), world.space.path("s\(source)"))
    default:
      // A torn log.
      if let log = world.space.read(".quench/log") {
        world.space.write(".quench/log", Array(log.prefix(dice.roll(log.count + 1))))
      }
    }
  }
}
