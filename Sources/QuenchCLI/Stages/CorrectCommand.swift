// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench correct`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import Measurement
internal import ONNXModel
internal import Quantization

struct CorrectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "correct",
    abstract: "Take the mean error of each quantized channel out of the biases.")

  @OptionGroup var stage: StageOptions
  @Option(help: "The folded model.") var model: String
  @Option(help: "The scales.") var scales: String
  @Option(help: "calibration.cfg.") var config: String
  @OptionGroup var data: SampleOptions
  @Option(name: .shortAndLong, help: "The model with corrected biases.") var output: String

  func run() throws {
    try stage.check("correct")
    let network = try Model.read(model)
    let shifts = try BiasCorrection.correct(
      model: network, config: try CalibrationConfig.parse(FileContent.read(config), path: config),
      scales: try ArtifactJSON.read(ScaleTable.self, from: scales), samples: try data.list(),
      preprocessing: try data.steps(), scratch: directory, policy: data.onCorrupt,
      threads: data.threads)
    try shifts.applied(to: network).write(to: output)
  }

  /// Intermediate tensors go where the result goes: nothing outside the project is written.
  private var directory: String {
    output.lastIndex(of: "/").map { String(output[..<$0]) } ?? "."
  }
}
