// SPDX-License-Identifier: Apache-2.0
// ONNXModel: models of older operator sets brought to opset 13.

internal import Diagnostics
internal import Tensors

/// Brings a model below opset 13 to opset 13, where DequantizeLinear knows channels.
///
/// Follows the change notes of the ONNX operator specification for versions 8 to 13. Operators
/// that only gained types or negative axes stay as they are. What has no counterpart is refused.
struct OpsetRaise {
  static let target: Int64 = 13

  private let opset: Int
  private let types: [String: TensorType]
  private var names: NameSource
  /// Constants made on the way, for the graph at hand.
  private var constants: [Initializer] = []

  /// - Parameter types: shapes of the tensors under the inputs that the model is folded for.
  static func raise(
    _ model: Model, types: [String: TensorType]
  ) throws(QuenchError) -> Model {
    guard model.opset < target, model.opsets[""] != nil else { return model }
    var raiser = OpsetRaise(
      opset: Int(model.opset), types: types, names: NameSource(model.graph))
    var raised = model
    raised.graph = try raiser.raised(model.graph)
    raised.opsets[""] = target
    raised.irVersion = max(model.irVersion, Model.irVersion(forOpset: target))
    return raised
  }

  private init(opset: Int, types: [String: TensorType], names: NameSource) {
    self.opset = opset
    self.types = types
    self.names = names
  }

  private mutating func raised(_ graph: Graph) throws(QuenchError) -> Graph {
    let outer = constants
    constants = []
    defer { constants = outer }
    var result = graph
    result.nodes = []
    for var node in graph.nodes {
      for attribute in node.attributes {
        guard case .graph(let body) = attribute.value else { continue }
        node.set(attribute.name, .graph(try raised(body)))
      }
      result.nodes += node.domain.isEmpty ? try raised(node) : [node]
    }
    result.initializers += constants
    return result
  }

  private mutating func raised(_ original: Node) throws(QuenchError) -> [Node] {
    var node = original
    switch node.opType {
    case "Softmax", "LogSoftmax", "Hardmax": return try softmax(node)
    case "Squeeze", "Unsqueeze", "ReduceSum": moveList("axes", of: &node, to: 1)
    case "Split": moveList("split", of: &node, to: 1)
    case "Pad" where opset < 11:
      moveList("pads", of: &node, to: 1)
      moveNumber("value", of: &node, to: 2)
    case "Clip" where opset < 11:
      moveNumber("min", of: &node, to: 1)
      moveNumber("max", of: &node, to: 2)
    case "Slice" where opset < 10:
      moveList("starts", of: &node, to: 1)
      moveList("ends", of: &node, to: 2)
      moveList("axes", of: &node, to: 3)
    case "TopK" where opset < 10:
      moveList("k", of: &node, to: 1)
    case "Dropout":
      // The ratio matters in training only.
      node[attribute: "ratio"] = nil
      node[attribute: "seed"] = nil
    case "BatchNormalization":
      guard node.int("spatial", default: 1) == 1 else {
        throw refusal(node, "its attribute spatial = 0 has no counterpart")
      }
      node[attribute: "spatial"] = nil
    case "Scatter": node.opType = "ScatterElements"
    case "Upsample", "Resize": try resize(&node)
    case "Scan" where opset < 9:
      throw refusal(node, "its body was laid out differently")
    case "Affine", "ATen", "Crop", "GRUUnit", "GivenTensorFill", "ImageScaler",
      "ParametricSoftplus", "Scale", "ScaledTanh":
      throw refusal(node, "the operator was experimental and is gone")
    default: break
    }
    return [node]
  }

  private func refusal(_ node: Node, _ reason: String) -> QuenchError {
    QuenchError(
      .data, "the \(node.title) of opset \(opset) cannot be raised to opset 13: \(reason)",
      at: node.place, try: "export the model with opset 13 or later")
  }

  // MARK: Attributes that became inputs

  /// Makes a list (or single) integer attribute the input at `index`.
  private mutating func moveList(_ name: String, of node: inout Node, to index: Int) {
    let tensor: Tensor
    switch node[attribute: name]?.value {
    case .ints(let values): tensor = Tensor(int64s: values, shape: [values.count])
    case .int(let value): tensor = Tensor(int64s: [value], shape: [1])
    default: return
    }
    node[attribute: name] = nil
    put(tensor, name, into: &node, at: index)
  }

