// SPDX-License-Identifier: Apache-2.0

import BuildEngine
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("Random projects, random changes")
struct RandomTests {
  private static let rounds = Int(getenv("QUENCH_ROUNDS").map { String(cString: $0) } ?? "") ?? 60
  private static let seed = UInt64(getenv("QUENCH_SEED").map { String(cString: $0) } ?? "") ?? 1

  @Test(
    "after every change the result is that of a build from scratch, no command runs that need not, and a second build is null"
  )
  func rounds() throws {
    var dice = Dice(seed: RandomTests.seed)
    var world = World()
    var project = RandomProject(&dice)
    var memory = RunMemory()
    for round in 0..<RandomTests.rounds {
      if round % 50 == 0 {
        world = World()
        project = RandomProject(&dice)
        memory = RunMemory()
        project.write(to: world.space)
      }
      let note: Comment = "seed \(RandomTests.seed), round \(round)"
      for _ in 0...dice.roll(3) { project.change(world.space, &memory, &dice) }
      if dice.roll(4) == 0 { RandomProject.damage(world.space, &memory, &dice) }
      world.write("build.ninja", project.manifest)
      let jobs = 1 + dice.roll(3)
      // On, off and on again, so that the cache's entries are of all ages.
      let cache = dice.roll(2) == 0
      func options(_ options: inout BuildOptions) {
        options.jobs = jobs
        options.cache = cache ? .on(limit: nil) : .off
      }
      switch dice.roll(8) {
      case 0:
        // Interrupted at some command.
        let stop = dice.roll(4)
        var started = 0
        let outcome = try world.build(
          [], options,
          during: { event, build in
            guard case .started = event else { return }
            if started == stop { build.interrupt() }
            started += 1
          })
        for output in outcome.ran { memory.suspects.insert(RandomProject.id(output)) }
      case 1, 2:
        // An input is edited while a command runs.
        let moment = dice.roll(4)
        var edited = project
        var started = 0
        _ = try world.build(
          [], options,
          during: { event, _ in
            guard case .started = event else { return }
            if started == moment { edited.edit(world.space, &dice) }
            started += 1
          })
        if started > moment {
          project = edited
          memory.isLost = true
        }
      case 3:
        // A source is gone: refused before anything runs. Then it is back as it was.
        guard let restore = project.lose(world.space, &dice) else { break }
        #expect(throws: QuenchError.self, note) { try world.build([], options) }
        restore()
      default: break
      }
      let predicted = dice.roll(4) == 0 ? Set(try world.stale()) : nil
      let outcome = try world.build([], options)
      #expect(outcome.summary.exitCode == 0, note)
      #expect(project.wrong(in: world.space).isEmpty, note)
      #expect(memory.needless(outcome.ran.map(RandomProject.id), in: project).isEmpty, note)
      // What would run is known before; some of it may prove needless on the way.
      if let predicted { #expect(predicted.isSuperset(of: outcome.ran), note) }
      memory.settle(project)
      #expect(try world.build().ran.isEmpty, note)
      if dice.roll(4) == 0 {
        usleep(25_000)
        #expect(try world.build().ran.isEmpty, note)
      }
    }
  }
}
