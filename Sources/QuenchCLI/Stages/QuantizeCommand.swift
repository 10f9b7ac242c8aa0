// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench quantize`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import ONNXModel
internal import Quantization

struct QuantizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize",
    abstract: "Write the quantized network, for ONNX Runtime and for atc.")

  @OptionGroup var stage: StageOptions
  @Option(help: "The folded model, with corrected biases if there are.") var model: String
  @Option(help: "calibration.cfg.") var config: String
  @Option(help: "The scales.") var scales: String
  @Option(name: .shortAndLong, help: "The QDQ model.") var output: String
  @Option(help: "The model for atc.") var deploy: String
  @Option(help: "The scales as a record file, which AMCT's tools read.") var record: String

  func run() throws {
    try stage.check("quantize")
    let network = try Model.read(model)
    let choices = try CalibrationConfig.parse(try FileContent.read(config), path: config)
    let table = try ArtifactJSON.read(ScaleTable.self, from: scales)
    let quantized = try QuantizedModel.resolve(network, config: choices, scales: table)
    try quantized.qdq().write(to: output)
    try quantized.deploy().write(to: deploy)
    try FileContent.replace(record, with: RecordFile.encode(quantized))
    report(quantized.warnings)
  }

  /// Warnings, one line a kind: what one layer has, many often have.
  private func report(_ warnings: [QuantizationWarning]) {
    var kinds: [QuantizationWarning.Kind] = []
    for warning in warnings where !kinds.contains(warning.kind) { kinds.append(warning.kind) }
    for kind in kinds {
      let same = warnings.filter { $0.kind == kind }
      let more = same.count > 1 ? " (and \(same.count - 1) more layers like it)" : ""
      Terminal.warn((same.first?.message ?? "") + more)
    }
  }
}
