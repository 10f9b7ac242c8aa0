// SPDX-License-Identifier: Apache-2.0
// Quantization: what both ways of writing a quantized graph need.

internal import ONNXModel
internal import Tensors

/// Collects the nodes, constants and types of a graph under construction, and hands out new names.
struct GraphRewriter {
  /// The nodes so far, in topological order.
  var nodes: [Node] = []
  private var graph: Graph
  private var taken: Set<String>
  private var added: [Initializer] = []
  private var replaced: [String: Initializer] = [:]
  private var retired: Set<String> = []
  private var addedValues: [ValueInfo] = []
  private let shapes: [String: [Int]]

  init(_ graph: Graph) {
    self.graph = graph
    taken = []
    var shapes: [String: [Int]] = [:]
    for value in graph.inputs + graph.values + graph.outputs {
      shapes[value.name] = value.fixedShape
    }
    self.shapes = shapes
    GraphRewriter.collectNames(graph, into: &taken)
  }

  /// A name that no tensor, constant or node has, in subgraphs neither: `base`, else `base_2`, ….
  ///
  /// Depends on the graph and the order of requests only.
  mutating func newName(_ base: String) -> String {
    var name = base
    var number = 2
    while !taken.insert(name).inserted {
      name = "\(base)_\(number)"
      number += 1
    }
    return name
  }

  /// Adds a constant under a new name and answers the name.
  mutating func addConstant(_ base: String, _ tensor: Tensor) -> String {
    let name = newName(base)
    added.append(Initializer(name, tensor))
    return name
  }

  /// Changes a constant in place.
  mutating func replaceConstant(_ name: String, _ tensor: Tensor) {
    replaced[name] = Initializer(name, tensor)
  }

  /// Marks a constant for removal, unless something still reads it at the end.
  mutating func retire(_ name: String) { retired.insert(name) }

  /// Records the type of a new tensor that has the shape of `model`, where that is known.
  mutating func declare(_ name: String, _ elementType: ElementType, like model: String) {
    if let shape = shapes[model] { addedValues.append(ValueInfo(name, elementType, shape: shape)) }
  }

  /// Changes the recorded type of a tensor that keeps its name.
  mutating func retype(_ name: String, _ elementType: ElementType) {
    guard let index = graph.values.firstIndex(where: { $0.name == name }),
      let shape = graph.values[index].fixedShape
    else { return }
    graph.values[index] = ValueInfo(name, elementType, shape: shape)
  }

  /// The finished graph.
  consuming func finish() -> Graph {
    var result = graph
    result.nodes = nodes
    let read = Set(nodes.flatMap(\.readTensors)).union(result.outputs.map(\.name))
    let gone = retired.filter { !read.contains($0) }
    result.initializers =
      graph.initializers.filter { !gone.contains($0.name) }
      .map { replaced[$0.name] ?? $0 } + added
    result.inputs.removeAll { gone.contains($0.name) || replaced[$0.name] != nil }
    result.values += addedValues
    return result
  }

  private static func collectNames(_ graph: Graph, into names: inout Set<String>) {
    names.formUnion(graph.inputs.map(\.name))
    names.formUnion(graph.initializers.map(\.name))
    // A file may state the type of a tensor that it does not have.
    names.formUnion(graph.values.map(\.name))
    for node in graph.nodes {
      names.insert(node.name)
      names.formUnion(node.inputs)
      names.formUnion(node.outputs)
      for attribute in node.attributes {
        if case .graph(let inner) = attribute.value { collectNames(inner, into: &names) }
      }
    }
  }
}
