// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

/// A small generator whose numbers are the same on every machine.
private struct Dice {
  var state: UInt64
  mutating func roll(_ sides: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(sides))
  }
}

/// A project like that of a C program: units read headers that only their depfiles tell of, some of
/// the headers are generated, scripts are named but not listed, libraries hang on aliases.
private struct UnitProject {
  static let units = 6
  /// Numbers of the headers that each unit reads: below 4 written by hand, from 4 on generated.
  var reads: [[Int]] = []
  var texts: [String] = []
  var headers: [String] = []
  /// Units that do not compile.
  var broken: Set<Int> = []
  var script = "cat"
  var members: [Set<Int>] = [[0, 1, 2], [2, 3, 4, 5]]
  /// The order in which the statements stand.
  var isReversed = false

  init(_ dice: inout Dice) {
    for unit in 0..<UnitProject.units {
      reads.append([dice.roll(4), 4 + dice.roll(2)])
      texts.append("u\(unit)\n")
    }
    for header in 0..<6 { headers.append("h\(header)\n") }
  }

  func header(_ number: Int) -> String { number < 4 ? "h\(number)" : "gen/h\(number)" }

  var manifest: String {
    var lines = UnitProject.rules
    var statements = ["build gen/h4: gen g4\n", "build gen/h5: gen g5 | h0\n"]
    for unit in 0..<UnitProject.units {
      statements.append("build o/u\(unit): cc u\(unit) || gen/h4 gen/h5\n")
    }
    for (index, units) in members.enumerated() {
      let names: [String] = units.sorted().map { "o/u\($0)" }
      let objects = names.joined(separator: " ")
      statements.append("build l\(index): cat \(objects)\nbuild lib\(index): phony l\(index)\n")
    }
    statements.append("build app: cat l0 | lib1 |@ check\nbuild check: cat l1\n")
    lines += (isReversed ? statements.reversed() : statements).joined()
    return lines + "build spare: cp u0\ndefault app\n"
  }

  /// `u` files list their headers in `u.d`; a unit that holds "bad" does not compile.
  private static let rules =
    World.rules + """
      rule gen
        command = sh tool.sh $in > $out
      rule cc
        command = sh tool.sh $in $$(cat $in.d) > $out; echo "$out: $$(cat $in.d)" > $out.dep; ! grep -q bad $in
        depfile = $out.dep
        deps = gcc

      """

  func place(_ world: World) {
    for unit in 0..<UnitProject.units { place(unit, world) }
    for header in 0..<6 { place(header: header, world) }
    world.write("tool.sh", script + " \"$@\"\n")
  }

  func place(_ unit: Int, _ world: World) {
    world.write("u\(unit).d", reads[unit].map(header).joined(separator: " "))
    world.write("u\(unit)", texts[unit] + (broken.contains(unit) ? "bad\n" : ""))
  }

  func place(header number: Int, _ world: World) {
    world.write(number < 4 ? "h\(number)" : "g\(number)", headers[number])
  }

  private func shown(_ parts: [String]) -> String {
    let all = parts.joined()
    if script == "cat" { return all }
    let lines: [String] = all.split(separator: "\n").map { "\($0)>\n" }
    return lines.joined()
  }

  func expected(_ unit: Int) -> String {
    var parts = [texts[unit]]
    for number in reads[unit] {
      parts.append(number < 4 ? headers[number] : shown([headers[number]]))
    }
    return shown(parts)
  }

  func expected(library: Int) -> String { members[library].sorted().map { expected($0) }.joined() }
}

@Suite("Random changes of a project with discovered, generated and named files")
struct RandomScopeTests {
  private static let rounds = Int(getenv("QUENCH_ROUNDS").map { String(cString: $0) } ?? "") ?? 60
  private static let seed = UInt64(getenv("QUENCH_SEED").map { String(cString: $0) } ?? "") ?? 1

