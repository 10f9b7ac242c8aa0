// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench assess`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import Measurement
internal import ONNXModel

struct AssessCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "assess", abstract: "Measure how much each layer loses when it alone is INT8.")

  @OptionGroup var stage: StageOptions
  @Option(help: "The folded model.") var model: String
  @Option(help: "The scales.") var scales: String
  @OptionGroup var data: SampleOptions
  @Option(help: "Relative error above which a layer is sensitive.") var threshold: Double = 0.001
  @Option(name: .shortAndLong, help: "The error by layer.") var output: String

  func run() throws {
    try stage.check("assess")
    let table = try LayerProbe.assess(
      model: try Model.read(model), scales: try ArtifactJSON.read(ScaleTable.self, from: scales),
      samples: try data.list(), preprocessing: try data.steps(), threshold: threshold,
      policy: data.onCorrupt, threads: data.threads, progress: StageProgress.report)
    try ArtifactJSON.write(table, to: output)
  }
}
