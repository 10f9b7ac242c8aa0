// SPDX-License-Identifier: Apache-2.0
// Measurement: a model cut into steps that each end at a given tensor.

internal import Diagnostics
internal import ONNXModel
internal import Tensors

/// Runs through a model step by step: each step computes one wanted tensor from what the steps
/// before it left, and whatever later steps need of what it computed on the way.
struct NetworkChain {
  private let model: Model
  private let producers: [String: Int]
  /// Tensors that differ from sample to sample. Others are computed anew in each step.
  private let varying: Set<String>
  private let types: [String: TensorType]
  /// Nodes that some step needs.
  private var open: Set<Int>
  /// Varying tensors that are there.
  private(set) var available: Set<String>

  /// A step.
  struct Step {
    var model: Model
    /// What it reads of earlier steps.
    var inputs: [String]
    /// The wanted tensor first, then what later steps need.
    var outputs: [String]
    /// Tensors that no later step reads.
    var dead: [String]
  }

  /// - Parameter wanted: the tensors at which steps end.
  init(_ model: Model, wanted: [String]) throws(QuenchError) {
    self.model = model
    producers = model.graph.producers()
    let inputs = model.graph.freeInputs
    var varying = Set(inputs.map(\.name))
    for node in model.graph.nodes where node.readTensors.contains(where: varying.contains) {
      varying.formUnion(node.outputs)
    }
    self.varying = varying
    var shapes: [String: [Int]] = [:]
    for input in inputs { shapes[input.name] = input.fixedShape }
    types = try ShapeInference.infer(model, inputs: shapes)
    available = Set(inputs.map(\.name))
    open = []
    open = nodes(for: wanted)
  }

  /// The nodes that tensors need, going back to what is available.
  private func nodes(for tensors: [String]) -> Set<Int> {
    var found: Set<Int> = []
    var queue = tensors
    while let tensor = queue.popLast() {
      guard !available.contains(tensor), let node = producers[tensor],
        found.insert(node).inserted
      else { continue }
      queue += model.graph.nodes[node].readTensors
    }
    return found
  }

  /// The type of a tensor.
  func type(_ tensor: String) throws(QuenchError) -> TensorType {
    guard let type = types[tensor] else {
      throw QuenchError(
        .data, "the shape of tensor \"\(tensor)\" is not known", at: .tensor(tensor))
    }
    return type
  }

  /// The step that ends at a tensor.
  mutating func step(to wanted: String) throws(QuenchError) -> Step {
    let chosen = nodes(for: [wanted]).sorted()
    let graph = model.graph
    let made = Set(chosen.flatMap { graph.nodes[$0].outputs })
    let read = Set(chosen.flatMap { graph.nodes[$0].readTensors })
    let isVarying = { (node: Int) in graph.nodes[node].outputs.contains(where: varying.contains) }
    open.subtract(chosen.filter(isVarying))
    let later = Set(open.flatMap { graph.nodes[$0].readTensors })
    let inputs = read.subtracting(made).intersection(available).sorted()
    let kept = made.intersection(varying).intersection(later).subtracting([wanted]).sorted()
    let outputs = [wanted] + kept

    var part = model
    part.graph.nodes = chosen.map { graph.nodes[$0] }
    part.graph.initializers = graph.initializers.filter { read.contains($0.name) }
    part.graph.values = []
    part.graph.inputs = try inputs.map { name throws(QuenchError) in try value(name) }
    part.graph.outputs = try outputs.map { name throws(QuenchError) in try value(name) }
    let dead = available.union(outputs).subtracting(later).sorted()
    available = available.union(outputs).intersection(later)
    return Step(model: part, inputs: inputs, outputs: outputs, dead: dead)
  }

  private func value(_ name: String) throws(QuenchError) -> ValueInfo {
    let type = try type(name)
    return ValueInfo(name, type.elementType, shape: type.shape)
  }
}
