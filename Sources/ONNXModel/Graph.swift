// SPDX-License-Identifier: Apache-2.0
// ONNXModel: nodes, constants and named tensors.

internal import Diagnostics

/// A graph: nodes in topological order, constants, and what is known of the tensors.
public struct Graph: Sendable {
  /// What Quench does not take apart: documentation, sparse constants, unknown fields.
  private var shell: WireGraph
  /// Nodes in topological order.
  public var nodes: [Node]
  /// Constants.
  public var initializers: [Initializer]
  /// The graph's inputs. Files of IR version 3 list constants here too (`freeInputs`).
  public var inputs: [ValueInfo]
  /// The graph's outputs.
  public var outputs: [ValueInfo]
  /// What the file says about tensors between the nodes.
  public var values: [ValueInfo]

  /// Makes a graph.
  public init(
    name: String, nodes: [Node] = [], initializers: [Initializer] = [],
    inputs: [ValueInfo] = [], outputs: [ValueInfo] = [], values: [ValueInfo] = []
  ) {
    shell = WireGraph()
    shell.name = name
    self.nodes = nodes
    self.initializers = initializers
    self.inputs = inputs
    self.outputs = outputs
    self.values = values
  }

  init(message: WireGraph, directory: String?) {
    var shell = message
    nodes = message.node.map(Node.init(message:))
    initializers = message.initializer.map { Initializer(message: $0, directory: directory) }
    inputs = message.input.map(ValueInfo.init(message:))
    outputs = message.output.map(ValueInfo.init(message:))
    values = message.valueInfo.map(ValueInfo.init(message:))
    shell.node = []
    shell.initializer = []
    shell.input = []
    shell.output = []
    shell.valueInfo = []
    self.shell = shell
  }

  /// The graph's name.
  public var name: String {
    get { shell.name }
    set { shell.name = newValue }
  }

  /// Names of the constants that the file holds in sparse form.
  var sparseNames: [String] { shell.sparseInitializer.map(\.values.name) }

  /// The message without taking external data in.
  func encoded() -> WireGraph { assembled(initializers.map(\.unresolvedMessage)) }

  /// The message for a file.
  func inlined() throws(QuenchError) -> WireGraph {
    var tensors: [WireTensor] = []
    tensors.reserveCapacity(initializers.count)
    for initializer in initializers { tensors.append(try initializer.encoded()) }
    return assembled(tensors)
  }

  private func assembled(_ tensors: [WireTensor]) -> WireGraph {
    var message = shell
    message.node = nodes.map(\.message)
    message.initializer = tensors
    message.input = inputs.map(\.message)
    message.output = outputs.map(\.message)
    message.valueInfo = values.map(\.message)
    return message
  }
}

extension Graph: Equatable {
  /// Whether both would be written as the same bytes, external data aside.
  public static func == (a: Graph, b: Graph) -> Bool { a.encoded() == b.encoded() }
}

// MARK: - Look-up

extension Graph {
  /// The constant of that name. Linear; for many look-ups build a dictionary.
  public func initializer(_ name: String) -> Initializer? {
    initializers.first { $0.name == name }
  }

  /// Replaces the constant of that name, or adds it at the end.
  public mutating func setInitializer(_ initializer: Initializer) {
    if let index = initializers.firstIndex(where: { $0.name == initializer.name }) {
      initializers[index] = initializer
    } else {
      initializers.append(initializer)
    }
  }

  /// Tensor name to the index of the node that makes it.
  public func producers() -> [String: Int] {
    var found: [String: Int] = [:]
    for (index, node) in nodes.enumerated() {
      for output in node.outputs where !output.isEmpty { found[output] = index }
    }
    return found
  }

  /// Tensor name to the indices of the nodes that read it, ascending, each once; bodies of
  /// control-flow nodes count as their node. That it is an output of the graph is not counted.
  public func consumers() -> [String: [Int]] {
    var found: [String: [Int]] = [:]
    for (index, node) in nodes.enumerated() {
      for input in node.readTensors where found[input]?.last != index {
        found[input, default: []].append(index)
      }
    }
    return found
  }

  /// The inputs that are not constants: what a run must be fed.
  public var freeInputs: [ValueInfo] {
    let constants = Set(initializers.map(\.name))
    return inputs.filter { !constants.contains($0.name) }
  }
}

extension Node {
  /// Every tensor that the node reads, bodies included, left-out inputs excluded.
  public var readTensors: [String] {
    var names = inputs.filter { !$0.isEmpty }
    for graph in subgraphs { names += graph.capturedTensors }
    return names
  }
}

extension Graph {
  /// Tensors that a body reads from the graph around it, in order of first use.
  var capturedTensors: [String] {
    var local = Set(inputs.map(\.name)).union(initializers.map(\.name)).union(sparseNames)
    var captured: [String] = []
    for node in nodes {
      captured += node.readTensors.filter { !local.contains($0) }
      local.formUnion(node.outputs)
    }
    captured += outputs.map(\.name).filter { !local.contains($0) }
    return captured
  }
}
