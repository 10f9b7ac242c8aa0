// SPDX-License-Identifier: Apache-2.0
// ONNXModel: shapes of all tensors from the shapes of the inputs.

public import Diagnostics
public import Tensors

/// Element type and shape of a tensor, all extents known.
public struct TensorType: Sendable, Hashable {
  /// What one element is.
  public var elementType: ElementType
  /// Extents, outermost first.
  public var shape: [Int]

  /// Makes a type.
  public init(_ elementType: ElementType, _ shape: [Int]) {
    self.elementType = elementType
    self.shape = shape
  }

  /// Whether such a tensor could exist. The bound on extents keeps the rules' sums and products
  /// of two of them from overflowing, whatever a file says.
  var isPossible: Bool {
    shape.allSatisfy { $0 >= 0 && $0 <= 1 << 31 }
      && (Tensor.elementCount(of: shape) ?? Int.max) <= Int.max / 8
  }
}

/// Shapes of all tensors from the shapes of the inputs.
///
/// Integer tensors that describe shapes are computed along the way, so chains such as
/// Shape, Gather, Concat, Reshape come out as numbers. An operator without a rule, or one whose
/// output size depends on data, is no error in itself, because the runtime may well run it: its
/// outputs and what follows from them are left out of the result, unless the file declares their
/// shape. Who needs a tensor that was left out throws `missing`.
public enum ShapeInference {
  /// Element type and shape of every tensor: inputs, constants, and what the nodes make.
  ///
  /// - Parameter inputs: shapes by input name, positive extents. An input that is not named takes
  ///   its declared shape, with 1 where the first extent is open.
  /// - Returns: types by tensor name; tensors that could not be inferred are absent.
  /// - Throws: `.data` when an input's shape is missing or contradicts the model, or when a node
  ///   cannot take the shapes that reach it; the message names node and operator.
  public static func infer(
    _ model: Model, inputs: [String: [Int]]
  ) throws(QuenchError) -> [String: TensorType] {
    try run(model, inputs: inputs).types
  }

  /// The error for a tensor that `infer` left out: names the first node on the way that has no
  /// rule.
  public static func missing(
    _ tensor: String, in model: Model, types: [String: TensorType]
  ) -> QuenchError {
    let producers = model.graph.producers()
    var name = tensor
    var visited: Set<String> = []
    while visited.insert(name).inserted, let index = producers[name] {
      let node = model.graph.nodes[index]
      if let open = node.inputs.first(where: { !$0.isEmpty && types[$0] == nil }) {
        name = open
        continue
      }
      return QuenchError(
        .data,
        "the shape of tensor \"\(tensor)\" is needed, but the shape that the \(node.title) makes "
          + "cannot be inferred", at: node.place,
        try: "export the model with fixed input shapes, or declare the shape of \"\(name)\" in it")
    }
    return QuenchError(
      .data, "the shape of tensor \"\(tensor)\" is needed, but nothing makes it",
      at: .tensor(tensor))
  }

  /// What inference finds out: types, and the values of small constant tensors.
  struct Result {
    var types: [String: TensorType] = [:]
    var constants: [String: Tensor] = [:]
  }

  /// Constants of more elements than this are not computed with while inferring: what describes
  /// a shape is small.
  private static let valueLimit = 4096

  static func run(
    _ model: Model, inputs: [String: [Int]]
  ) throws(QuenchError) -> Result {
    var result = Result()
    var symbols: [String: Int] = [:]
    for (name, type) in try InputShapes.resolve(model.graph, inputs, symbols: &symbols) {
      result.types[name] = type
    }
    var initializers: [String: Initializer] = [:]
    for initializer in model.graph.initializers {
      initializers[initializer.name] = initializer
      if let elementType = initializer.knownElementType {
        let type = TensorType(elementType, initializer.shape)
        if type.isPossible { result.types[initializer.name] = type }
      }
    }
    var declared: [String: ValueInfo] = [:]
    for value in model.graph.values + model.graph.outputs { declared[value.name] = value }
    for node in model.graph.nodes {
      try infer(
        node, opset: Int(model.opset), initializers: initializers, into: &result)
      for output in node.outputs where !output.isEmpty && result.types[output] == nil {
        result.types[output] = declared[output].flatMap { bound($0, symbols) }
      }
    }
    return result
  }

