// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench calibrate`.

public import ArgumentParser
internal import Artifacts
internal import Calibration
internal import Diagnostics
internal import ONNXModel
internal import Quantization

struct CalibrateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calibrate", abstract: "Turn observations into scales. Runs no model.")

  @OptionGroup var stage: StageOptions
  @Argument(help: "The observations (.qobs).") var observations: String
  @Option(help: "The folded model.") var model: String
  @Option(help: "minmax, kl, mse or percentile.") var method: String = "mse"
  @Option(help: "In percent; for the method percentile.") var percentile: String = "99.99"
  @Option(help: "asymmetric or symmetric.") var activations: ActivationScheme = .asymmetric
  @Option(help: "target, perChannel or perTensor.") var weights: WeightPlan = .target
  @Option(name: .shortAndLong, help: "The scales.") var output: String

  func run() throws {
    try stage.check("calibrate")
    let observed = try Observations.read(observations)
    let bytes = try FileContent.read(model)
    let digest = try ContentDigest.of(bytes).hex
    guard observed.model == digest else {
      throw QuenchError(
        .data, "these observations were made with another model", at: .file(observations),
        try: "quench observe --model \(model) …")
    }
    guard let fraction = PercentileFraction(percent: percentile) else {
      throw QuenchError(
        .usage, "\"\(percentile)\" is no percentile", at: .option("--percentile"), try: "99.99")
    }
    let method = try CalibrationMethod(name: method, percentile: fraction)
    let network = try Model.decode(bytes, path: model)
    let layers = try OperatorRules.layers(of: network)
    let table = ScaleTable(
      model: digest, method: "\(method)",
      tensors: try Calibrators.scales(for: observed, method: method, scheme: activations),
      weights: try WeightQuantizer.scales(for: layers, in: network, plan: weights))
    try ArtifactJSON.write(table, to: output)
  }
}

extension ActivationScheme: ExpressibleByArgument {}
extension WeightPlan: ExpressibleByArgument {}
