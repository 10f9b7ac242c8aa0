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
    for entry in ptq.config.entries {
      guard case .vector = entry.value else { continue }
      throw QuenchError(
        .data,
        "calibration.cfg sets weight scales of \"\(entry.name)\", whose weights were trained",
        at: .node(entry.name), try: "remove its VECTOR line")
    }
    var scales = ptq.scales
    scales.model = try ContentDigest.of(folded.encode()).hex
    scales.weights = [:]
    let (wide, single) = (
      try WeightQuantizer.scales(for: found, in: folded, plan: .perChannel),
      try WeightQuantizer.scales(for: found, in: folded, plan: .perTensor)
    )
    for layer in found {
      // A layer's weight may have got another name: the layer's old weight says of what kind.
      let old = wanted.first { $0.name == layer.name }?.weight ?? layer.weight
      let isSingle = ptq.scales.weights[old].map { $0.axis == nil } ?? true
      scales.weights[layer.weight] = isSingle ? single[layer.weight] : wide[layer.weight]
    }
    let network = QuantizableNetwork(model: folded, config: ptq.config, scales: scales)
    return (network, TrainingReport.external)
  }
}