  private static func infer(
    _ node: Node, opset: Int, initializers: [String: Initializer], into result: inout Result
  ) throws(QuenchError) {
    // Rules speak of ONNX's own operators only.
    guard node.domain.isEmpty, node.subgraphs.isEmpty else { return }
    var types: [TensorType?] = []
    for name in node.inputs {
      let type = result.types[name]
      if type == nil, !name.isEmpty { return }
      types.append(type)
    }
    var constants: [Tensor?] = []
    for name in node.inputs {
      if let known = result.constants[name] {
        constants.append(known)
      } else if let held = initializers[name],
        Tensor.elementCount(of: held.shape) ?? Int.max <= valueLimit
      {
        let tensor = try held.tensor()
        result.constants[name] = tensor
        constants.append(tensor)
      } else {
        constants.append(nil)
      }
    }
    let context = RuleContext(node: node, opset: opset, types: types, constants: constants)
    do throws(QuenchError) {
      if let values = try ConstantEvaluator.evaluate(context, elementLimit: valueLimit) {
        for (name, value) in zip(node.outputs, values) where !name.isEmpty {
          result.constants[name] = value
          result.types[name] = TensorType(value.elementType, value.shape)
        }
        return
      }
      guard let outputs = try ShapeRules.outputs(context) else { return }
      for (name, type) in zip(node.outputs, outputs) where !name.isEmpty {
        guard let type else { continue }
        guard type.isPossible else {
          throw context.refusal("its output would have the impossible shape \(type.shape)")
        }
        result.types[name] = type
      }
    } catch {
      throw error.located(at: node.place)
    }
  }

  /// A declared type with the symbols of the inputs put in, if that fixes every extent.
  private static func bound(_ value: ValueInfo, _ symbols: [String: Int]) -> TensorType? {
    guard value.hasShape, let type = value.elementType else { return nil }
    var shape: [Int] = []
    for dimension in value.dimensions {
      switch dimension {
      case .fixed(let extent): shape.append(extent)
      case .named(let symbol):
        guard let extent = symbols[symbol] else { return nil }
        shape.append(extent)
      case .unknown: return nil
      }
    }
    let result = TensorType(type, shape)
    return result.isPossible ? result : nil
  }
}

/// The types of a graph's inputs under given shapes.
enum InputShapes {
  static func resolve(
    _ graph: Graph, _ given: [String: [Int]], symbols: inout [String: Int]
  ) throws(QuenchError) -> [(name: String, type: TensorType)] {
    let free = graph.freeInputs
    for name in given.keys.sorted() where !free.contains(where: { $0.name == name }) {
      throw QuenchError(
        .data,
        "the model has no input \"\(name)\""
          + NearestName.hint(name, among: free.map(\.name)),
        at: .tensor(name), try: "its inputs: " + free.map(\.name).joined(separator: ", "))
    }
    var resolved: [(name: String, type: TensorType)] = []
    for input in free {
      guard let elementType = input.elementType else {
        throw QuenchError(
          .data, "input \"\(input.name)\" is no tensor of a supported element type",
          at: .tensor(input.name))
      }
      let shape = try shape(of: input, given[input.name])
      for case (.named(let symbol), let extent) in zip(input.dimensions, shape) {
        // The first input that uses a symbol decides; operators find contradictions.
        if symbols[symbol] == nil { symbols[symbol] = extent }
      }
      let type = TensorType(elementType, shape)
      guard type.isPossible else {
        throw QuenchError(
          .data, "the shape \(shape) for input \"\(input.name)\" is not possible",
          at: .tensor(input.name))
      }
      resolved.append((input.name, type))
    }
    return resolved
  }

  private static func shape(
    of input: ValueInfo, _ given: [Int]?
  ) throws(QuenchError) -> [Int] {
    let declared = input.dimensions
    guard let given else {
      var shape: [Int] = []
      for (index, dimension) in declared.enumerated() {
        switch dimension {
        case .fixed(let extent): shape.append(extent)
        // Batch size is always 1 here.
        case _ where index == 0: shape.append(1)
        default: throw open(input)
        }
      }
      guard input.hasShape else { throw open(input) }
      return shape
    }
    guard given.allSatisfy({ $0 > 0 }) else {
      throw QuenchError(
        .data, "the shape \(given) for input \"\(input.name)\" is not possible",
        at: .tensor(input.name))
    }
    guard input.hasShape else { return given }
    let fits =
      declared.count == given.count
      && zip(declared, given).allSatisfy { dimension, extent in
        if case .fixed(let wanted) = dimension { wanted == extent } else { true }
      }
    guard fits else {
      throw QuenchError(
        .data,
        "the shape \(text(given)) for input \"\(input.name)\" contradicts the model, "
          + "which says \(text(declared))", at: .tensor(input.name))
    }
    return given
  }

  private static func open(_ input: ValueInfo) -> QuenchError {
    QuenchError(
      .data,
      "the model leaves the shape of input \"\(input.name)\" open "
        + "(\(input.hasShape ? text(input.dimensions) : "no shape"))",
      at: .tensor(input.name), try: "give it: --input \(input.name)=1x3x224x224, say")
  }

  private static func text(_ shape: [Int]) -> String {
    shape.map(String.init).joined(separator: "x")
  }

  private static func text(_ dimensions: [Dimension]) -> String {
    dimensions.map { dimension in
      switch dimension {
      case .fixed(let extent): "\(extent)"
      case .named(let symbol): symbol
      case .unknown: "?"
      }
    }.joined(separator: "x")
  }
}
