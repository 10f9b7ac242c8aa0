// SPDX-License-Identifier: Apache-2.0
// Finetuning: the scales of weights that moved without learning scales.

internal import Artifacts
internal import Calibration
internal import Diagnostics
internal import ONNXModel
internal import Quantization

enum RenewedScales {
  /// The network with other weights, as PTQ would quantize it: activations keep their calibrated
  /// scales, the weights get new ones of the same kind.
  ///
  /// - Parameters:
  ///   - model: the folded network with other weights. Its layers are named as those of `ptq`.
  /// - Throws: `.data` for lines of `calibration.cfg` with a layer's own weight scales, which speak
  ///   of other weights, and for weights that are not finite.
  static func quantizable(
    _ model: Model, like ptq: QuantizableNetwork
  ) throws(QuenchError) -> QuantizableNetwork {
    try check(ptq)
    let wanted = try OperatorRules.layers(of: ptq.model)
    let found = try OperatorRules.layers(of: model)
    var scales = ptq.scales
    scales.model = try ContentDigest.of(model.encode()).hex
    scales.weights = [:]
    let (wide, single) = (
      try WeightQuantizer.scales(for: found, in: model, plan: .perChannel),
      try WeightQuantizer.scales(for: found, in: model, plan: .perTensor)
    )
    for layer in found {
      // A layer's weight may have got another name: the layer's old weight says of what kind.
      let old = wanted.first { $0.name == layer.name }?.weight ?? layer.weight
      let isSingle = ptq.scales.weights[old].map { $0.axis == nil } ?? true
      scales.weights[layer.weight] = isSingle ? single[layer.weight] : wide[layer.weight]
    }
    return QuantizableNetwork(model: model, config: ptq.config, scales: scales)
  }

  /// Refuses, before any work, a configuration that speaks of the weights as they were.
  ///
  /// - Throws: `.data` naming the layer.
  static func check(_ ptq: QuantizableNetwork) throws(QuenchError) {
    for entry in ptq.config.entries {
      guard case .vector = entry.value else { continue }
      throw QuenchError(
        .data,
        "calibration.cfg sets weight scales of \"\(entry.name)\", whose weights were trained",
        at: .node(entry.name), try: "remove its VECTOR line")
    }
  }
}
