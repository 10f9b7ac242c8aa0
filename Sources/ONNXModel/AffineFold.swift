// SPDX-License-Identifier: Apache-2.0
// ONNXModel: batch normalisation and constants per channel folded into the layer before them.

internal import Diagnostics
internal import Tensors

/// Folds what scales and shifts channels into a Conv, ConvTranspose or Gemm before it:
/// BatchNormalization, and Mul and Add of a constant per channel.
///
/// With a = gamma / sqrt(variance + epsilon): w' = w · a and b' = (b − mean) · a + beta, per output
/// channel, in double, rounded to float32 once for each node folded in. The layer takes over the
/// name of that node's output. Weights and bias become constants of their own, so layers that
/// shared them stay right. What cannot be folded stays.
struct AffineFold {
  private static let layers: Set<String> = ["Conv", "ConvTranspose", "Gemm"]

  private var graph: Graph
  private var names: NameSource
  private var initializers: [String: Initializer] = [:]
  /// How many inputs read a tensor, bodies and outputs of the graph included.
  private var reads: [String: Int] = [:]

  static func fold(_ graph: Graph) throws(QuenchError) -> Graph {
    var folder = AffineFold(graph)
    try folder.run()
    return folder.graph
  }

  private init(_ graph: Graph) {
    self.graph = graph
    names = NameSource(graph)
    for initializer in graph.initializers { initializers[initializer.name] = initializer }
    for node in graph.nodes {
      for name in node.readTensors { reads[name, default: 0] += 1 }
    }
    for output in graph.outputs { reads[output.name, default: 0] += 1 }
  }

  private mutating func run() throws(QuenchError) {
    var producers = graph.producers()
    var gone: Set<Int> = []
    for (index, node) in graph.nodes.enumerated() where node.domain.isEmpty {
      guard let input = folded(node), let source = producers[input], reads[input] == 1,
        graph.nodes[source].outputs == [input], graph.nodes[source].domain.isEmpty,
        AffineFold.layers.contains(graph.nodes[source].opType)
      else { continue }
      do throws(QuenchError) {
        guard let parameters = try parameters(node, behind: graph.nodes[source]),
          let folded = try layer(graph.nodes[source], parameters)
        else { continue }
        graph.nodes[source] = folded
        graph.nodes[source].outputs = Array(node.outputs.prefix(1))
        // A second normalisation behind this one finds the layer as its producer.
        for output in node.outputs.prefix(1) { producers[output] = source }
        gone.insert(index)
      } catch {
        throw error.located(at: node.place)
      }
    }
    // The layer keeps its place: everything that it needs was there before the normalisation.
    graph.nodes = graph.nodes.indices.filter { !gone.contains($0) }.map { graph.nodes[$0] }
  }

  /// The computed input of a node that may be folded.
  private func folded(_ node: Node) -> String? {
    switch node.opType {
    case "BatchNormalization":
      guard node.int("training_mode", default: 0) == 0,
        node.outputs.dropFirst().allSatisfy(\.isEmpty)
      else { return nil }
      return node.inputs.first
    case "Add", "Mul": return node.inputs.first { initializers[$0] == nil }
    default: return nil
    }
  }

  /// y = (x − mean) · factor + beta per channel.
  private struct Parameters {
    let factor: [Double]
    let mean: [Double]
    let beta: [Double]
  }

  private func parameters(_ node: Node, behind layer: Node) throws(QuenchError) -> Parameters? {
    if node.opType != "BatchNormalization" { return try constants(node, behind: layer) }
    guard node.inputs.count == 5, let gamma = try vector(node.inputs[1]),
      let beta = try vector(node.inputs[2]), let mean = try vector(node.inputs[3]),
      let variance = try vector(node.inputs[4]), gamma.count == beta.count,
      gamma.count == mean.count, gamma.count == variance.count
    else { return nil }
    let epsilon = Double(node.float("epsilon", default: 1e-5))
    let factor = zip(gamma, variance).map { $0 / ($1 + epsilon).squareRoot() }
    // A variance below −epsilon: the runtime gives NaN, and it should stay visible where it is.
    guard factor.allSatisfy(\.isFinite) else { return nil }
    return Parameters(factor: factor, mean: mean, beta: beta)
  }

  /// Mul or Add of a constant that has one number a channel and 1 elsewhere.
  private func constants(_ node: Node, behind layer: Node) throws(QuenchError) -> Parameters? {
    guard node.inputs.count == 2, let name = node.inputs.first(where: { initializers[$0] != nil }),
      let held = initializers[name], held.knownElementType == .float32,
      layer.inputs.count >= 2, let rank = initializers[layer.inputs[1]]?.shape.count
    else { return nil }
    // Counted from the back, as broadcasting does; a higher rank would change the output's.
    let behind = layer.opType == "Gemm" ? 0 : rank - 2
    let shape = held.shape
    guard behind >= 0, shape.count > behind, shape.count <= rank else { return nil }
    let channel = shape.count - 1 - behind
    let values = try held.tensor().floats.map(Double.init)
    guard shape[channel] == values.count, values.allSatisfy(\.isFinite) else { return nil }
    let zeros = [Double](repeating: 0, count: values.count)
    if node.opType == "Mul" { return Parameters(factor: values, mean: zeros, beta: zeros) }
    let ones = [Double](repeating: 1, count: values.count)
    return Parameters(factor: ones, mean: zeros, beta: values)
  }

