// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench coverage`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import Measurement
internal import ONNXModel

struct CoverageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "coverage", abstract: "Count what the ranges clip on other images.")

  @OptionGroup var stage: StageOptions
  @Option(help: "The folded model.") var model: String
  @Option(help: "The scales.") var scales: String
  @OptionGroup var data: SampleOptions
  @Option(name: .shortAndLong, help: "The clipped shares.") var output: String

  func run() throws {
    try stage.check("coverage")
    let table = try CoverageCounter.count(
      model: try Model.read(model), scales: try ArtifactJSON.read(ScaleTable.self, from: scales),
      samples: try data.list(), preprocessing: try data.steps(), policy: data.onCorrupt,
      threads: data.threads, progress: StageProgress.report)
    try ArtifactJSON.write(table, to: output)
  }
}