  /// Makes a float attribute the scalar input at `index`.
  private mutating func moveNumber(_ name: String, of node: inout Node, to index: Int) {
    guard case .float(let value)? = node[attribute: name]?.value else { return }
    node[attribute: name] = nil
    put(Tensor(floats: [value], shape: []), name, into: &node, at: index)
  }

  private mutating func put(
    _ tensor: Tensor, _ name: String, into node: inout Node, at index: Int
  ) {
    let owner = node.name.isEmpty ? node.outputs.first ?? node.opType : node.name
    let constant = names.take("\(owner)_\(name)")
    constants.append(Initializer(constant, tensor))
    var inputs = node.inputs
    while inputs.count <= index { inputs.append("") }
    inputs[index] = constant
    node.inputs = inputs
  }

  // MARK: Changed meaning

  /// Before 13 the input counted as a matrix cut at `axis` (default 1); since then one axis is
  /// normalised (default the last).
  private mutating func softmax(_ original: Node) throws(QuenchError) -> [Node] {
    var node = original
    let given = node.int("axis", default: 1)
    guard let shape = node.inputs.first.flatMap({ types[$0] })?.shape else {
      if given == -1 { return [node] }
      throw refusal(node, "the shape of its input cannot be inferred")
    }
    let axis = given < 0 ? given + shape.count : given
    guard axis >= 0, axis < shape.count else {
      throw refusal(node, "axis \(given) is outside a tensor of rank \(shape.count)")
    }
    let wide = shape.indices[axis...].filter { shape[$0] != 1 }
    if wide.count <= 1 {
      // Only one axis takes part: the two meanings are one.
      node.set("axis", .int(Int64(wide.first ?? axis)))
      return [node]
    }
    guard let input = node.inputs.first, let output = node.outputs.first else { return [node] }
    let flat = names.take("\(output)_flat")
    let normalized = names.take("\(output)_normalized")
    let rows = shape[..<axis].reduce(1, *)
    var before = Node(
      "Reshape", name: names.take("\(node.name)_flatten"), inputs: [input], outputs: [flat])
    put(Tensor(int64s: [Int64(rows), -1], shape: [2]), "shape", into: &before, at: 1)
    var after = Node(
      "Reshape", name: names.take("\(node.name)_restore"), inputs: [normalized],
      outputs: [output])
    put(
      Tensor(int64s: shape.map(Int64.init), shape: [shape.count]), "shape", into: &after, at: 1)
    node.inputs = [flat]
    node.outputs = [normalized]
    node.set("axis", .int(-1))
    return [before, node, after]
  }

  /// Upsample and the first Resize place samples by x / scale; later ones must be told.
  private mutating func resize(_ node: inout Node) throws(QuenchError) {
    guard opset < 11 else {
      if node.string("coordinate_transformation_mode") == "tf_half_pixel_for_nn" {
        throw refusal(node, "tf_half_pixel_for_nn is gone")
      }
      return
    }
    let isOld = node.opType == "Upsample"
    if case .floats(let scales)? = node[attribute: "scales"]?.value {
      node[attribute: "scales"] = nil
      put(Tensor(floats: scales, shape: [scales.count]), "scales", into: &node, at: 1)
    }
    guard let input = node.inputs.first, node.inputs.count > 1 else {
      throw refusal(node, "it has no scales")
    }
    let mode = node.string("mode") ?? "nearest"
    if mode == "nearest", !isOld {
      // Version 10 rounded down when enlarging and up when reducing.
      guard let shape = types[input]?.shape, let small = types[node.outputs.first ?? ""]?.shape,
        shape.count == small.count
      else { throw refusal(node, "the shapes around it cannot be inferred") }
      let reduces = zip(shape, small).contains { $0 > $1 }
      guard !reduces || !zip(shape, small).contains(where: { $0 < $1 }) else {
        throw refusal(node, "it enlarges one axis and reduces another")
      }
      node.set("nearest_mode", .string(reduces ? "ceil" : "floor"))
    } else if mode == "nearest" {
      node.set("nearest_mode", .string("floor"))
    }
    node.opType = "Resize"
    node.set("mode", .string(mode == "bilinear" ? "linear" : mode))
    node.set("coordinate_transformation_mode", .string("asymmetric"))
    node.inputs = [input, "", node.inputs[1]]
  }
}
