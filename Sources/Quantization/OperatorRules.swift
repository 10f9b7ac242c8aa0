// SPDX-License-Identifier: Apache-2.0
// Quantization: which operators have an INT8 form, and where their weights keep the channels.

public import Diagnostics
public import ONNXModel
internal import Tensors

/// What can be INT8 on the target.
///
/// Conv and ConvTranspose with a constant float32 weight (ConvTranspose and volumes undilated),
/// Gemm without `transA`, MatMul with a constant matrix on the right. Source: "supported layers"
/// of Huawei's AMCT documentation, restricted to operators with weights.
public enum OperatorRules {
  /// The quantizable layers of a folded model, in the order of its nodes.
  ///
  /// A layer that the target cannot compute in INT8 (dilated ConvTranspose, a Gemm with `alpha`
  /// other than 1, a weight that is computed) is left out: it stays as it is.
  /// - Throws: `.data` when two nodes share a name, or a shape is neither recorded in the model nor
  ///   inferable.
  public static func layers(of model: Model) throws(QuenchError) -> [QuantizableLayer] {
    let rules = try LayerFinder(model)
    var layers: [QuantizableLayer] = []
    var names: Set<String> = []
    for index in model.graph.nodes.indices {
      guard let layer = try rules.layer(at: index) else { continue }
      guard !layer.name.isEmpty else {
        throw QuenchError(
          .data, "the \(layer.opType) that produces \"\(layer.output)\" has no name",
          at: .tensor(layer.output), try: "quench fold, which names nodes")
      }
      guard names.insert(layer.name).inserted else {
        throw QuenchError(
          .data, "two layers are named \"\(layer.name)\"", at: .node(layer.name),
          try: "rename one of them in the model")
      }
      layers.append(layer)
    }
    return layers
  }
}

/// The look-up tables that the rules need, made once a model.
private struct LayerFinder {
  let nodes: [Node]
  let weights: [String: Initializer]
  let shapes: [String: [Int]]
  let consumers: [String: [Int]]
  let outputs: Set<String>
  let model: Model
  /// What was inferred, where the model does not say all shapes itself.
  let types: [String: TensorType]

