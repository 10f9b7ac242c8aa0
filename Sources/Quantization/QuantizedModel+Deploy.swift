// SPDX-License-Identifier: Apache-2.0
// Quantization: the deploy form, which Ascend's atc compiles.

public import ONNXModel
internal import Tensors

extension QuantizedModel {
  /// The model with AscendQuant before and AscendDequant after every INT8 layer, whose weight and
  /// bias constants are integers.
  ///
  /// ONNX Runtime cannot run it and ONNX's checker refuses it. The device computes
  /// `q = sat(rint(x · scale + offset))` with `scale = 1 / s_x`, then
  /// `(Σ q·q_w + b_q − offset · Σ q_w) · s_x·s_w`; the term with the offset is added by atc.
  ///
  /// Source: the deploy models that Huawei's AMCT writes; a MatMul and its Add are dequantized
  /// after the Add, `dtype` 0 is float32.
  public func deploy() -> Model {
    var writer = DeployWriter(self)
    var result = model
    result.graph = writer.write()
    return result
  }
}

private struct DeployWriter {
  private let quantized: QuantizedModel
  private let readers: [String: Int]
  private var rewriter: GraphRewriter
  private var weights: [Int: String] = [:]

  init(_ quantized: QuantizedModel) {
    self.quantized = quantized
    rewriter = GraphRewriter(quantized.model.graph)
    var readers: [String: Int] = [:]
    for node in quantized.model.graph.nodes {
      for tensor in node.readTensors { readers[tensor, default: 0] += 1 }
    }
    for output in quantized.model.graph.outputs { readers[output.name, default: 0] += 1 }
    self.readers = readers
  }

  mutating func write() -> Graph {
    let layers = Dictionary(
      quantized.layers.map { ($0.layer.name, $0) }, uniquingKeysWith: { first, _ in first })
    let adds = Dictionary(
      quantized.layers.compactMap { layer in layer.layer.biasNode.map { ($0, layer) } },
      uniquingKeysWith: { first, _ in first })
    for var node in quantized.model.graph.nodes {
      if let layer = layers[node.name], node.opType == layer.layer.opType, node.inputs.count >= 2,
        node.inputs[0] == layer.layer.input, node.inputs[1] == layer.layer.weight
      {
        node.inputs[0] = quantize(layer)
        node.inputs[1] = weight(layer)
        if let bias = layer.layer.bias, layer.layer.biasNode == nil, node.inputs.count > 2 {
          node.inputs[2] = self.bias(layer, bias)
        }
        if layer.layer.biasNode == nil {
          dequantize(layer, &node)
        } else {
          node.outputs.first.map { rewriter.retype($0, .int32) }
          rewriter.nodes.append(node)
        }
      } else if let layer = adds[node.name], let bias = layer.layer.bias,
        node.outputs.first == layer.layer.output
      {
        node.inputs = node.inputs.map { $0 == bias ? self.bias(layer, bias) : $0 }
        dequantize(layer, &node)
      } else {
        rewriter.nodes.append(node)
      }
    }
    return rewriter.finish()
  }

  private mutating func quantize(_ layer: QuantizedLayer) -> String {
    let name = rewriter.newName("\(layer.layer.name).quant")
    let codes = rewriter.newName("\(layer.layer.name).quant.output0")
    rewriter.nodes.append(
      Node(
        "AscendQuant", name: name, inputs: [layer.layer.input], outputs: [codes],
        attributes: [
          Attribute("scale", .float(1 / layer.activation.scale)),
          Attribute("offset", .float(Float(layer.activation.zeroPoint))),
          Attribute("dst_type", .string("INT8")),
        ]))
    rewriter.declare(codes, .int8, like: layer.layer.input)
    return codes
  }

  /// Integer weights take the place of the float ones, unless an FP16 layer still reads those.
  private mutating func weight(_ layer: QuantizedLayer) -> String {
    if let known = weights[layer.weight] { return known }
    let weight = quantized.weights[layer.weight]
    let users = quantized.layers.count { $0.weight == layer.weight }
    let name: String
    if readers[weight.name] == users {
      rewriter.replaceConstant(weight.name, weight.codes)
      name = weight.name
    } else {
      rewriter.retire(weight.name)
      name = rewriter.addConstant("\(layer.layer.name).weight", weight.codes)
    }
    weights[layer.weight] = name
    return name
  }

  private mutating func bias(_ layer: QuantizedLayer, _ name: String) -> String {
    let integers = layer.bias ?? []
    // Vectors stay vectors of the same rank: the reshaped copy holds as many elements.
    let shape = quantized.model.graph.initializer(name)?.shape ?? [integers.count]
    let tensor = Tensor(.int32, shape: shape, values: integers)
    guard readers[name] == 1 else {
      rewriter.retire(name)
      return rewriter.addConstant("\(layer.layer.name).bias", tensor)
    }
    rewriter.replaceConstant(name, tensor)
    return name
  }

  /// Appends the layer's last node and the AscendDequant, which takes over the result's name.
  private mutating func dequantize(_ layer: QuantizedLayer, _ node: inout Node) {
    let result = layer.layer.output
    let sums = rewriter.newName("\(layer.layer.name).output0")
    node.outputs = node.outputs.map { $0 == result ? sums : $0 }
    rewriter.nodes.append(node)
    rewriter.declare(sums, .int32, like: result)
    let name = rewriter.newName("\(layer.layer.name).dequant")
    // Bits 31…0: the float32 scale; bits 39…32: the weights' offset, always 0; the rest 0.
    let packed = layer.outputScales.map { UInt64($0.bitPattern) }
    let parameter = rewriter.addConstant(
      "\(layer.layer.name).dequant.param",
      Tensor(.uint64, shape: [packed.count], values: packed))
    rewriter.nodes.append(
      Node(
        "AscendDequant", name: name, inputs: [sums, parameter], outputs: [result],
        attributes: [Attribute("dtype", .int(0))]))
  }
}
