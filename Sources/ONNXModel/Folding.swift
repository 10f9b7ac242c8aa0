// SPDX-License-Identifier: Apache-2.0
// ONNXModel: the model as the later stages want it.

public import Diagnostics
internal import Tensors

/// Brings a model into the form that all later stages work on.
///
/// The result depends on the model and the shapes only, byte for byte. Names of tensors and of
/// nodes that stay are kept; nodes without a name become `<opType>_<index>`.
public enum Folding {
  /// Folds a model for fixed input shapes.
  ///
  /// In this order: names; opset below 13 raised to 13; constant expressions computed; Identity
  /// and Dropout removed; BatchNormalization, and Mul and Add of a constant per channel, folded
  /// into the layer before them where its weights are constants and nothing else reads its
  /// output; what nothing reads removed; shapes of
  /// all tensors written down.
  /// - Parameter inputs: shapes by input name; others take their declared shape with batch 1.
  /// - Throws: `.data` as `ShapeInference.infer`, and when an operator cannot be raised.
  public static func fold(
    _ model: Model, inputs: [String: [Int]]
  ) throws(QuenchError) -> Model {
    guard !model.graph.outputs.isEmpty else {
      throw QuenchError(.data, "the model has no output, so there is nothing to compute")
    }
    var folded = model
    nameNodes(&folded.graph)
    var symbols: [String: Int] = [:]
    let fixed = try InputShapes.resolve(folded.graph, inputs, symbols: &symbols)
    bind(symbols, in: &folded.graph)
    folded.graph.inputs = fixed.compactMap { name, type in
      guard var input = folded.graph.inputs.first(where: { $0.name == name }) else { return nil }
      input.dimensions = type.shape.map(Dimension.fixed)
      return input
    }
    // Constants need not be inputs since IR version 4, and no one overrides them here.
    folded.irVersion = max(folded.irVersion, 4)
    if folded.opset < OpsetRaise.target {
      let types = try ShapeInference.run(folded, inputs: [:]).types
      folded = try OpsetRaise.raise(folded, types: types)
    }
    // Before the constants, so that a constant behind an identity is not written twice; after
    // them again for a Dropout whose mode was an expression.
    removeIdentities(&folded.graph)
    try foldConstants(&folded)
    removeIdentities(&folded.graph)
    folded.graph = try AffineFold.fold(folded.graph)
    folded.graph.removeDead()
    try writeShapes(&folded)
    return folded
  }

  // MARK: Names

  /// Gives every node a name of its own.
  private static func nameNodes(_ graph: inout Graph) {
    var names = NameSource(graph)
    var seen: Set<String> = []
    for index in graph.nodes.indices {
      let name = graph.nodes[index].name
      guard name.isEmpty || !seen.insert(name).inserted else { continue }
      let base = name.isEmpty ? graph.nodes[index].opType : name
      graph.nodes[index].name = names.take("\(base)_\(index)")
    }
  }

  // MARK: Constants

  /// Nothing larger than this many elements is made of something smaller.
  private static let growthLimit = 1 << 16

  private static func foldConstants(_ model: inout Model) throws(QuenchError) {
    let types = try ShapeInference.run(model, inputs: [:]).types
    var initializers: [String: Initializer] = [:]
    for initializer in model.graph.initializers { initializers[initializer.name] = initializer }
    let outputs = Set(model.graph.outputs.map(\.name))
    var kept: [Node] = []
    for node in model.graph.nodes {
      guard node.domain.isEmpty, !node.outputs.contains(where: { outputs.contains($0) }),
        let values = try values(
          of: node, opset: Int(model.opset), types: types, initializers: initializers)
      else {
        kept.append(node)
        continue
      }
      for (name, value) in zip(node.outputs, values) where !name.isEmpty {
        let constant = Initializer(name, value)
        initializers[name] = constant
        model.graph.initializers.append(constant)
      }
    }
    model.graph.nodes = kept
  }