  private func vector(_ name: String) throws(QuenchError) -> [Double]? {
    guard let held = initializers[name], held.knownElementType == .float32,
      held.shape.count == 1
    else { return nil }
    return try held.tensor().floats.map(Double.init)
  }

  private mutating func layer(
    _ layer: Node, _ parameters: Parameters
  ) throws(QuenchError) -> Node? {
    guard layer.inputs.count >= 2,
      let held = initializers[layer.inputs[1]], held.knownElementType == .float32
    else { return nil }
    let weight = try held.tensor()
    let group = layer.int("group", default: 1)
    guard let channels = ChannelLayout(layer, weight.shape, group: group),
      channels.count == parameters.factor.count
    else { return nil }
    var (alpha, beta) = (1.0, 1.0)
    if layer.opType == "Gemm" {
      // The factors go into the numbers, so that one rounding stays one.
      alpha = Double(layer.float("alpha", default: 1))
      beta = Double(layer.float("beta", default: 1))
    }
    var bias = [Double](repeating: 0, count: channels.count)
    let hasBias = layer.inputs.count > 2 && !layer.inputs[2].isEmpty
    if hasBias {
      guard let values = try biasValues(layer.inputs[2], count: channels.count) else { return nil }
      bias = values.map { $0 * beta }
    }
    var scaled = weight
    scaled.withMutableElements(as: Float.self) { values in
      for index in values.indices {
        let factor = parameters.factor[channels.channel(of: index)] * alpha
        values[index] = Float(Double(values[index]) * factor)
      }
    }
    let shifted = bias.indices.map { channel in
      Float(
        (bias[channel] - parameters.mean[channel]) * parameters.factor[channel]
          + parameters.beta[channel])
    }
    return rewritten(layer, weight: scaled, bias: Tensor(floats: shifted, shape: [shifted.count]))
  }

  /// A bias as one number a channel; Gemm's may be a scalar or a row.
  private func biasValues(_ name: String, count: Int) throws(QuenchError) -> [Double]? {
    guard let held = initializers[name], held.knownElementType == .float32 else { return nil }
    let tensor = try held.tensor()
    let values = tensor.floats.map(Double.init)
    if values.count == count, tensor.shape.last == count { return values }
    return values.count == 1 ? Array(repeating: values[0], count: count) : nil
  }

  /// The layer with new constants. Names are kept where no one else reads the constant.
  private mutating func rewritten(_ layer: Node, weight: Tensor, bias: Tensor) -> Node {
    var node = layer
    var inputs = Array(layer.inputs.prefix(2))
    inputs[1] = replace(layer.inputs[1], with: weight, wanted: "\(layer.name)_weight")
    let old = layer.inputs.count > 2 ? layer.inputs[2] : ""
    inputs.append(replace(old, with: bias, wanted: "\(layer.name)_bias"))
    node.inputs = inputs
    if layer.opType == "Gemm" {
      node[attribute: "alpha"] = nil
      node[attribute: "beta"] = nil
    }
    return node
  }

  private mutating func replace(_ old: String, with tensor: Tensor, wanted: String) -> String {
    let name = old.isEmpty || reads[old] != 1 ? names.take(wanted) : old
    let new = Initializer(name, tensor)
    initializers[name] = new
    reads[name] = 1
    if name != old { reads[old]? -= 1 }
    if name == old {
      graph.setInitializer(new)
    } else {
      graph.initializers.append(new)
    }
    return name
  }
}

/// Which output channel each element of a weight belongs to.
private struct ChannelLayout {
  /// Output channels.
  let count: Int
  private let inner: Int
  private let extent: Int
  private let rows: Int
  private let groups: Int

  /// Nil when the weight has no such layout.
  init?(_ layer: Node, _ shape: [Int], group: Int) {
    guard shape.count >= 2, group > 0, !shape.contains(0) else { return nil }
    let kernel = shape.dropFirst(2).reduce(1, *)
    switch layer.opType {
    case "Conv":
      (count, extent, inner, rows, groups) = (shape[0], shape[0], shape[1] * kernel, 1, 1)
    case "ConvTranspose":
      // [Cin, Cout/group, …]: the group is told by the input channel.
      guard shape[0] % group == 0 else { return nil }
      (count, extent, inner) = (shape[1] * group, shape[1], kernel)
      (rows, groups) = (shape[0] / group, group)
    default:
      guard shape.count == 2 else { return nil }
      let isTransposed = layer.int("transB", default: 0) != 0
      count = isTransposed ? shape[0] : shape[1]
      extent = count
      inner = isTransposed ? shape[1] : 1
      (rows, groups) = (1, 1)
    }
  }

  func channel(of index: Int) -> Int {
    let within = index / inner % extent
    guard groups > 1 else { return within }
    return index / (inner * extent * rows) * extent + within
  }
}
