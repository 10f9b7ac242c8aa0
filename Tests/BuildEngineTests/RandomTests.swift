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

  /// The edge of an output's name.
  static func id(_ output: String) -> Int { Int(output.drop { !$0.isNumber }) ?? 0 }

  /// All that an edge's result depends on.
  func key(_ edge: Int) -> String {
    let inputs = (edges[edge] ?? []).map { "\(name($0)) \(expected($0))" }
    return "\(cutting.contains(edge)) \(options[edge] ?? 0) \(inputs)"
  }

  func expected(_ id: Int) -> String {
    guard id >= 100 else { return sources[id] ?? "" }
    let joined = (edges[id] ?? []).map(expected).joined()
    guard cutting.contains(id) else { return "\(options[id] ?? 0)\n" + joined }
    return joined.split(separator: "\n", omittingEmptySubsequences: false).first.map { $0 + "\n" }
      ?? ""
  }
}

/// What the last successful run of each edge saw, to know which commands need not run.
private struct Memory {
  var keys: [Int: String] = [:]
  /// Edges whose output was touched by other hands, or whose last run did not end.
  var suspects: Set<Int> = []
  /// The log was damaged, or inputs changed during a run: anything may run once more.
  var isLost = false
}

@Suite("Random projects, random changes")
struct RandomTests {
  private static let rounds = Int(getenv("QUENCH_ROUNDS").map { String(cString: $0) } ?? "") ?? 60
  private static let seed = UInt64(getenv("QUENCH_SEED").map { String(cString: $0) } ?? "") ?? 1

  private static func project(_ dice: inout Dice) -> RandomProject {
    var project = RandomProject()
    for source in 0..<5 { project.sources[source] = "\(source)\n" }
    for edge in 100..<108 {
      project.edges[edge] = (0..<(1 + dice.roll(3))).map { _ in
        let pick = dice.roll(edge - 100 + 5)
        return pick < 5 ? pick : pick - 5 + 100
      }
      if dice.roll(4) == 0 { project.cutting.insert(edge) }
    }
    return project
  }

  @Test(
    "after every change the result is that of a build from scratch, no command runs that need not, and a second build is null"
  )
  func rounds() throws {
    var dice = Dice(state: RandomTests.seed)
    var world = World()
    var project = RandomProject()
    var memory = Memory()
    for round in 0..<RandomTests.rounds {
      if round % 50 == 0 {
        world = World()
        project = RandomTests.project(&dice)
        memory = Memory()
        for (source, text) in project.sources { world.write("s\(source)", text) }
      }
      let note: Comment = "seed \(RandomTests.seed), round \(round)"
      for _ in 0...dice.roll(2) { change(world, &project, &memory, &dice) }
      world.write("build.ninja", project.manifest)
      let jobs = 1 + dice.roll(3)
      let cache = dice.roll(2) == 0
      switch dice.roll(8) {
      case 0:
        // Interrupted at some command.
        let stop = dice.roll(4)
        var started = 0
        let outcome = try world.build(
          [], { $0.jobs = jobs },
          during: { event, build in
            guard case .started = event else { return }
            if started == stop { build.interrupt() }
            started += 1
          })
        for output in outcome.ran { memory.suspects.insert(RandomProject.id(output)) }
      case 1:
        // An input is edited while a command runs.
        let moment = dice.roll(4)
        let source = dice.roll(5)
        let text = "\(dice.roll(4))\n"
        var started = 0
        let ran = try world.build(
          [], { $0.jobs = jobs },
          during: { event, _ in
            guard case .started = event else { return }
            if started == moment { world.write("s\(source)", text) }
            started += 1
          }
        ).ran
        if ran.count > moment {
          project.sources[source] = text
          memory.isLost = true
        }
      default: break
      }
      let outcome = try world.build([]) {
        $0.jobs = jobs
        $0.cache = cache ? .on(limit: nil) : .off
      }
      #expect(outcome.summary.exitCode == 0, note)
      for edge in project.edges.keys {
        #expect(world.text(project.name(edge)) == project.expected(edge), note)
      }
      for output in outcome.ran {
        let edge = RandomProject.id(output)
        let needed =
          memory.isLost || memory.suspects.contains(edge)
          || memory.keys[edge] != project.key(edge)
        #expect(needed, "\(output) ran for nothing; seed \(RandomTests.seed), round \(round)")
      }
      memory.isLost = false
      memory.suspects.removeAll()
      memory.keys.removeAll()
      for edge in project.edges.keys { memory.keys[edge] = project.key(edge) }
      #expect(try world.build().ran.isEmpty, note)
      if dice.roll(4) == 0 {
        usleep(25_000)
        #expect(try world.build().ran.isEmpty, note)
      }
    }
  }

  private func change(
    _ world: World, _ project: inout RandomProject, _ memory: inout Memory, _ dice: inout Dice
  ) {
    let source = dice.roll(5)
    let edge = 100 + dice.roll(8)
    switch dice.roll(13) {
    case 0, 1:
      project.sources[source] = "\(dice.roll(3))\n"
      world.write("s\(source)", project.sources[source] ?? "")
    case 2: world.touch("s\(source)", secondsFromNow: dice.roll(20) - 10)
    case 3:
      // Other content under an old time.
      project.sources[source] = "\(dice.roll(9))\n\(dice.roll(9))\n"
      world.write("s\(source)", project.sources[source] ?? "")
      world.touch("s\(source)", secondsFromNow: -1_000)
    case 4:
      world.remove(project.name(edge))
      memory.suspects.insert(edge)
    case 5:
      guard project.edges[edge] != nil else { return }
      world.write(project.name(edge), "hand\n")
      memory.suspects.insert(edge)
    case 6: project.options[edge] = dice.roll(3)
    case 7:
      guard project.edges[edge] != nil else { return }
      project.edges[edge] = [dice.roll(5), dice.roll(5)]
    case 8:
      // Replaced by rename, with the same bytes.
      world.write("new", project.sources[source] ?? "")
      rename(world.space.path("new"), world.space.path("s\(source)"))
    case 9:
      // An edge goes away if nothing reads what it makes, or comes back.
      if project.edges[edge] == nil {
        project.edges[edge] = [dice.roll(5)]
        memory.suspects.insert(edge)
      } else if !project.edges.values.contains(where: { $0.contains(edge) }) {
        project.edges[edge] = nil
      }
    case 10:
      // A torn or damaged certificate.
      if var bytes = world.space.read(".quench/fresh"), !bytes.isEmpty {
        if dice.roll(2) == 0 { bytes.removeLast(1 + dice.roll(bytes.count)) }
        if !bytes.isEmpty { bytes[dice.roll(bytes.count)] ^= UInt8(1 << dice.roll(8)) }
        world.space.write(".quench/fresh", bytes)
      }
    case 11:
      // A damaged log.
      if var log = world.space.read(".quench/log"), !log.isEmpty {
        log[dice.roll(log.count)] ^= UInt8(1 << dice.roll(8))
        world.space.write(".quench/log", log)
        memory.isLost = true
      }
    default:
      // A torn log.
      if let log = world.space.read(".quench/log") {
        world.space.write(".quench/log", Array(log.prefix(dice.roll(log.count + 1))))
        memory.isLost = true
      }
    }
  }
}
