// SPDX-License-Identifier: Apache-2.0
// Finetuning: a trained graph back as a model and its scales.

internal import Calibration
public import Diagnostics
internal import ONNXModel
internal import Quantization
internal import Tensors

extension TrainableGraph {
  /// The model and the scales as they are now.
  ///
  /// Fewer than 8 bits of weights: the model holds the rounded weights, which are the same codes
  /// in INT8.
  /// - Throws: `.usage` with fewer than 8 bits of activations, which the QDQ model cannot say;
  ///   `.work` when a parameter is not finite.
  public func exported() throws(QuenchError) -> TrainedModel {
    guard options.activationBits == 8 || scales == nil else {
      throw QuenchError(
        .usage, "a model with activations of \(options.activationBits) bits cannot be written",
        try: "activations of 8 bits")
    }
    for parameter in parameters {
      parameter.applyBounds()
      guard parameter.values.allSatisfy(\.isFinite) else {
        throw QuenchError(
          .work, "\"\(parameter.name)\" holds NaN or an infinity", at: .tensor(parameter.name),
          try: "a smaller learning rate")
      }
    }
    var result = TrainedModel(model: model, scales: scales, config: config)
    for parameter in parameters where [.weight, .bias].contains(parameter.kind) {
      guard let old = model.graph.initializer(parameter.name) else { continue }
      result.model.graph.setInitializer(
        Initializer(parameter.name, Tensor(floats: rounded(parameter), shape: old.shape)))
    }
    for layer in try OperatorRules.layers(of: model) { write(layer, to: &result) }
    return result
  }

  /// The weight as it is, or of fewer bits its fake-quantized values.
  private func rounded(_ parameter: Parameter) -> [Float] {
    guard options.weightBits < 8,
      let coded = codedWeights.first(where: { $0.weight === parameter })
    else { return parameter.values }
    return parameter.values.indices.map { element in
      coded.position(of: element).rounded(.toNearestOrEven) * coded.scale(of: element)
    }
  }

  private func write(_ layer: QuantizableLayer, to result: inout TrainedModel) {
    guard let activation = activationScales[layer.name]?.parameter.values.first,
      let weights = weightScales[layer.name]?.parameter.values,
      let type = CalibrationConfig.OperatorType(rawValue: layer.kind.rawValue)
    else { return }
    let axis = weights.count == 1 ? nil : layer.channelAxis
    result.scales?.weights[layer.weight] = WeightScale(axis: axis, scales: weights)
    var zeroPoint = result.scales?.tensors[layer.input]?.zeroPoint ?? 0
    for entry in result.config?.entries ?? [] where entry.opType == type && entry.name == layer.name
    {
      switch entry.value {
      case .scalar(_, let code): zeroPoint = code
      case .vector:
        result.config?.set(.init(name: layer.name, opType: type, value: .vector(weights)))
      case .fp16: break
      }
    }
    for entry in result.config?.entries ?? []
    where entry.opType == .input && entry.name == layer.input {
      if case .scalar(_, let code) = entry.value,
        result.config?.entries.contains(where: { $0.name == layer.name }) == false
      {
        zeroPoint = code
      }
    }
    result.config?.set(
      .init(
        name: layer.name, opType: type, value: .scalar(scale: activation, zeroPoint: zeroPoint)))
    if var tensor = result.scales?.tensors[layer.input], tensor.zeroPoint == zeroPoint {
      tensor.scale = activation
      tensor.threshold = [
        Double(activation) * Double(-128 - zeroPoint), Double(activation) * Double(127 - zeroPoint),
      ]
      result.scales?.tensors[layer.input] = tensor
    }
  }
}
