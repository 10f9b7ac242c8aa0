// SPDX-License-Identifier: Apache-2.0
// What people and programs see while a network trains.

import Foundation
import TestSupport
import Testing

@Suite(
  "Progress of training",
  .enabled(if: Project.hasBinary, "the binary quench is not built"),
  .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
struct TrainingProgressTests {
  /// Long enough for the live line, which changes ten times a second at most.
  static func project() throws -> Project {
    let project = try FinetuneTests.project(
      FinetuneTests.keys.replacing(
        "epochs: 4, batch: 4", with: "epochs: 300, batch: 1, patience: 0"))
    project.space.write(
      "settings.json",
      #"{"epochs": 300, "batch": 1, "patience": 0, "learningRate": 0.001, "heldBack": 0.3}"#)
    return project
  }

  static func onTerminal(_ project: Project, _ arguments: [String]) throws -> (Int32, String) {
    let terminal = try PseudoTerminal()
    var variables = project.environment()
    variables["TERM"] = "xterm"
    let child = try Child.start(
      Project.binary, arguments, in: project.path, environment: variables, output: terminal.path,
      errors: terminal.path)
    let (status, text) = try terminal.follow(child)
    return (status, text)
  }

  @Test("on a terminal the build's line shows step, loss, metric, images a second and time left")
  func terminal() throws {
    let project = try Self.project()
    let (status, text) = try Self.onTerminal(project, ["build"])
    try #require(status == 0, "\(text)")
    let live =
      /\r\[\d+\/\d+[^\]]*\] finetune tiny[^\r\n]*: step \d+\/\d+, loss [\d.e-]+, as FP32 [\d.]+ %, \d+ images\/s, \d+ s left/
    #expect(text.contains(live), "\(text.suffix(2000))")
    // Each epoch stays, and takes the live line away first.
    #expect(text.contains("\r\u{1B}[Kfinetune tiny: epoch 1: loss "))
    #expect(text.contains("finetune tiny: epoch 300: loss "))
    #expect(text.contains("finetune tiny: trains 2 layers on "))
  }

  @Test("in a pipe the build prints a line an epoch as it ends, and nothing is redrawn")
  func pipe() throws {
    let project = try Self.project()
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.errors)")
    let lines = run.output.split(separator: "\n")
    let epochs = lines.indices.filter { lines[$0].hasPrefix("finetune tiny: epoch ") }
    #expect(epochs.count == 300)
    let end = try #require(lines.firstIndex { $0.hasSuffix("] finetune tiny") })
    #expect(try #require(epochs.last) < end)
    #expect(
      lines[epochs[1]].contains(
        /epoch 2: loss [\d.e-]+, held back [\d.e-]+, as FP32 [\d.]+ %, \d+ images\/s, \d+ s left/))
    #expect(!run.output.contains("\r") && !run.output.contains("\u{1B}"))
    #expect(!run.errors.contains("epoch "))
  }

  @Test("programs get steps as progress and epochs as notes")
  func events() throws {
    let project = try Self.project()
    let run = try project.quench("build", "--events")
    try #require(run.status == 0, "\(run.errors)")
    let lines = run.output.split(separator: "\n")
    #expect(lines.count { $0.contains(#""event":"note""#) && $0.contains("epoch ") } == 300)
    #expect(
      lines.contains {
        $0.contains(#""event":"progress""#) && $0.contains(#""text":"step "#)
          && $0.contains(#""of":"#)
      })
  }

  @Test("by hand: one line that is redrawn on a terminal, a line an epoch in a pipe")
  func byHand() throws {
    let project = try Self.project()
    try #require(try project.quench("build").status == 0)
    for name in ["one", "two"] {
      try FileManager.default.createDirectory(
        atPath: project.space.path(name), withIntermediateDirectories: true)
    }
    let (status, text) = try Self.onTerminal(project, FinetuneTests.arguments("one"))
    try #require(status == 0, "\(text)")
    #expect(text.contains(/\rstep \d+\/\d+, loss [^\r\n]*images\/s, \d+ s left/))
    // The last thing that stands there is a whole line.
    #expect(text.hasSuffix("\n") || text.hasSuffix("\r\u{1B}[K"))

    let run = try project.run(Project.binary, FinetuneTests.arguments("two"), environment: [:])
    try #require(run.status == 0, "\(run.errors)")
    #expect(run.errors.split(separator: "\n").count { $0.hasPrefix("epoch ") } == 300)
    #expect(!run.errors.contains("\r") && run.output.isEmpty)
  }

  @Test(
    "Ninja and make show a line an epoch, and nothing is redrawn",
    arguments: ["/usr/bin/ninja", "/usr/bin/make"])
  func neighbors(program: String) throws {
    guard FileManager.default.isExecutableFile(atPath: program) else {
      try Test.cancel("\(program) is not here")
    }
    let project = try Self.project()
    try #require(try project.quench("build").status == 0)
    try FileManager.default.createDirectory(
      atPath: project.space.path("hand"), withIntermediateDirectories: true)
    let command = ([Project.binary] + FinetuneTests.arguments("hand")).joined(separator: " ")
    project.space.write("Makefile", "all:\n\t\(command)\n")
    project.space.write(
      "build.ninja", "rule train\n  command = \(command)\nbuild hand/tuned.onnx: train\n")
    let run = try project.run(program, [], environment: [:])
    try #require(run.status == 0, "\(run.errors)\(run.output)")
    let text = run.output + run.errors
    #expect(text.split(separator: "\n").count { $0.hasPrefix("epoch ") } == 300)
    #expect(!text.contains("\r") && !text.contains("\u{1B}"))
  }
}
