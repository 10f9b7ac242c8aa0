// SPDX-License-Identifier: Apache-2.0
// Quantization: a QDQ model in the form in which floats count like integers.

public import ONNXModel
internal import Tensors

extension Model {
  /// The same QDQ model with every INT8 layer summing products of codes instead of products of
  /// their values; a model without such layers is left as it is.
  ///
  /// Sums of codes are whole numbers, which float32 holds exactly up to 2^24. So they depend neither
  /// on the order of summation nor on the processor, and are what the device's INT32 accumulators
  /// hold; only then come the scales. (Larger sums are rounded at 2^-24 of themselves, as an INT32 sum
  /// is when it becomes a float, but perhaps more than once.) In the QDQ form each product is rounded:
  /// where a sum lies at a tie between two codes of the next layer, processors and optimization levels
  /// disagree, and later layers carry that on. A result that is only quantized again goes there by one
  /// multiplication, (s_x · s_w) / s_y in float32, as an integer engine requantizes.
  ///
  /// Left as they are: layers whose scales are not float32 initializers, whose bias is not in steps of
  /// their products (a float bias, say), or that scale by themselves (Gemm's alpha and beta).
  ///
  /// The form runs anywhere, but hides from integer engines what they look for: evaluate with it,
  /// hand on the QDQ form. Names and shapes of inputs and outputs stay.
  ///
  /// Source: the arithmetic of ONNX Runtime's `QLinearConv`, and of AscendDequant and AscendRequant.
  public func summingCodes() -> Model {
    var writer = CodeSumWriter(graph)
    guard let rewritten = writer.write() else { return self }
    var result = self
    result.graph = rewritten
    result.graph.removeDead()
    return result
  }
}

/// A DequantizeLinear with constant parameters.
private struct Dequantizer {
  /// What it makes.
  let values: String
  /// The integer tensor it reads.
  let codes: String
  let scales: Tensor
  let zeroPoint: String?
  /// As the node says it: operator sets below 13 have no axis.
  let attributes: [Attribute]

  /// The axis of the scales, in codes of that many axes.
  func axis(of rank: Int) -> Int {
    let axis = attributes.first { $0.name == "axis" }
    guard case .int(let value)? = axis?.value else { return 1 }
    return Int(value) + (value < 0 ? rank : 0)
  }
}

/// An INT8 layer of a QDQ model.
private struct CodeLayer {
  let input: Dequantizer
  let weight: Dequantizer
  let bias: Dequantizer?
  /// The node that adds the bias, where the layer does not.
  let biasNode: Int?
  /// The layer's result, the bias included.
  let result: String
  /// One s_x · s_w, or one an output channel.
  let steps: [Float]
  /// Axes behind the channels' in the result.
  let innerAxes: Int
}

/// The one quantizer that reads a layer's result.
private struct Reader {
  let node: Int
  let scale: Float
  /// The Relu or Clip between, whose limits the quantizer has anyway.
  let limiter: Int?
}

private struct CodeSumWriter {
  private let graph: Graph
  private let constants: [String: Initializer]
  private let producers: [String: Int]
  private let consumers: [String: [Int]]
  private let outputs: Set<String>
  private var rewriter: GraphRewriter
  /// By what a DequantizeLinear makes: the same codes as floats.
  private var floats: [String: String] = [:]
  /// Layers whose bias the node of this index adds.
  private var unbiased: [Int: CodeLayer] = [:]
  /// By QuantizeLinear: what it reads instead, already in its steps.
  private var inSteps: [Int: String] = [:]
  /// Relus and Clips that do nothing any more.
  private var dropped: Set<Int> = []