  /// What a node makes, if its inputs are constants (or only their shapes count).
  private static func values(
    of node: Node, opset: Int, types: [String: TensorType], initializers: [String: Initializer]
  ) throws(QuenchError) -> [Tensor]? {
    let readsShape = node.opType == "Shape" || node.opType == "Size"
    var limit = growthLimit
    var constants: [Tensor?] = []
    for name in node.inputs {
      guard !name.isEmpty, !readsShape else {
        constants.append(nil)
        continue
      }
      guard let held = initializers[name], held.knownElementType != nil else { return nil }
      let tensor = try held.tensor()
      limit = max(limit, tensor.count)
      constants.append(tensor)
    }
    // An input of unknown shape leaves Shape open, and its type nil.
    guard node.inputs.allSatisfy({ $0.isEmpty || types[$0] != nil }) else { return nil }
    let context = RuleContext(
      node: node, opset: opset, types: node.inputs.map { types[$0] }, constants: constants)
    do throws(QuenchError) {
      guard let values = try ConstantEvaluator.evaluate(context, elementLimit: limit),
        values.count >= node.outputs.count
      else { return nil }
      return values
    } catch {
      throw error.located(at: node.place)
    }
  }

  // MARK: Identities

  /// Removes Identity, and Dropout, which does nothing in inference.
  private static func removeIdentities(_ graph: inout Graph) {
    let outputs = Set(graph.outputs.map(\.name))
    var sources: [String: String] = [:]
    var kept: [Node] = []
    for node in graph.nodes {
      if isIdentity(node, in: graph), let input = node.inputs.first,
        let output = node.outputs.first, !outputs.contains(output)
      {
        sources[output] = sources[input] ?? input
      } else {
        kept.append(node)
      }
    }
    for index in kept.indices { kept[index].renameReads(sources) }
    graph.nodes = kept
    // The graph's output keeps its name: what fed the identity takes it over.
    for node in kept {
      guard isIdentity(node, in: graph), let input = node.inputs.first,
        let output = node.outputs.first, !graph.outputs.contains(where: { $0.name == input }),
        graph.nodes.contains(where: { $0.outputs.contains(input) }),
        let index = graph.nodes.firstIndex(where: { $0.outputs.first == output })
      else { continue }
      graph.nodes.remove(at: index)
      graph.values.removeAll { $0.name == input }
      graph.renameTensors([input: output])
    }
  }

  private static func isIdentity(_ node: Node, in graph: Graph) -> Bool {
    guard node.domain.isEmpty else { return false }
    if node.opType == "Identity" { return true }
    guard node.opType == "Dropout" else { return false }
    if node.outputs.count > 1, !node.outputs[1].isEmpty {
      let mask = node.outputs[1]
      let isRead = graph.nodes.contains { $0.readTensors.contains(mask) }
      if isRead || graph.outputs.contains(where: { $0.name == mask }) { return false }
    }
    guard node.inputs.count > 2, !node.inputs[2].isEmpty else { return true }
    // Training mode: removed only if it is known to be off.
    let mode = try? graph.initializer(node.inputs[2])?.tensor()
    return mode?.bytes.allSatisfy { $0 == 0 } ?? false
  }

  // MARK: Shapes

  /// Puts the extents that the inputs give to symbols into the declared shapes.
  private static func bind(_ symbols: [String: Int], in graph: inout Graph) {
    for path in [\Graph.values, \Graph.outputs] {
      for index in graph[keyPath: path].indices {
        let dimensions = graph[keyPath: path][index].dimensions
        let bound = dimensions.map { dimension in
          if case .named(let symbol) = dimension, let extent = symbols[symbol] {
            return Dimension.fixed(extent)
          }
          return dimension
        }
        if bound != dimensions { graph[keyPath: path][index].dimensions = bound }
      }
    }
  }

  /// Writes down the shape of everything between the nodes and of the outputs.
  private static func writeShapes(_ model: inout Model) throws(QuenchError) {
    let types = try ShapeInference.run(model, inputs: [:]).types
    var declared: [String: ValueInfo] = [:]
    for value in model.graph.values { declared[value.name] = value }
    let outputs = Set(model.graph.outputs.map(\.name))
    var values: [ValueInfo] = []
    for node in model.graph.nodes {
      for output in node.outputs where !output.isEmpty && !outputs.contains(output) {
        if let type = types[output] {
          values.append(ValueInfo(output, type.elementType, shape: type.shape))
        } else if let kept = declared[output] {
          values.append(kept)
        }
      }
    }
    model.graph.values = values
    for index in model.graph.outputs.indices {
      guard let type = types[model.graph.outputs[index].name] else { continue }
      if model.graph.outputs[index].elementType == nil {
        model.graph.outputs[index].elementType = type.elementType
      }
      model.graph.outputs[index].dimensions = type.shape.map(Dimension.fixed)
    }
  }
}
