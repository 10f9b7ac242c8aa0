// SPDX-License-Identifier: Apache-2.0
// Finetuning: a network that was trained elsewhere, fitted into the pipeline.

internal import Artifacts
internal import Calibration
public import Diagnostics
public import ONNXModel
internal import Quantization

/// Takes a network that the user's own command trained.
public enum ExternalResult {
  /// Fits a trained network to the scales and the configuration of PTQ.
  ///
  /// Activations keep their calibrated scales; the weights, which moved, get new ones of the same
  /// kind. Lines with a layer's own weight scales are refused, since they speak of other weights.
  /// - Parameters:
  ///   - model: what the command wrote; folded here.
  ///   - path: of `model`, for messages.
  /// - Throws: `.data` when it is not the same network with other numbers.
  public static func adopt(
    _ model: Model, path: String, for ptq: QuantizableNetwork
  ) throws(QuenchError) -> (network: QuantizableNetwork, report: TrainingReport) {
    var shapes: [String: [Int]] = [:]
    for input in ptq.model.graph.inputs { shapes[input.name] = input.fixedShape }
    let folded: Model
    do throws(QuenchError) {
      folded = try Folding.fold(model, inputs: shapes)
    } catch {
      throw error.located(at: .file(path))
    }
    let wanted = try OperatorRules.layers(of: ptq.model)
    let found = try OperatorRules.layers(of: folded)
    for layer in wanted {
      guard let same = found.first(where: { $0.name == layer.name }) else {
        throw QuenchError(
          .data,
          "the trained model has no layer \"\(layer.name)\""
            + NearestName.hint(layer.name, among: found.map(\.name)), at: .file(path),
          try: "train the model in QUENCH_MODEL and keep its nodes' names")
      }
      guard same.input == layer.input, same.channels == layer.channels, same.kind == layer.kind
      else {
        throw QuenchError(
          .data, "the layer \"\(layer.name)\" of the trained model is another one", at: .file(path),
          try: "train the model in QUENCH_MODEL and keep its graph")
      }
    }
    let network = try RenewedScales.quantizable(folded, like: ptq)
    return (network, TrainingReport.external)
  }
}
