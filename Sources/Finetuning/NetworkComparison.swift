// SPDX-License-Identifier: Apache-2.0
// Finetuning: whether a network is another one with other numbers, and where it is not.

internal import Diagnostics
internal import ONNXModel
internal import Quantization
internal import Tensors

/// Compares a network that was trained elsewhere with the one that was to be trained.
enum NetworkComparison {
  private static let remedy = "train the model in QUENCH_MODEL and keep its graph"

  /// Compares the names and shapes of inputs and outputs, before anything is folded.
  ///
  /// - Throws: `.data` naming the first difference.
  static func compareEnds(_ model: Model, with original: Model) throws(QuenchError) {
    func ends(
      _ what: String, _ found: [ValueInfo], _ wanted: [ValueInfo]
    ) throws(QuenchError) {
      for value in wanted {
        guard let same = found.first(where: { $0.name == value.name }) else {
          throw QuenchError(
            .data,
            "the trained model has no \(what) \"\(value.name)\""
              + NearestName.hint(value.name, among: found.map(\.name)),
            try: "train the model in QUENCH_MODEL and keep the names of inputs and outputs")
        }
        guard same.elementType == value.elementType else {
          throw QuenchError(
            .data, "the \(what) \"\(value.name)\" of the trained model has another element type",
            try: remedy)
        }
        // A batch that was made free again is no other shape.
        guard let shape = same.fixedShape, let before = value.fixedShape, shape != before else {
          continue
        }
        throw QuenchError(
          .data,
          "the \(what) \"\(value.name)\" of the trained model has shape \(shape), not \(before)",
          try: remedy)
      }
      let names = Set(wanted.map(\.name))
      if let extra = found.first(where: { !names.contains($0.name) }) {
        throw QuenchError(
          .data, "the trained model has one more \(what), \"\(extra.name)\"", try: remedy)
      }
    }
    try ends("input", model.graph.freeInputs, original.graph.freeInputs)
    try ends("output", model.graph.outputs, original.graph.outputs)
  }

  /// Compares layers, nodes and the shapes of weights of two folded networks, and looks for numbers
  /// that are none.
  ///
  /// - Throws: `.data` naming the first difference.
  static func compare(_ model: Model, with original: Model) throws(QuenchError) {
    try compareLayers(
      OperatorRules.layers(of: model), OperatorRules.layers(of: original), model, original)
    try compareNodes(model, original)
    for initializer in model.graph.initializers where initializer.knownElementType == .float32 {
      guard try initializer.tensor().floats.allSatisfy(\.isFinite) else {
        throw QuenchError(
          .data, "\"\(initializer.name)\" of the trained model holds NaN or an infinity",
          try: "a smaller learning rate in the training command")
      }
    }
  }

  private static func compareLayers(
    _ found: [QuantizableLayer], _ wanted: [QuantizableLayer], _ model: Model, _ original: Model
  ) throws(QuenchError) {
    for layer in wanted {
      guard let same = found.first(where: { $0.name == layer.name }) else {
        throw QuenchError(
          .data,
          "the trained model has no layer \"\(layer.name)\""
            + NearestName.hint(layer.name, among: found.map(\.name)),
          try: "train the model in QUENCH_MODEL and keep its nodes' names")
      }
      guard same.input == layer.input, same.channels == layer.channels, same.kind == layer.kind
      else {
        throw QuenchError(
          .data, "the layer \"\(layer.name)\" of the trained model is another one", try: remedy)
      }
      let shape = model.graph.initializer(same.weight)?.shape
      let before = original.graph.initializer(layer.weight)?.shape
      if let shape, let before, shape != before {
        throw QuenchError(
          .data,
          "the weight of \"\(layer.name)\" has shape \(shape) in the trained model, not \(before)",
          try: remedy)
      }
    }
    let names = Set(wanted.map(\.name))
    if let extra = found.first(where: { !names.contains($0.name) }) {
      throw QuenchError(
        .data, "the trained model has one more layer, \"\(extra.name)\"", try: remedy)
    }
  }

  /// Every tensor must be computed by the same operator from the same tensors; initializers may be
  /// called differently.
  private static func compareNodes(_ model: Model, _ original: Model) throws(QuenchError) {
    func nodes(_ model: Model) -> [String: Node] {
      var nodes: [String: Node] = [:]
      for node in model.graph.nodes { if let name = node.outputs.first { nodes[name] = node } }
      return nodes
    }
    let (found, wanted) = (nodes(model), nodes(original))
    let constants = Set(
      model.graph.initializers.map(\.name) + original.graph.initializers.map(\.name))
    for node in original.graph.nodes {
      guard let tensor = node.outputs.first else { continue }
      guard let same = found[tensor] else {
        throw QuenchError(
          .data, "the trained model has no tensor \"\(tensor)\", which \"\(node.title)\" computes",
          try: remedy)
      }
      let (inputs, before) = (
        same.inputs.filter { !constants.contains($0) },
        node.inputs.filter { !constants.contains($0) }
      )
      guard same.opType == node.opType, same.domain == node.domain, inputs == before,
        sorted(same.attributes) == sorted(node.attributes)
      else {
        throw QuenchError(
          .data, "the tensor \"\(tensor)\" of the trained model is computed differently",
          try: remedy)
      }
    }
    for node in model.graph.nodes {
      guard let tensor = node.outputs.first, wanted[tensor] == nil else { continue }
      throw QuenchError(
        .data, "the trained model has one more node, \"\(node.title)\"", try: remedy)
    }
  }

  private static func sorted(_ attributes: [Attribute]) -> [Attribute] {
    attributes.sorted { $0.name < $1.name }
  }
}