  init(_ graph: Graph) {
    self.graph = graph
    constants = Dictionary(
      graph.initializers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    producers = graph.producers()
    consumers = graph.consumers()
    outputs = Set(graph.outputs.map(\.name))
    rewriter = GraphRewriter(graph)
  }

  /// Nil when there is no layer to rewrite.
  mutating func write() -> Graph? {
    var layers: [Int: CodeLayer] = [:]
    for index in graph.nodes.indices { layers[index] = layer(at: index) }
    if layers.isEmpty { return nil }
    for (index, node) in graph.nodes.enumerated() where !dropped.contains(index) {
      if let layer = layers[index] {
        write(layer, node)
      } else if let layer = unbiased[index] {
        finish(layer, node)
      } else if let source = inSteps[index] {
        var quantizer = node
        quantizer.inputs[0] = source
        quantizer.inputs[1] = rewriter.addConstant(
          "\(source)_scale", Tensor(floats: [1], shape: []))
        rewriter.nodes.append(quantizer)
      } else {
        rewriter.nodes.append(node)
      }
    }
    return rewriter.finish()
  }

  private mutating func write(_ layer: CodeLayer, _ node: Node) {
    var node = node
    node.inputs[0] = float(layer.input)
    node.inputs[1] = float(layer.weight)
    guard let add = layer.biasNode else { return finish(layer, node) }
    unbiased[add] = layer
    rewriter.nodes.append(node)
  }

  /// Writes the last node of a layer, which adds the bias where there is one, and the scaling.
  private mutating func finish(_ layer: CodeLayer, _ node: Node) {
    var node = node
    if let bias = layer.bias {
      let codes = float(bias)
      node.inputs = node.inputs.map { $0 == bias.values ? codes : $0 }
    }
    let sums = rewriter.newName("\(layer.result)_sums")
    node.outputs[0] = sums
    rewriter.nodes.append(node)
    // No integer engine requantizes a transposed convolution on the way.
    guard node.opType != "ConvTranspose", let reader = reader(of: layer.result) else {
      return multiply(sums, layer.steps, layer, into: layer.result)
    }
    let steps = rewriter.newName("\(layer.result)_in_steps")
    multiply(sums, layer.steps.map { $0 / reader.scale }, layer, into: steps)
    inSteps[reader.node] = steps
    if let limiter = reader.limiter { dropped.insert(limiter) }
  }

  private mutating func multiply(
    _ sums: String, _ factors: [Float], _ layer: CodeLayer, into result: String
  ) {
    let ones = [Int](repeating: 1, count: factors.count > 1 ? layer.innerAxes : 0)
    let shape = factors.count > 1 ? [factors.count] + ones : []
    let factor = rewriter.addConstant("\(result)_factor", Tensor(floats: factors, shape: shape))
    rewriter.nodes.append(
      Node(
        "Mul", name: rewriter.newName("\(result)_Mul"), inputs: [sums, factor], outputs: [result])
    )
  }

  /// The codes less their zero point, as floats.
  private mutating func float(_ dequantizer: Dequantizer) -> String {
    if let known = floats[dequantizer.values] { return known }
    let ones = [Float](repeating: 1, count: dequantizer.scales.count)
    let scale = rewriter.addConstant(
      "\(dequantizer.codes)_ones", Tensor(floats: ones, shape: dequantizer.scales.shape))
    let result = rewriter.newName("\(dequantizer.codes)_floats")
    rewriter.nodes.append(
      Node(
        "DequantizeLinear", name: rewriter.newName("\(result)_DequantizeLinear"),
        inputs: [dequantizer.codes, scale] + (dequantizer.zeroPoint.map { [$0] } ?? []),
        outputs: [result], attributes: dequantizer.attributes))
    floats[dequantizer.values] = result
    return result
  }
}

// MARK: - What is found

extension CodeSumWriter {
  private func constant(_ name: String) -> Tensor? {
    constants[name].flatMap { try? $0.tensor() }
  }

  private func dequantizer(_ tensor: String) -> Dequantizer? {
    guard let node = producers[tensor].map({ graph.nodes[$0] }), node.domain.isEmpty,
      node.opType == "DequantizeLinear", node.inputs.count >= 2,
      node.int("block_size", default: 0) == 0, let scales = constant(node.inputs[1]),
      scales.elementType == .float32, scales.shape.count <= 1, scales.count > 0
    else { return nil }
    let zeroPoint = node.inputs.count > 2 && !node.inputs[2].isEmpty ? node.inputs[2] : nil
    return Dequantizer(
      values: tensor, codes: node.inputs[0], scales: scales, zeroPoint: zeroPoint,
      attributes: node.attributes)
  }

  /// The shape of constant codes: stored, or made from a constant by a quantizer.
  private func shape(ofCodes name: String) -> [Int]? {
    if let codes = constants[name] { return codes.shape }
    guard let node = producers[name].map({ graph.nodes[$0] }), node.domain.isEmpty,
      node.opType == "QuantizeLinear"
    else { return nil }
    return constants[node.inputs[0]]?.shape
  }

  private func layer(at index: Int) -> CodeLayer? {
    let node = graph.nodes[index]
    guard node.domain.isEmpty, node.inputs.count >= 2, let output = node.outputs.first,
      let input = dequantizer(node.inputs[0]), input.scales.count == 1,
      let weight = dequantizer(node.inputs[1]), let shape = shape(ofCodes: weight.codes),
      let kind = kind(of: node, shape),
      weight.scales.count == 1 || weight.scales.count == shape[kind.axis],
      weight.scales.count == 1 || weight.axis(of: shape.count) == kind.axis
    else { return nil }
    let own = weight.scales.floats.map { input.scales.floats[0] * $0 }
    // A transposed convolution has the channels of its groups one after the other.
    let steps = own.count == 1 ? own : (0..<kind.groups).flatMap { _ in own }
    var result = output
    var bias: Dequantizer?
    var biasNode: Int?
    if node.inputs.count > 2, !node.inputs[2].isEmpty {
      guard let found = dequantizer(node.inputs[2]), isBias(found, steps) else { return nil }
      bias = found
    } else if node.opType == "MatMul", let add = biasAdd(after: output), isBias(add.bias, steps) {
      (bias, biasNode) = (add.bias, add.node)
      result = graph.nodes[add.node].outputs[0]
    }
    return CodeLayer(
      input: input, weight: weight, bias: bias, biasNode: biasNode, result: result, steps: steps,
      innerAxes: kind.innerAxes)
  }

