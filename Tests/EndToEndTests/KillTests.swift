// SPDX-License-Identifier: Apache-2.0
// The real binary, killed at random moments.

import Foundation
import Glibc
import TestSupport
import Testing

@Suite("Killed builds", .enabled(if: Project.hasBinary, "the binary quench is not built"))
struct KillTests {
  private static let rounds =
    Int(ProcessInfo.processInfo.environment["QUENCH_KILLS"] ?? "") ?? 12
  private static let seed =
    UInt64(ProcessInfo.processInfo.environment["QUENCH_SEED"] ?? "") ?? 1

  @Test(
    "after SIGKILL at a random moment the next build gives what a build from scratch gives, runs nothing that had ended, and a further one is null"
  )
  func random() throws {
    var dice = Dice(seed: Self.seed)
    var engine = EngineSpace()
    var project = RandomProject(&dice)
    var memory = RunMemory()
    for round in 0..<Self.rounds {
      if round % 25 == 0 {
        engine = EngineSpace()
        project = RandomProject(&dice)
        project.prologue = "echo $main >> ran; sleep 0.00$option; "
        memory = RunMemory()
        project.write(to: engine.space)
      }
      let note: Comment = "seed \(Self.seed), round \(round)"
      for _ in 0...dice.roll(3) { project.change(engine.space, &memory, &dice) }
      engine.space.write("build.ninja", project.manifest)
      let log = TemporarySpace()
      var arguments = ["-j\(1 + dice.roll(3))"]
      if dice.roll(2) == 0 { arguments.append("--cache") }

      let running = try engine.start(arguments, log: log.path("log"))
      usleep(UInt32(dice.roll(60_000)))
      kill(running, SIGKILL)
      _ = try Child.wait(running)
      // The machine's end takes the commands along; a killed process leaves them behind.
      engine.clear(killing: dice.roll(2) == 0)
      memory.suspects.formUnion(engine.takeRan().map(RandomProject.id))

      let run = try engine.build(arguments[0])
      #expect(run.status == 0, "\(note) \(run.output)\(run.errors)")
      #expect(project.wrong(in: engine.space).isEmpty, note)
      let ran = engine.takeRan().map(RandomProject.id)
      #expect(memory.needless(ran, in: project).isEmpty, note)
      memory.settle(project)
      let again = try engine.build()
      #expect(again.output == "quench: nothing to do\n", "\(note) \(again.output)\(again.errors)")
      #expect(engine.takeRan().isEmpty, note)
    }
  }

  @Test("two builds that start at once share the work: no command runs twice", arguments: 1...3)
  func together(attempt: Int) throws {
    var manifest = "rule r\n  command = echo $out >> ran; sleep 0.01; cat $in > $out\n"
    for index in 0..<24 { manifest += "build o\(index): r \(index < 8 ? "s" : "o\(index - 8)")\n" }
    let engine = EngineSpace(manifest, ["s": "first\n"])
    let logs = TemporarySpace()
    let builds = try (0..<3).map { try engine.start(log: logs.path("\($0)")) }
    for build in builds { #expect(try Child.wait(build) == 0) }
    #expect(engine.takeRan().sorted() == (0..<24).map { "o\($0)" }.sorted())
    #expect(engine.space.text("o23") == "first\n")
    #expect(try engine.build().output == "quench: nothing to do\n")
  }
}
