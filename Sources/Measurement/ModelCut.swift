// SPDX-License-Identifier: Apache-2.0
// Measurement: the part of a model that computes given tensors.

internal import Diagnostics
internal import ONNXModel
internal import Tensors

/// Cuts models to what a measurement needs.
enum ModelCut {
  /// The model that computes exactly the named tensors and nothing else.
  ///
  /// Nodes and constants that none of them depends on are dropped, so a measurement never pays for
  /// more than it asked for.
  /// - Throws: `.data` for a name that no node produces; inputs and constants are such names.
  static func exposing(_ names: [String], of model: Model) throws(QuenchError) -> Model {
    var cut = model
    let producers = model.graph.producers()
    var needed: Set<Int> = []
    var open: [Int] = []
    for name in names {
      guard let index = producers[name] else {
        throw QuenchError(
          .data,
          "the model computes no tensor \"\(name)\"\(NearestName.hint(name, among: producers.keys))",
          at: .tensor(name), try: "quench fold, which lists the tensors of this model again")
      }
      if needed.insert(index).inserted { open.append(index) }
    }
    while let index = open.popLast() {
      for name in model.graph.nodes[index].readTensors {
        if let producer = producers[name], needed.insert(producer).inserted {
          open.append(producer)
        }
      }
    }
    cut.graph.nodes = needed.sorted().map { model.graph.nodes[$0] }
    let read = Set(cut.graph.nodes.flatMap(\.readTensors))
    cut.graph.initializers = model.graph.initializers.filter { read.contains($0.name) }
    let constants = Set(model.graph.initializers.map(\.name))
    cut.graph.inputs = model.graph.inputs.filter {
      !constants.contains($0.name) || read.contains($0.name)
    }
    let produced = Set(cut.graph.nodes.flatMap(\.outputs))
    cut.graph.values = model.graph.values.filter { produced.contains($0.name) }
    cut.graph.outputs = try descriptions(of: names, in: model)
    return cut
  }

  /// What the file says about tensors; where it says nothing, what shape inference finds.
  private static func descriptions(
    of names: [String], in model: Model
  ) throws(QuenchError) -> [ValueInfo] {
    var known: [String: ValueInfo] = [:]
    for value in model.graph.values + model.graph.outputs { known[value.name] = value }
    if names.contains(where: { known[$0] == nil }) {
      var shapes: [String: [Int]] = [:]
      for input in model.graph.freeInputs { shapes[input.name] = input.fixedShape }
      for (name, type) in try ShapeInference.infer(model, inputs: shapes) where known[name] == nil {
        known[name] = ValueInfo(name, type.elementType, shape: type.shape)
      }
    }
    var descriptions: [ValueInfo] = []
    for name in names {
      guard let value = known[name] else {
        throw QuenchError(
          .data, "the shape of tensor \"\(name)\" is not known", at: .tensor(name),
          try: "quench fold, which records all shapes")
      }
      descriptions.append(value)
    }
    return descriptions
  }
}
