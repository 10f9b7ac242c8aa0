// SPDX-License-Identifier: Apache-2.0
// Measurement: a model in which layers stand beside their quantised form.

internal import Calibration
internal import Diagnostics
internal import ONNXModel
internal import Quantization
internal import Tensors

/// The float model up to some layers, and for each of them a second copy that reads
/// `DequantizeLinear(QuantizeLinear(input))` and the dequantised INT8 weight.
///
/// The copies read the *float* network's values, so that each layer is judged alone.
struct ProbeModel {
  /// The model; its outputs are the tensors of `pairs`.
  private(set) var model: Model
  /// For each layer the float output and the copy's.
  private(set) var pairs: [(float: String, quantized: String)] = []

  /// Bytes of compared outputs that one run may keep alive.
  static let outputLimit = 96 << 20
  private static let prefix = "quench.probe/"

  /// Cuts the layers, in their order, into parts whose outputs fit the limit.
  static func parts(
    of layers: [QuantizableLayer], in model: Model, limit: Int = outputLimit
  ) throws(QuenchError) -> [[QuantizableLayer]] {
    var shapes: [String: [Int]] = [:]
    for value in model.graph.values + model.graph.outputs { shapes[value.name] = value.fixedShape }
    var parts: [[QuantizableLayer]] = []
    var size = 0
    for layer in layers {
      // Float and quantised output, 4 bytes an element. Unknown shapes get a part of their own.
      let elements = shapes[layer.output].flatMap { Tensor.elementCount(of: $0) }
      let bytes = elements.map { 8 * $0 } ?? limit
      if parts.isEmpty || size + bytes > limit {
        parts.append([])
        size = 0
      }
      parts[parts.count - 1].append(layer)
      size += bytes
    }
    return parts
  }

  /// Builds the model for some layers.
  ///
  /// - Throws: `.data` when a scale is missing.
  init(
    _ layers: [QuantizableLayer], in float: Model, scales: ScaleTable
  ) throws(QuenchError) {
    model = float
    let nodes = Dictionary(
      float.graph.nodes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let constants = Dictionary(
      float.graph.initializers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    var outputs = Dictionary(
      (float.graph.values + float.graph.outputs).map { ($0.name, $0) },
      uniquingKeysWith: { first, _ in first })
    var done: Set<String> = []
    for layer in layers {
      guard var copy = nodes[layer.name] else {
        throw QuenchError(.bug, "the layer \"\(layer.name)\" is not in its model")
      }
      if done.insert(layer.input).inserted {
        try addActivation(layer.input, scales)
      }
      if done.insert(layer.weight).inserted {
        try addWeight(layer.weight, constants[layer.weight], scales)
      }
      let quantized = ProbeModel.prefix + layer.output
      copy.name = ProbeModel.prefix + layer.name
      copy.inputs[0] = ProbeModel.dequantized(layer.input)
      copy.inputs[1] = ProbeModel.dequantized(layer.weight)
      let product = copy.outputs[0]
      copy.outputs = [layer.biasNode == nil ? quantized : ProbeModel.prefix + product]
      model.graph.nodes.append(copy)
      if let name = layer.biasNode {
        guard var add = nodes[name] else {
          throw QuenchError(.bug, "the node \"\(name)\" is not in its model")
        }
        add.name = ProbeModel.prefix + name
        add.inputs = add.inputs.map { $0 == product ? ProbeModel.prefix + product : $0 }
        add.outputs = [quantized]
        model.graph.nodes.append(add)
      }
      if var description = outputs.removeValue(forKey: layer.output) {
        description.name = quantized
        model.graph.values.append(description)
      }
      pairs.append((layer.output, quantized))
    }
    model = try ModelCut.exposing(pairs.map(\.float) + pairs.map(\.quantized), of: model)
  }

  private static func dequantized(_ tensor: String) -> String { prefix + "dequantized/" + tensor }

  private mutating func addActivation(
    _ tensor: String, _ scales: ScaleTable
  ) throws(QuenchError) {
    guard let scale = scales.tensors[tensor] else {
      throw QuenchError(
        .data, "tensor \"\(tensor)\" has no scale", at: .tensor(tensor),
        try: "quench observe, then quench calibrate, with this model")
    }
    let step = ProbeModel.prefix + "scale/" + tensor
    let zero = ProbeModel.prefix + "zero/" + tensor
    let codes = ProbeModel.prefix + "codes/" + tensor
    model.graph.initializers.append(
      Initializer(step, Tensor(floats: [scale.quantizer.scale], shape: [])))
    model.graph.initializers.append(
      Initializer(zero, Tensor(.int8, shape: [], values: [Int8(clamping: scale.zeroPoint)])))
    model.graph.nodes.append(
      Node("QuantizeLinear", name: codes, inputs: [tensor, step, zero], outputs: [codes]))
    model.graph.nodes.append(
      Node(
        "DequantizeLinear", name: ProbeModel.dequantized(tensor), inputs: [codes, step, zero],
        outputs: [ProbeModel.dequantized(tensor)]))
  }

  private mutating func addWeight(
    _ name: String, _ weight: Initializer?, _ scales: ScaleTable
  ) throws(QuenchError) {
    guard let weight, let scale = scales.weights[name] else {
      throw QuenchError(
        .data, "the weight \"\(name)\" has no scale", at: .tensor(name),
        try: "quench calibrate with this model")
    }
    let step = ProbeModel.prefix + "scale/" + name
    let zero = ProbeModel.prefix + "zero/" + name
    let codes = ProbeModel.prefix + "codes/" + name
    let shape = scale.axis == nil ? [] : [scale.scales.count]
    model.graph.initializers += [
      Initializer(codes, try WeightQuantizer.quantize(weight.tensor(), scale: scale)),
      Initializer(step, Tensor(floats: scale.scales, shape: shape)),
      Initializer(
        zero, Tensor(.int8, shape: shape, values: scale.scales.map { _ in Int8(0) })),
    ]
    let axis = scale.axis.map { [Attribute("axis", .int(Int64($0)))] } ?? []
    model.graph.nodes.append(
      Node(
        "DequantizeLinear", name: ProbeModel.dequantized(name), inputs: [codes, step, zero],
        outputs: [ProbeModel.dequantized(name)], attributes: axis))
  }
}
