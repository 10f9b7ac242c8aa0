// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench observe`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import Datasets
internal import Measurement
internal import Quantization

struct ObserveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "observe", abstract: "Run the network over images and count what it computes.")

  @OptionGroup var stage: StageOptions
  @Option(help: "The folded model.") var model: String
  @Option(help: "The list of tensors to observe.") var tensors: String
  @OptionGroup var data: SampleOptions
  @Option(name: .shortAndLong, help: "The observations (.qobs).") var output: String

  func run() throws {
    try stage.check("observe")
    let list = try ArtifactJSON.read(TensorList.self, from: tensors)
    let result = try Observer.observe(
      model: try FileContent.read(model), tensors: list.tensors, samples: try data.list(),
      preprocessing: try data.steps(), policy: data.onCorrupt, threads: data.threads,
      progress: StageProgress.report)
    try result.observations.write(to: output)
    SkippedSamples.report(result.skipped)
  }
}