  init(_ model: Model) throws(QuenchError) {
    self.model = model
    nodes = model.graph.nodes
    weights = Dictionary(
      model.graph.initializers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    consumers = model.graph.consumers()
    outputs = Set(model.graph.outputs.map(\.name))
    var shapes: [String: [Int]] = [:]
    for value in model.graph.inputs + model.graph.values + model.graph.outputs {
      shapes[value.name] = value.fixedShape
    }
    let candidates: Set<String> = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
    let isComplete = nodes.allSatisfy { node in
      !candidates.contains(node.opType)
        || (node.inputs.prefix(1) + node.outputs.prefix(1)).allSatisfy { shapes[$0] != nil }
    }
    var types: [String: TensorType] = [:]
    if !isComplete {
      var inputs: [String: [Int]] = [:]
      for input in model.graph.inputs { inputs[input.name] = input.fixedShape }
      types = try ShapeInference.infer(model, inputs: inputs)
      for (name, type) in types { shapes[name] = type.shape }
    }
    self.types = types
    self.shapes = shapes
  }

  func layer(at index: Int) throws(QuenchError) -> QuantizableLayer? {
    let node = nodes[index]
    guard node.domain.isEmpty || node.domain == "ai.onnx", node.inputs.count >= 2,
      let output = node.outputs.first, weights[node.inputs[0]] == nil,
      let weight = weights[node.inputs[1]], weight.elementType == .float32
    else { return nil }
    switch node.opType {
    case "Conv": return try convolution(node, weight, output)
    case "ConvTranspose": return try deconvolution(node, weight, output)
    case "Gemm": return try gemm(node, weight, output)
    case "MatMul": return try matMul(node, weight, output)
    default: return nil
    }
  }

  private func convolution(
    _ node: Node, _ weight: Initializer, _ output: String
  ) throws(QuenchError) -> QuantizableLayer? {
    let shape = weight.shape
    guard (3...5).contains(shape.count), !shape.contains(0) else { return nil }
    // Volumes may not be dilated in depth.
    if shape.count == 5, let dilations = node.ints("dilations"), dilations.first != 1 { return nil }
    let perOutput = shape.dropFirst().reduce(1, *)
    guard let bias = bias(of: node, at: 2, count: shape[0]) else { return nil }
    return QuantizableLayer(
      name: node.name, opType: "Conv", kind: .convolution, input: node.inputs[0],
      weight: weight.name, bias: bias.name, biasNode: nil, output: output, channelAxis: 0,
      channels: shape[0], reductionLength: perOutput,
      macs: product(try self.shape(of: output)) * perOutput, group: node.int("group", default: 1))
  }

  private func deconvolution(
    _ node: Node, _ weight: Initializer, _ output: String
  ) throws(QuenchError) -> QuantizableLayer? {
    let shape = weight.shape
    let group = node.int("group", default: 1)
    guard shape.count == 4, !shape.contains(0), group > 0, shape[0] % group == 0,
      node.ints("dilations")?.allSatisfy({ $0 == 1 }) ?? true,
      let bias = bias(of: node, at: 2, count: shape[1] * group)
    else { return nil }
    let kernel = shape[2] * shape[3]
    return QuantizableLayer(
      name: node.name, opType: "ConvTranspose", kind: .deconvolution, input: node.inputs[0],
      weight: weight.name, bias: bias.name, biasNode: nil, output: output, channelAxis: 1,
      channels: shape[1] * group, reductionLength: shape[0] / group * kernel,
      macs: product(try self.shape(of: node.inputs[0])) * shape[1] * kernel, group: group)
  }

  private func gemm(
    _ node: Node, _ weight: Initializer, _ output: String
  ) throws(QuenchError) -> QuantizableLayer? {
    let shape = weight.shape
    let isTransposed = node.int("transB", default: 0) != 0
    guard shape.count == 2, !shape.contains(0), node.int("transA", default: 0) == 0,
      node.float("alpha", default: 1) == 1
    else { return nil }
    let channels = isTransposed ? shape[0] : shape[1]
    let reduction = isTransposed ? shape[1] : shape[0]
    guard let bias = bias(of: node, at: 2, count: channels),
      bias.name == nil || node.float("beta", default: 1) == 1
    else { return nil }
    return QuantizableLayer(
      name: node.name, opType: "Gemm", kind: .fullConnection, input: node.inputs[0],
      weight: weight.name, bias: bias.name, biasNode: nil, output: output,
      channelAxis: isTransposed ? 0 : 1, channels: channels, reductionLength: reduction,
      macs: product(try self.shape(of: output)) * reduction, group: 1)
  }

  private func matMul(
    _ node: Node, _ weight: Initializer, _ output: String
  ) throws(QuenchError) -> QuantizableLayer? {
    let shape = weight.shape
    guard shape.count == 2, !shape.contains(0) else { return nil }
    let add = try addedVector(after: output, channels: shape[1])
    return QuantizableLayer(
      name: node.name, opType: "MatMul", kind: .fullConnection, input: node.inputs[0],
      weight: weight.name, bias: add?.vector, biasNode: add?.node.name,
      output: add?.node.outputs[0] ?? output, channelAxis: 1, channels: shape[1],
      reductionLength: shape[0], macs: product(try self.shape(of: output)) * shape[0], group: 1)
  }

  /// A bias input: absent (`name` nil), or a constant with one float32 a channel. Anything else
  /// answers nil: the layer has no INT8 form.
  private func bias(of node: Node, at position: Int, count: Int) -> (name: String?, Void)? {
    guard node.inputs.count > position, !node.inputs[position].isEmpty else { return (nil, ()) }
    let name = node.inputs[position]
    guard let bias = weights[name], isVector(bias, count: count) else { return nil }
    return (name, ())
  }

  /// The Add of a constant vector that is the only reader of a MatMul's result.
  private func addedVector(
    after tensor: String, channels: Int
  ) throws(QuenchError) -> (node: Node, vector: String)? {
    guard !outputs.contains(tensor), let readers = consumers[tensor], readers.count == 1 else {
      return nil
    }
    let add = nodes[readers[0]]
    guard add.opType == "Add", add.domain.isEmpty, add.inputs.count == 2, !add.name.isEmpty,
      add.inputs[0] != add.inputs[1]
    else { return nil }
    let other = add.inputs[0] == tensor ? add.inputs[1] : add.inputs[0]
    guard let vector = weights[other], isVector(vector, count: channels),
      vector.shape.count <= (try shape(of: tensor)).count
    else { return nil }
    return (add, other)
  }

  /// Whether a constant is float32 with `count` elements, all along the last axis.
  private func isVector(_ constant: Initializer, count: Int) -> Bool {
    constant.elementType == .float32 && constant.shape.last == count
      && constant.shape.dropLast().allSatisfy { $0 == 1 }
  }

  private func shape(of tensor: String) throws(QuenchError) -> [Int] {
    guard let shape = shapes[tensor] else {
      // Names the operator on the way whose result is not known.
      throw ShapeInference.missing(tensor, in: model, types: types)
    }
    return shape
  }

  private func product(_ shape: [Int]) -> Int { shape.reduce(1, *) }
}