  @Test("whatever the build may leave out, the result is that of a build from scratch")
  func rounds() throws {
    var dice = Dice(state: RandomScopeTests.seed)
    var world = World()
    var project = UnitProject(&dice)
    for round in 0..<RandomScopeTests.rounds {
      if round % 40 == 0 {
        world = World()
        project = UnitProject(&dice)
        project.place(world)
        world.write("build.ninja", project.manifest)
      }
      let note: Comment = "seed \(RandomScopeTests.seed), round \(round)"
      for _ in 0...dice.roll(2) { change(world, &project, &dice) }
      let jobs = 1 + dice.roll(3)
      if dice.roll(6) == 0 { try world.build(["l\(dice.roll(2))"]) { $0.jobs = jobs } }
      if dice.roll(6) == 0 {
        let stop = dice.roll(5)
        var started = 0
        try world.build(
          [], { $0.jobs = jobs },
          during: { event, build in
            guard case .started = event else { return }
            if started == stop { build.interrupt() }
            started += 1
          })
      }
      let keepGoing = dice.roll(2)
      let outcome = try world.build([]) {
        $0.jobs = jobs
        $0.keepGoing = keepGoing
      }
      let broken = project.broken.intersection(project.members[0].union(project.members[1]))
      #expect((outcome.summary.exitCode == 0) == broken.isEmpty, note)
      guard broken.isEmpty else {
        // Mended, or failing again: nothing that failed may pass for built.
        if dice.roll(2) == 0 {
          #expect(try world.build().summary.exitCode != 0, note)
        }
        continue
      }
      for unit in project.members[0].union(project.members[1]) {
        #expect(world.text("o/u\(unit)") == project.expected(unit), note)
      }
      for library in 0..<2 {
        #expect(world.text("l\(library)") == project.expected(library: library), note)
      }
      #expect(world.text("app") == project.expected(library: 0), note)
      #expect(world.text("check") == project.expected(library: 1), note)
      #expect(!world.exists("spare"))
      #expect(try world.build().ran.isEmpty, note)
    }
  }

  private func change(_ world: World, _ project: inout UnitProject, _ dice: inout Dice) {
    let unit = dice.roll(UnitProject.units)
    let header = dice.roll(6)
    switch dice.roll(16) {
    case 0, 1:
      project.texts[unit] = "u\(unit) \(dice.roll(3))\n"
      project.place(unit, world)
    case 2, 3:
      project.headers[header] = "h\(header) \(dice.roll(3))\n"
      project.place(header: header, world)
    case 4:
      // Other headers, known only after the next run.
      project.reads[unit] = (0...dice.roll(3)).map { _ in dice.roll(6) }
      project.texts[unit] = "u\(unit) \(dice.roll(1000))\n"
      project.place(unit, world)
    case 5: world.touch(dice.roll(2) == 0 ? "u\(unit)" : "h\(dice.roll(4))", secondsFromNow: -9)
    case 6: world.write(["o/u\(unit)", "l0", "l1", "app", "gen/h4"][dice.roll(5)], "hand\n")
    case 7: world.remove(["o/u\(unit)", "l0", "l1", "app", "gen/h5", "check"][dice.roll(6)])
    case 8:
      project.script = project.script == "cat" ? "sed s/$/\\>/" : "cat"
      world.write("tool.sh", project.script + " \"$@\"\n")
    case 9:
      let library = dice.roll(2)
      if project.members[library].count > 1, project.members[library].contains(unit) {
        project.members[library].remove(unit)
      } else {
        project.members[library].insert(unit)
      }
      world.write("build.ninja", project.manifest)
    case 10:
      project.isReversed.toggle()
      world.write("build.ninja", project.manifest)
    case 11:
      project.broken = dice.roll(2) == 0 ? [unit] : []
      for unit in 0..<UnitProject.units { project.place(unit, world) }
    case 12:
      let name = [".quench/graph", ".quench/fresh", ".quench/log"][dice.roll(3)]
      guard var bytes = world.space.read(name), !bytes.isEmpty else { return }
      bytes[dice.roll(dice.roll(2) == 0 ? bytes.count : min(bytes.count, 2000))] ^= 4
      world.space.write(name, bytes)
    case 13:
      let name = [".quench/graph", ".quench/fresh", ".quench/log"][dice.roll(3)]
      guard let bytes = world.space.read(name), !bytes.isEmpty else { return }
      world.space.write(name, Array(bytes.prefix(dice.roll(bytes.count))))
    case 14: unlink(world.space.path([".quench/graph", ".quench/fresh"][dice.roll(2)]))
    default:
      world.write("new", project.headers[dice.roll(4)])
      world.touch("new", secondsFromNow: -1000)
      // Replaced by another file with an old time.
      let number = dice.roll(4)
      project.headers[number] = world.text("new") ?? ""
      rename(world.space.path("new"), world.space.path("h\(number)"))
    }
  }
}
