// SPDX-License-Identifier: Apache-2.0
// Finetuning: scales that the user's own command trained.

internal import Artifacts
internal import Calibration
internal import Diagnostics
internal import ONNXModel
internal import Quantization

/// Takes scales beside a network that was trained elsewhere.
enum OwnScales {
  /// The network with these scales.
  ///
  /// Lines of `calibration.cfg` follow the scales that were changed; a line that was edited stands
  /// where the command left the scale alone. A line with a layer's own weight scales goes, since the
  /// command says what they are now.
  /// - Parameters:
  ///   - model: the folded network, compared before.
  ///   - scales: `scales.json` as the command left it; not equal to PTQ's.
  ///   - path: of `scales`, for messages.
  /// - Throws: `.data` for tensors that PTQ's scales do not have or that are missing, for scales
  ///   that are not above 0 and finite, and for a number of scales that does not fit.
  static func quantizable(
    _ model: Model, _ scales: ScaleTable, path: String, like ptq: QuantizableNetwork
  ) throws(QuenchError) -> QuantizableNetwork {
    do throws(QuenchError) {
      try check(scales, model, like: ptq)
    } catch {
      throw error.located(at: .file(path))
    }
    var network = QuantizableNetwork(model: model, config: ptq.config, scales: scales)
    network.scales.model = try ContentDigest.of(model.encode()).hex
    for layer in try OperatorRules.layers(of: model) {
      guard let type = CalibrationConfig.OperatorType(rawValue: layer.kind.rawValue) else {
        continue
      }
      for entry in ptq.config.entries where entry.opType == type && entry.name == layer.name {
        guard case .vector = entry.value, let weight = scales.weights[layer.weight] else {
          continue
        }
        network.config.set(.init(name: layer.name, opType: type, value: .vector(weight.scales)))
      }
      guard let now = scales.tensors[layer.input],
        now.quantizer != ptq.scales.tensors[layer.input]?.quantizer
      else { continue }
      for entry in ptq.config.entries
      where (entry.opType == type && entry.name == layer.name)
        || (entry.opType == .input && entry.name == layer.input)
      {
        guard case .scalar = entry.value else { continue }
        network.config.set(
          .init(
            name: entry.name, opType: entry.opType,
            value: .scalar(scale: now.scale, zeroPoint: now.zeroPoint)))
      }
    }
    return network
  }

  private static func check(
    _ scales: ScaleTable, _ model: Model, like ptq: QuantizableNetwork
  ) throws(QuenchError) {
    try compare("tensor", Array(scales.tensors.keys), Array(ptq.scales.tensors.keys))
    for (name, tensor) in scales.tensors.sorted(by: { $0.key < $1.key }) {
      guard tensor.scale > 0, tensor.scale.isFinite else {
        throw QuenchError(.data, "the scale of \"\(name)\" is \(tensor.scale), not above 0")
      }
      guard (-128...127).contains(tensor.zeroPoint) else {
        throw QuenchError(
          .data, "the zero point of \"\(name)\" is \(tensor.zeroPoint), not in -128...127")
      }
    }
    let layers = try OperatorRules.layers(of: model)
    try compare("weight", Array(scales.weights.keys), layers.map(\.weight))
    for layer in layers {
      guard let weight = scales.weights[layer.weight] else { continue }
      guard weight.scales.allSatisfy({ $0 > 0 && $0.isFinite }) else {
        throw QuenchError(.data, "a scale of \"\(layer.weight)\" is not above 0")
      }
      let fits =
        weight.axis == nil
        ? weight.scales.count == 1
        : weight.axis == layer.channelAxis && weight.scales.count == channels(layer, model)
      guard fits else {
        throw QuenchError(
          .data,
          "\"\(layer.weight)\" has \(weight.scales.count) scales, which do not fit its channels")
      }
    }
  }

  /// The weight's size along its channels.
  private static func channels(_ layer: QuantizableLayer, _ model: Model) -> Int {
    let shape = model.graph.initializer(layer.weight)?.shape ?? []
    return shape.indices.contains(layer.channelAxis) ? shape[layer.channelAxis] : layer.channels
  }

  private static func compare(
    _ what: String, _ found: [String], _ wanted: [String]
  ) throws(QuenchError) {
    if let missing = Set(wanted).subtracting(found).sorted().first {
      throw QuenchError(
        .data, "the \(what) \"\(missing)\" has no scale\(NearestName.hint(missing, among: found))",
        try: "change numbers in the copy of scales.json in QUENCH_TUNED_SCALES, keep its names")
    }
    if let extra = Set(found).subtracting(wanted).sorted().first {
      throw QuenchError(
        .data,
        "the network has no \(what) \"\(extra)\"\(NearestName.hint(extra, among: wanted))",
        try: "change numbers in the copy of scales.json in QUENCH_TUNED_SCALES, keep its names")
    }
  }
}
