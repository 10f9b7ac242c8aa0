// SPDX-License-Identifier: Apache-2.0
// Finetuning: the line between the frozen and the trained part of a network.

internal import Diagnostics
internal import ONNXModel
internal import Quantization
internal import Tensors

/// Where a network is cut: obstacles and all that they depend on lie below and run frozen, the
/// rest is computed on the tape.
///
/// Nothing below may train, though a gradient could reach it by another way: what trains changes
/// the obstacle's input, and the tape cannot follow that.
struct NetworkCut {
  private let nodes: [Node]
  private let producers: [String: Int]
  /// The result: the model's, or what its last Softmax reads.
  let result: String
  /// The nodes that the result depends on.
  private(set) var needed: Set<Int>
  /// The nodes below the cut.
  private(set) var frozen: Set<Int> = []
  /// What stands in the way, by node.
  private(set) var obstacles: [Int: TrainingPlan.Obstacle] = [:]

  init(_ model: Model) {
    nodes = model.graph.nodes
    producers = model.graph.producers()
    var result = model.graph.outputs.first?.name ?? ""
    // The loss works on what the last Softmax reads.
    if let last = producers[result], let source = nodes[last].inputs.first,
      ["Softmax", "LogSoftmax"].contains(nodes[last].opType)
    {
      result = source
    }
    self.result = result
    needed = []
    needed = ancestors(of: producers[result].map { [$0] } ?? [])
  }

  /// Nodes and all that they depend on.
  private func ancestors(of some: [Int]) -> Set<Int> {
    var found = Set(some)
    var open = some
    while let index = open.popLast() {
      for name in nodes[index].readTensors {
        if let below = producers[name], found.insert(below).inserted { open.append(below) }
      }
    }
    return found
  }

  /// Puts obstacles and all that they depend on below the cut.
  mutating func freeze(_ more: [Int: TrainingPlan.Obstacle]) {
    obstacles.merge(more) { old, _ in old }
    frozen.formUnion(ancestors(of: Array(more.keys)))
  }

  /// The nodes of the tape, in graph order.
  var above: [Int] { needed.subtracting(frozen).sorted() }

  /// Whether the frozen part makes a tensor.
  func isFrozen(_ tensor: String) -> Bool { producers[tensor].map(frozen.contains) ?? false }

  /// The frozen part's tensors that the tape reads, in graph order.
  var tensors: [String] {
    var read = Set(above.flatMap { nodes[$0].readTensors })
    read.insert(result)
    return frozen.sorted().flatMap { nodes[$0].outputs }.filter { read.contains($0) }
  }

  /// Everything that frozen nodes read: it must stay as it is.
  var frozenReads: Set<String> { Set(frozen.flatMap { nodes[$0].readTensors }) }

  /// The obstacles in graph order.
  var obstaclesInOrder: [TrainingPlan.Obstacle] {
    obstacles.sorted { $0.key < $1.key }.map(\.value)
  }

  /// The frozen nodes with weights, each with the first obstacle that depends on it.
  func frozenLayers(of model: Model) -> [TrainingPlan.FrozenLayer] {
    let weights = Set(
      model.graph.initializers.filter {
        $0.elementType == .float32 && $0.shape.reduce(1, *) > 1
      }.map(\.name))
    var below: [Int: String] = [:]
    for (index, obstacle) in obstacles.sorted(by: { $0.key < $1.key }) {
      for node in ancestors(of: [index]) where below[node] == nil { below[node] = obstacle.node }
    }
    return frozen.sorted().compactMap { index in
      guard nodes[index].inputs.contains(where: { weights.contains($0) }) else { return nil }
      return below[index].map { TrainingPlan.FrozenLayer(layer: nodes[index].name, below: $0) }
    }
  }
}

// MARK: - The frozen part as a model

extension NetworkCut {
  /// The model that computes the tensors of the cut.
  ///
  /// - Parameter network: the float model, or its QDQ form, in which tensors bear the same names.
  func frozenModel(of network: Model, types: [String: TensorType]) -> Model {
    var model = network
    model.graph.outputs = tensors.map { name in
      ValueInfo(name, .float32, shape: types[name]?.shape ?? [])
    }
    model.graph.removeDead()
    return model
  }
}
