// SPDX-License-Identifier: Apache-2.0
// What training does when something goes wrong around it, with the real binary.

import Foundation
import TestSupport
import Testing

@Suite(
  "Accidents of training",
  .enabled(if: Project.hasBinary, "the binary quench is not built"),
  .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
struct TrainingAccidentTests {
  /// Batches of one, so that there are many steps; scales learn from `unfreeze` on, weights freeze
  /// from `freeze` on.
  static func settings(epochs: Int, unfreeze: Double, freeze: Double = 1) -> String {
    """
    {"epochs": \(epochs), "batch": 1, "learningRate": 0.005, "scaleLearningRate": 0.05,
     "patience": 0, "unfreezeScalesAt": \(unfreeze), "freezeWeightsAt": \(freeze),
     "heldBack": 0.3, "weightBits": 4}
    """
  }

  /// A built project, and a function that trains into a folder of it.
  static func built() throws -> Project {
    let project = try FinetuneTests.project()
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.errors)")
    return project
  }

  static func folder(_ project: Project, _ name: String) throws {
    try FileManager.default.createDirectory(
      atPath: project.space.path(name), withIntermediateDirectories: true)
  }

  static func tune(
    _ project: Project, _ name: String, _ more: [String] = [], isa: String? = nil
  ) throws -> Run {
    try folder(project, name)
    return try project.run(
      Project.binary, FinetuneTests.arguments(name) + more,
      environment: isa.map { ["QUENCH_TRAIN_ISA": $0] } ?? [:])
  }

  @Test(
    "the same bytes for 1, 2 and 3 threads and each instruction set, scales and weights learning or frozen",
    arguments: [(0.4, 1.0), (1.0, 1.0), (0.4, 0.2)])
  func reproducible(unfreeze: Double, freeze: Double) throws {
    let project = try Self.built()
    project.space.write(
      "settings.json", Self.settings(epochs: 8, unfreeze: unfreeze, freeze: freeze))
    var first: [[UInt8]?]?
    for isa in ["plain", "avx2", "avx512"] {
      for threads in 1...3 {
        let name = "\(isa)\(threads)"
        // A CPU that lacks the instruction set takes what it has: then this repeats another run.
        let run = try Self.tune(project, name, ["--threads", "\(threads)"], isa: isa)
        try #require(run.status == 0, "\(run.errors)")
        let bytes = FinetuneTests.bytes(project, name)
        #expect(bytes.allSatisfy { $0 != nil })
        #expect(bytes == first ?? bytes, "\(name)")
        first = first ?? bytes
      }
    }
    let report = try #require(project.space.text("plain1/report.json"))
    #expect(report.contains("\"keepsTuned\" : true"), "the runs must train something")
  }

  /// `QUENCH_KILLS` kills at moments that `QUENCH_SEED` decides; a few in CI.
  @Test(
    "SIGKILL at random steps, again and again, and the run ends with the same bytes",
    arguments: [1, 0.2])
  func killed(freeze: Double) throws {
    let variables = ProcessInfo.processInfo.environment
    let wanted = variables["QUENCH_KILLS"].flatMap(Int.init) ?? 4
    var seed = variables["QUENCH_SEED"].flatMap(UInt64.init) ?? 1
    let project = try Self.built()
    project.space.write("settings.json", Self.settings(epochs: 300, unfreeze: 0.3, freeze: freeze))
    let clock = ContinuousClock()
    let start = clock.now
    let run = try Self.tune(project, "whole")
    let whole = (clock.now - start) / .microseconds(1)
    try #require(run.status == 0, "\(run.errors)")
    let bytes = FinetuneTests.bytes(project, "whole")

    var (kills, steps): (Int, Set<String>) = (0, [])
    var round = 0
    while kills < wanted, round < 4 * wanted {
      round += 1
      let name = "round\(round)"
      try Self.folder(project, name)
      // Three kills a run at most, each at any moment of what the whole run took.
      for _ in 0..<3 where kills < wanted {
        let log = project.space.path("\(name).log")
        let child = try Child.start(
          Project.binary, FinetuneTests.arguments(name), in: project.path,
          environment: project.environment(), output: log, errors: log)
        seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        usleep(UInt32(Double(seed >> 33) / Double(1 << 31) * whole * 0.7))
        kill(child, SIGKILL)
        guard try Child.wait(child) == 128 + SIGKILL else { break }
        kills += 1
        let last = project.space.text("\(name).log")?.split(separator: "\n").last
        steps.insert(last.map { String($0.prefix { $0 != ":" }) } ?? "before the first epoch")
      }
      let rest = try Self.tune(project, name)
      #expect(rest.status == 0, "\(rest.errors)")
      #expect(FinetuneTests.bytes(project, name) == bytes, "seed \(seed)")
      // Nor does a killed process leave a checkpoint half written beside the whole ones.
      let left = try FileManager.default.contentsOfDirectory(
        atPath: project.space.path("\(name)/checkpoints"))
      #expect(left.allSatisfy { $0.hasSuffix(".checkpoint") }, "\(left)")
    }
    #expect(kills == wanted, "the run is too short to be killed")
    #expect(wanted < 4 || steps.count > 1, "\(steps)")
  }

  @Test(
    "Ctrl-C keeps the last step, says so, and the same command ends with the same bytes",
    arguments: [SIGINT, SIGTERM, SIGHUP])
  func stopped(signal: Int32) throws {
    let project = try Self.built()
    project.space.write("settings.json", Self.settings(epochs: 300, unfreeze: 0.3, freeze: 0.2))
    let clock = ContinuousClock()
    let start = clock.now
    try #require(try Self.tune(project, "whole").status == 0)
    let whole = (clock.now - start) / .microseconds(1)
    let bytes = FinetuneTests.bytes(project, "whole")
    try Self.folder(project, "stopped")
    var step: Substring?
    for share in [0.1, 0.2, 0.1] {
      let log = project.space.path("stopped.log")
      let child = try Child.start(
        Project.binary, FinetuneTests.arguments("stopped"), in: project.path,
        environment: project.environment(), output: log, errors: log)
      for _ in 0..<20_000 where project.space.text("stopped.log")?.contains("epoch ") != true {
        usleep(1000)
      }
      usleep(UInt32(share * whole))
      kill(child, signal)
      let status = try Child.wait(child)
      let text = try #require(project.space.text("stopped.log"))
      // It continues from the very step that was said.
      if let step { #expect(text.contains("training continues from step \(step) of")) }
      // On a loaded machine the last one may have ended before.
      if status == 0, step != nil { break }
      #expect(status == 130, "\(text)")
      let said = try #require(
        text.firstMatch(of: /interrupted after step (\d+) of \d+\n/), "\(text)")
      step = said.1
      #expect(text.contains("   at  stopped/checkpoints/latest.checkpoint\n"), "\(text)")
      #expect(text.hasSuffix("  try  the same command again: training continues from there\n"))
      // Nothing of the result was written.
      #expect(FinetuneTests.bytes(project, "stopped").allSatisfy { $0 == nil })
    }
    #expect(try Self.tune(project, "stopped").status == 0)
    #expect(FinetuneTests.bytes(project, "stopped") == bytes)
  }

  @Test("a build that is interrupted while it trains says where it stands, and continues there")
  func stoppedBuild() throws {
    let project = try FinetuneTests.project(
      FinetuneTests.keys.replacing("epochs: 4", with: "epochs: 3000, patience: 0"))
    let log = project.space.path("started.log")
    let child = try project.start("build")
    for _ in 0..<30_000 where project.space.text("started.log")?.contains("epoch 2:") != true {
      usleep(1000)
    }
    kill(child, SIGINT)
    #expect(try Child.wait(child) == 130)
    let text = try String(contentsOfFile: log, encoding: .utf8)
    let said = try #require(text.firstMatch(of: /interrupted after step (\d+) of \d+/), "\(text)")
    #expect(project.space.read("build/tiny/finetune/tuned.onnx") == nil)
    let again = try project.start("build")
    let continues = "training continues from step \(said.1) of"
    for _ in 0..<30_000 where project.space.text("started.log")?.contains(continues) != true {
      usleep(1000)
    }
    kill(again, SIGTERM)
    #expect(try Child.wait(again) == 130)
    #expect(project.space.text("started.log")?.contains(continues) == true)
  }

  @Test("a full disk is told, leaves the last checkpoint whole, and costs nothing but the wait")
  func fullDisk() throws {
    let project = try Self.built()
    project.space.write("settings.json", Self.settings(epochs: 8, unfreeze: 0.4))
    try Self.folder(project, "full/checkpoints")
    try Self.folder(project, "fresh")
    project.space.write("long.json", Self.settings(epochs: 16, unfreeze: 0.4))
    func command(_ folder: String, _ settings: String) -> String {
      ([Project.binary] + FinetuneTests.arguments(folder)).map {
        $0 == "settings.json" ? settings : $0
      }.joined(separator: " ")
    }
    // A real file system of 256 KiB, in a mount namespace that ends with the shell.
    project.space.write(
      "full.sh",
      """
      set -e
      mount -t tmpfs -o size=256k none full/checkpoints || exit 99
      \(command("full", "settings.json"))
      cp full/checkpoints/latest.checkpoint before
      dd if=/dev/zero of=full/checkpoints/filler bs=4k 2>/dev/null && exit 98
      status=0
      \(command("full", "long.json")) 2>errors || status=$?
      cmp full/checkpoints/latest.checkpoint before
      ls full/checkpoints >left
      rm full/checkpoints/filler
      \(command("full", "long.json")) 2>again
      exit $status

      """)
    let run = try project.run(
      "/usr/bin/env", ["unshare", "-rm", "/bin/sh", "full.sh"], environment: [:])
    // Where no namespace may be made, the test of the writer with /dev/full has to do.
    guard run.status != 99, !run.errors.contains("unshare") else {
      try Test.cancel("a file system cannot be mounted here: \(run.errors)")
    }
    #expect(run.status == 1, "\(run.status) \(run.errors)")
    let errors = try #require(project.space.text("errors"))
    #expect(errors.contains("No space left"), "\(errors)")
    #expect(errors.contains("training continues from the last checkpoint"))
    #expect(project.space.text("left") == "branch.checkpoint\nfiller\nlatest.checkpoint\n")
    #expect(project.space.text("again")?.contains("training continues from step") == true)
    project.space.write("settings.json", Self.settings(epochs: 16, unfreeze: 0.4))
    #expect(try Self.tune(project, "fresh").status == 0)
    #expect(FinetuneTests.bytes(project, "full") == FinetuneTests.bytes(project, "fresh"))
  }

  @Test("a limit on the size of files is told like a full disk, and leaves nothing half written")
  func fileLimit() throws {
    let project = try Self.built()
    project.space.write("settings.json", Self.settings(epochs: 8, unfreeze: 0.4))
    try Self.folder(project, "limited")
    let command = ([Project.binary] + FinetuneTests.arguments("limited")).joined(separator: " ")
    let run = try project.run("/bin/sh", ["-c", "ulimit -f 1; exec \(command)"])
    #expect(run.status == 1, "\(run.errors)")
    #expect(run.errors.contains("cannot write \"limited/checkpoints/latest.checkpoint\""))
    let left = try FileManager.default.contentsOfDirectory(
      atPath: project.space.path("limited/checkpoints"))
    #expect(left.isEmpty)
  }

  @Test("no data, shapes that change, and labels out of range are told before any work")
  func wrongInput() throws {
    let project = try Self.built()
    func refusal(_ samples: String, _ settings: String = #"{"epochs": 1}"#) throws -> Run {
      project.space.write("wrong.samples", samples)
      project.space.write("settings.json", settings)
      try Self.folder(project, "wrong")
      let arguments = FinetuneTests.arguments("wrong").map {
        $0 == ".quench/settings/tiny/finetune.samples" ? "wrong.samples" : $0
      }
      let run = try project.run(Project.binary, arguments, environment: [:])
      #expect(project.space.read("wrong/tuned.onnx") == nil)
      #expect(project.space.read("wrong/checkpoints/latest.checkpoint") == nil)
      #expect(!run.errors.contains("epoch 1"))
      return run
    }
    let good = (0..<9).map { "images/calibration/\(Project.digits($0)).png" }
    let none = try refusal("")
    #expect(none.status == 65 && none.errors.contains("no sample to train with"))

    project.space.write(
      "images/odd.png", PNG.noise(width: 9, height: 8, channels: 1, seed: 7))
    let odd = try refusal((good + ["images/odd.png"]).joined(separator: "\n") + "\n")
    #expect(odd.status == 65, "\(odd.errors)")
    #expect(odd.errors.contains("images/odd.png") && odd.errors.contains("[1, 1, 8, 9]"))

    // All of one size that is not the network's: as many numbers in another shape are refused too.
    for (width, height) in [(9, 8), (16, 4)] {
      let names = (0..<9).map { "images/other\(width)/\($0).png" }
      for (seed, name) in names.enumerated() {
        project.space.write(
          name, PNG.noise(width: width, height: height, channels: 1, seed: UInt64(seed)))
      }
      let other = try refusal(names.joined(separator: "\n") + "\n")
      #expect(other.status == 65, "\(other.errors)")
      #expect(other.errors.contains("has shape [1, 1, \(height), \(width)], but the model's input"))
      #expect(other.errors.contains("is [1, 1, 8, 8]") && other.errors.contains(names[0]))
    }

    let labels = #"{"epochs": 1, "loss": "crossEntropy"}"#
    for label in ["3", "-1"] {
      let list = good.map { $0 + "\t" + ($0.hasSuffix("0004.png") ? label : "0") }
      let run = try refusal(list.joined(separator: "\n") + "\n", labels)
      #expect(run.status == 65)
      #expect(run.errors.contains("label \(label) is outside the network's classes 0...2"))
      #expect(run.errors.contains("0004.png"))
    }
    let missing = try refusal((good + ["images/none.png"]).joined(separator: "\n") + "\n")
    #expect(missing.status == 66, "\(missing.errors)")
    #expect(missing.errors.contains("images/none.png"))

    let small = try refusal(
      good.joined(separator: "\n") + "\n", #"{"epochs": 1, "memoryLimit": 0.01}"#)
    #expect(small.status == 1)
    #expect(small.errors.contains("MiB") && small.errors.contains("memoryLimit"))
  }

  @Test("training that runs away stops with step and layer, and writes nothing")
  func divergence() throws {
    let project = try Self.built()
    project.space.write(
      "settings.json",
      #"{"epochs": 50, "batch": 1, "learningRate": 10, "clipNorm": 0, "patience": 0}"#)
    let run = try Self.tune(project, "wild")
    #expect(run.status == 1, "\(run.errors)")
    #expect(run.errors.contains(/training diverged at step \d+:/))
    #expect(run.errors.contains("conv") || run.errors.contains("fc"))
    #expect(run.errors.contains("learningRate"))
    #expect(project.space.read("wild/tuned.onnx") == nil)
  }
}
