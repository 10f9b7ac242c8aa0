// SPDX-License-Identifier: Apache-2.0
// Quantization: the QDQ form, which ONNX Runtime runs.

internal import Calibration
public import ONNXModel
internal import Tensors

extension QuantizedModel {
  /// The model with QuantizeLinear and DequantizeLinear in front of every INT8 layer.
  ///
  /// Layers that read the same tensor with the same quantizer share one pair. Names are those of
  /// ONNX Runtime's tools: `x_QuantizeLinear`, `w_quantized`, `w_scale`, ….
  ///
  /// Source: ONNX operator specification, QuantizeLinear and DequantizeLinear, opset 13.
  public func qdq() -> Model {
    var writer = QDQWriter(self)
    var result = model
    result.graph = writer.write()
    return result
  }
}

private struct QDQWriter {
  private struct Pair: Hashable {
    var tensor: String
    var scale: UInt32
    var zeroPoint: Int32
  }

  private let quantized: QuantizedModel
  private var rewriter: GraphRewriter
  private var pairs: [Pair: String] = [:]
  private var weights: [Int: String] = [:]
  private let limits: QDQLimits

  init(_ quantized: QuantizedModel) {
    self.quantized = quantized
    limits = QDQLimits(quantized)
    rewriter = GraphRewriter(quantized.model.graph)
  }

  mutating func write() -> Graph {
    let layers = Dictionary(
      quantized.layers.map { ($0.layer.name, $0) }, uniquingKeysWith: { first, _ in first })
    let adds = Dictionary(
      quantized.layers.compactMap { layer in layer.layer.biasNode.map { ($0, layer) } },
      uniquingKeysWith: { first, _ in first })
    for var node in quantized.model.graph.nodes {
      if let layer = layers[node.name], node.outputs.first != nil, isNode(node, of: layer) {
        node.inputs[0] = activation(layer)
        node.inputs[1] = weight(layer)
        if let bias = layer.layer.bias, layer.layer.biasNode == nil, node.inputs.count > 2 {
          node.inputs[2] = self.bias(layer, bias)
        }
      } else if let layer = adds[node.name], let bias = layer.layer.bias,
        node.outputs.first == layer.layer.output
      {
        node.inputs = node.inputs.map { $0 == bias ? self.bias(layer, bias) : $0 }
      } else if node.opType == "Clip" {
        widen(&node)
      }
      rewriter.nodes.append(node)
    }
    return rewriter.finish()
  }

  /// Writes limits that ONNX Runtime drops, for those that it stumbles over.
  private mutating func widen(_ clip: inout Node) {
    func constant(_ position: Int) -> Float? {
      guard clip.inputs.count > position,
        let found = quantized.model.graph.initializer(clip.inputs[position]),
        let tensor = try? found.tensor(), tensor.elementType == .float32, tensor.count == 1
      else { return nil }
      return tensor.floats[0]
    }
    guard let result = clip.outputs.first, let low = constant(1), let high = constant(2) else {
      return
    }
    let wider = limits.widened(result, (low, high))
    for (position, value) in [(1, wider.low), (2, wider.high)] {
      guard let value else { continue }
      rewriter.retire(clip.inputs[position])
      clip.inputs[position] = rewriter.addConstant(
        "\(result)_\(position == 1 ? "min" : "max")", Tensor(floats: [value], shape: []))
    }
  }

  /// Names of other nodes may repeat; the operands tell them apart.
  private func isNode(_ node: Node, of layer: QuantizedLayer) -> Bool {
    node.opType == layer.layer.opType && node.inputs.count >= 2
      && node.inputs[0] == layer.layer.input && node.inputs[1] == layer.layer.weight
  }

  /// The dequantized form of the layer's input.
  private mutating func activation(_ layer: QuantizedLayer) -> String {
    let tensor = layer.layer.input
    let pair = Pair(
      tensor: tensor, scale: layer.activation.scale.bitPattern,
      zeroPoint: layer.activation.zeroPoint)
    if let known = pairs[pair] { return known }
    let scale = rewriter.addConstant(
      "\(tensor)_scale", Tensor(floats: [layer.activation.scale], shape: []))
    let zeroPoint = rewriter.addConstant(
      "\(tensor)_zero_point",
      Tensor(.int8, shape: [], values: [Int8(layer.activation.zeroPoint)]))
    let codes = rewriter.newName("\(tensor)_quantized")
    let values = rewriter.newName("\(tensor)_dequantized")
    rewriter.nodes.append(
      Node(
        "QuantizeLinear", name: rewriter.newName("\(tensor)_QuantizeLinear"),
        inputs: [tensor, scale, zeroPoint], outputs: [codes]))
    rewriter.nodes.append(
      Node(
        "DequantizeLinear", name: rewriter.newName("\(tensor)_DequantizeLinear"),
        inputs: [codes, scale, zeroPoint], outputs: [values]))
    rewriter.declare(codes, .int8, like: tensor)
    rewriter.declare(values, .float32, like: tensor)
    pairs[pair] = values
    return values
  }

  private mutating func weight(_ layer: QuantizedLayer) -> String {
    if let known = weights[layer.weight] { return known }
    let weight = quantized.weights[layer.weight]
    let count = weight.scale.scales.count
    let shape = weight.scale.axis == nil ? [] : [count]
    let codes = rewriter.addConstant("\(weight.name)_quantized", weight.codes)
    let scale = rewriter.addConstant(
      "\(weight.name)_scale", Tensor(floats: weight.scale.scales, shape: shape))
    let zeroPoint = rewriter.addConstant(
      "\(weight.name)_zero_point",
      Tensor(.int8, shape: shape, values: [Int8](repeating: 0, count: count)))
    let values = dequantize(weight.name, [codes, scale, zeroPoint], axis: weight.scale.axis)
    rewriter.retire(weight.name)
    weights[layer.weight] = values
    return values
  }

  /// A bias is never shared: each layer has a step of its own.
  private mutating func bias(_ layer: QuantizedLayer, _ name: String) -> String {
    let base = "\(layer.layer.name)_bias"
    let integers = layer.bias ?? []
    let isPerChannel = quantized.weights[layer.weight].scale.axis != nil
    let codes = rewriter.addConstant(
      "\(base)_quantized", Tensor(.int32, shape: [integers.count], values: integers))
    let scale = rewriter.addConstant(
      "\(base)_scale",
      Tensor(floats: layer.outputScales, shape: isPerChannel ? [layer.outputScales.count] : []))
    rewriter.retire(name)
    return dequantize(base, [codes, scale], axis: isPerChannel ? 0 : nil)
  }

  private mutating func dequantize(_ base: String, _ inputs: [String], axis: Int?) -> String {
    let values = rewriter.newName("\(base)_dequantized")
    rewriter.nodes.append(
      Node(
        "DequantizeLinear", name: rewriter.newName("\(base)_DequantizeLinear"), inputs: inputs,
        outputs: [values], attributes: axis.map { [Attribute("axis", .int(Int64($0)))] } ?? []))
    return values
  }
}
