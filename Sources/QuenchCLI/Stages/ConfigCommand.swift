// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench config`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import ONNXModel
internal import Quantization

struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Write calibration.cfg: which layer runs how.")

  @OptionGroup var stage: StageOptions
  @Option(help: "The folded model.") var model: String
  @Option(help: "The scales.") var scales: String
  @Option(help: "The error by layer.") var sensitivity: String
  @Option(help: ArgumentHelp("What the user decided.", valueName: "json")) var precision: String?
  @Option(name: .shortAndLong, help: "calibration.cfg.") var output: String

  func run() throws {
    try stage.check("config")
    let network = try Model.read(model)
    let table = try ArtifactJSON.read(ScaleTable.self, from: scales)
    let options = try precision.map {
      try PrecisionOptions.decode(try FileContent.read($0), path: $0)
    }
    let layers = try OperatorRules.layers(of: network)
    let plan = try PrecisionPlan.make(
      layers: layers, scales: table,
      sensitivity: try ArtifactJSON.read(SensitivityTable.self, from: sensitivity),
      options: options ?? PrecisionOptions())
    let config = try CalibrationConfig.make(
      model: network, layers: layers, scales: table, plan: plan)
    try FileContent.replace(output, with: config.encode())
    for note in plan.notes { Terminal.warn(note) }
  }
}
