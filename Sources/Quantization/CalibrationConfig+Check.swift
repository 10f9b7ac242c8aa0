// SPDX-License-Identifier: Apache-2.0
// Quantization: calibration.cfg against the model that it speaks of.

public import Diagnostics
public import ONNXModel
internal import Tensors

/// What the lines of one layer come to.
struct LayerSetting {
  /// The input's quantizer; nil when the layer stays FP16.
  var activation: Scale?
  /// Weight scales that override scales.json.
  var weights: [Float]?
}

extension CalibrationConfig {
  /// Checks that every line speaks of something that the model has.
  ///
  /// - Throws: `.data` at the first line whose name the model lacks (with the nearest name), whose
  ///   type is not that of the layer, whose number of weight scales does not fit, or that asks for
  ///   INT8 where the model has no INT8 form.
  public func check(against model: Model) throws(QuenchError) {
    _ = try settings(of: OperatorRules.layers(of: model), in: model)
  }

  /// The settings by layer name. Layers without a line follow the `Input` line of what they read,
  /// else the fallback.
  func settings(
    of layers: [QuantizableLayer], in model: Model
  ) throws(QuenchError) -> [String: LayerSetting] {
    let names = Dictionary(layers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let weightShapes = Dictionary(
      model.graph.initializers.map { ($0.name, $0.shape) }, uniquingKeysWith: { first, _ in first })
    var settings: [String: LayerSetting] = [:]
    var inputs: [String: Scale] = [:]
    var isNamed: Set<String> = []
    for entry in entries.dropLast() {
      switch entry.opType {
      case .input:
        if let scale = try inputScale(entry, model) { inputs[entry.name] = scale }
      case .matMul, .matMulB:
        try checkComputedMatMul(entry, model)
      case .convolution, .deconvolution, .fullConnection:
        guard let layer = names[entry.name] else { throw unknownName(entry, layers, model) }
        try checkKind(entry, layer)
        switch entry.value {
        case .scalar(let scale, let zeroPoint):
          settings[layer.name, default: LayerSetting()].activation =
            Scale(scale: scale, zeroPoint: zeroPoint)
          isNamed.insert(layer.name)
        case .fp16:
          isNamed.insert(layer.name)
        case .vector(let scales):
          let shape = weightShapes[layer.weight] ?? []
          let channels = shape.indices.contains(layer.channelAxis) ? shape[layer.channelAxis] : 1
          guard scales.count == 1 || scales.count == channels else {
            throw fault(
              "\(scales.count) weight scales for the \(channels) channels of \"\(layer.name)\"",
              at: entry, column: scaleColumn(entry), try: "1 or \(channels) of them")
          }
          settings[layer.name, default: LayerSetting()].weights = scales
        }
      }
    }
    for layer in layers where !isNamed.contains(layer.name) {
      if let scale = inputs[layer.input] {
        settings[layer.name, default: LayerSetting()].activation = scale
      }
    }
    for entry in entries where entry.isWeights && settings[entry.name]?.activation == nil {
      throw fault(
        "the weight scales of \"\(entry.name)\" have no use: its activation has no SCALAR line",
        at: entry, try: "a SCALAR line for \"\(entry.name)\", or without this line")
    }
    return settings
  }

  private func inputScale(_ entry: Entry, _ model: Model) throws(QuenchError) -> Scale? {
    let names = model.graph.freeInputs.map(\.name)
    guard names.contains(entry.name) else {
      throw fault(
        "the model has no input \"\(entry.name)\"\(NearestName.hint(entry.name, among: names))",
        at: entry)
    }
    switch entry.value {
    case .scalar(let scale, let zeroPoint): return Scale(scale: scale, zeroPoint: zeroPoint)
    case .fp16: return nil
    case .vector:
      throw fault("an Input has no weights", at: entry, column: typeColumn(entry) + 6)
    }
  }

  private func checkComputedMatMul(_ entry: Entry, _ model: Model) throws(QuenchError) {
    let constants = Set(model.graph.initializers.map(\.name))
    let names = model.graph.nodes.filter { node in
      node.opType == "MatMul" && node.inputs.allSatisfy { !constants.contains($0) }
    }.map(\.name)
    guard names.contains(entry.name) else {
      throw fault(
        "the model has no MatMul of two computed tensors named \"\(entry.name)\""
          + NearestName.hint(entry.name, among: names), at: entry)
    }
    guard entry.value == .fp16 else {
      throw fault(
        "\"\(entry.name)\" multiplies two computed tensors, which stays FP16", at: entry,
        column: typeColumn(entry),
        try: Entry(name: entry.name, opType: entry.opType, value: .fp16).canonical)
    }
  }

  private func checkKind(_ entry: Entry, _ layer: QuantizableLayer) throws(QuenchError) {
    guard entry.opType.rawValue != layer.kind.rawValue else { return }
    throw fault(
      "\"\(layer.name)\" is a \(layer.opType), which is called \(layer.kind.rawValue) here",
      at: entry, column: typeColumn(entry))
  }

  private func unknownName(
    _ entry: Entry, _ layers: [QuantizableLayer], _ model: Model
  ) -> QuenchError {
    if entry.isFallback { return fault("the fallback line must be the last line", at: entry) }
    if let node = model.graph.nodes.first(where: { $0.name == entry.name }) {
      return fault(
        "\"\(entry.name)\" is a \(node.opType) that has no INT8 form", at: entry,
        try: "the file without this line")
    }
    return fault(
      "the model has no layer \"\(entry.name)\""
        + NearestName.hint(entry.name, among: layers.map(\.name)), at: entry)
  }

  private func typeColumn(_ entry: Entry) -> Int { entry.name.count + 2 }

  private func scaleColumn(_ entry: Entry) -> Int {
    typeColumn(entry) + entry.opType.rawValue.count + 1 + "VECTOR:".count
  }
}