  /// Whether codes count in the steps of a layer's products. Those of a column, or of a square by
  /// rows, may have as many scales as there are channels, but along another axis.
  private func isBias(_ bias: Dequantizer, _ steps: [Float]) -> Bool {
    guard bias.scales.floats == steps else { return false }
    guard steps.count > 1 else { return true }
    guard let rank = shape(ofCodes: bias.codes)?.count else { return false }
    return bias.axis(of: rank) == rank - 1
  }

  /// Where a layer's weight has the output channels and how many axes its result has behind them;
  /// nil when a node is no layer, or one that does more than sum up products.
  private func kind(of node: Node, _ shape: [Int]) -> (axis: Int, groups: Int, innerAxes: Int)? {
    switch node.opType {
    case "Conv" where shape.count > 2: return (0, 1, shape.count - 2)
    case "ConvTranspose" where shape.count > 2:
      return (1, node.int("group", default: 1), shape.count - 2)
    case "Gemm" where shape.count == 2:
      guard node.float("alpha", default: 1) == 1, node.float("beta", default: 1) == 1 else {
        return nil
      }
      return (node.int("transB", default: 0) == 0 ? 1 : 0, 1, 0)
    case "MatMul" where shape.count == 2: return (1, 1, 0)
    default: return nil
    }
  }

  private func biasAdd(after tensor: String) -> (bias: Dequantizer, node: Int)? {
    guard !outputs.contains(tensor), let readers = consumers[tensor], readers.count == 1 else {
      return nil
    }
    let add = graph.nodes[readers[0]]
    guard add.opType == "Add", add.domain.isEmpty, add.inputs.count == 2 else { return nil }
    let other = add.inputs[0] == tensor ? add.inputs[1] : add.inputs[0]
    guard let bias = dequantizer(other), constants[bias.codes]?.elementType == .int32 else {
      return nil
    }
    return (bias, readers[0])
  }

  /// The quantizer that alone reads a layer's result, if the limits between are its own.
  private func reader(of result: String) -> Reader? {
    guard let first = onlyReader(of: result) else { return nil }
    if let reader = quantizer(at: first, limits: (-.infinity, .infinity), limiter: nil) {
      return reader
    }
    guard let limits = limits(of: graph.nodes[first]),
      let output = graph.nodes[first].outputs.first,
      let second = onlyReader(of: output)
    else { return nil }
    return quantizer(at: second, limits: limits, limiter: first)
  }

  private func onlyReader(of tensor: String) -> Int? {
    guard !outputs.contains(tensor), let readers = consumers[tensor], readers.count == 1 else {
      return nil
    }
    return readers[0]
  }

  private func quantizer(
    at index: Int, limits: (low: Float, high: Float), limiter: Int?
  ) -> Reader? {
    let node = graph.nodes[index]
    guard node.opType == "QuantizeLinear", node.domain.isEmpty, node.inputs.count == 3,
      node.int("block_size", default: 0) == 0,
      let scale = constant(node.inputs[1]), scale.elementType == .float32, scale.count == 1,
      let zeroPoint = constant(node.inputs[2]), zeroPoint.count == 1,
      let range = range(zeroPoint)
    else { return nil }
    let step = scale.floats[0]
    func code(_ limit: Float) -> Float { (limit / step).rounded(.toNearestOrEven) }
    guard code(limits.low) <= range.low, code(limits.high) >= range.high else { return nil }
    return Reader(node: index, scale: step, limiter: limiter)
  }

  /// The codes of a quantizer, less its zero point.
  private func range(_ zeroPoint: Tensor) -> (low: Float, high: Float)? {
    switch zeroPoint.elementType {
    case .int8:
      let zero = Float(zeroPoint.values(as: Int8.self)[0])
      return (-128 - zero, 127 - zero)
    case .uint8:
      let zero = Float(zeroPoint.values(as: UInt8.self)[0])
      return (-zero, 255 - zero)
    default: return nil
    }
  }

  /// What a Relu or a Clip with constant limits lets through.
  private func limits(of node: Node) -> (low: Float, high: Float)? {
    guard node.domain.isEmpty else { return nil }
    if node.opType == "Relu" { return (0, .infinity) }
    guard node.opType == "Clip", node.attributes.isEmpty else { return nil }
    var limits: (low: Float, high: Float) = (-.infinity, .infinity)
    for (position, name) in node.inputs.enumerated() where position > 0 && !name.isEmpty {
      guard let limit = constant(name), limit.elementType == .float32, limit.count == 1 else {
        return nil
      }
      if position == 1 { limits.low = limit.floats[0] } else { limits.high = limit.floats[0] }
    }
    return limits
  }
}
