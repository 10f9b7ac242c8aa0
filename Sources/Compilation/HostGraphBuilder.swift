// SPDX-License-Identifier: Apache-2.0
// Compilation: the operators of a host-built OM file.

internal import Diagnostics
internal import FoundationEssentials
internal import ONNXModel
internal import SwiftProtobuf
internal import Tensors

/// Turns the nodes of a QDQ model into operators: quantised constants lose their DequantizeLinear
/// node (the constant says its step sizes itself), activations keep theirs.
struct HostGraphBuilder {
  private let model: Model
  private let constants: [String: Initializer]
  private let values: [String: ValueInfo]
  private let producers: [String: Int]
  private let consumers: [String: [Int]]
  private let outputNames: Set<String>

  private(set) var pool = WeightPool()
  private(set) var interface = OMInterface()
  private var operators: [OMOpDef] = []
  private var outputs: [String] = []
  private var usedNames: Set<String> = []
  /// Tensor name to `operator:index`.
  private var references: [String: String] = [:]
  /// Operator that makes a tensor, for quantised constants and dequantisers: name and step sizes.
  private var stepSizes: [String: (name: String, scale: Tensor)] = [:]
  private var integerConstants: Set<String> = []
  private var dequantizers: Set<String> = []

  init(_ model: Model) throws(QuenchError) {
    self.model = model
    constants = Dictionary(
      model.graph.initializers.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
    values = Dictionary(
      (model.graph.values + model.graph.inputs + model.graph.outputs).map { ($0.name, $0) },
      uniquingKeysWith: { $1 })
    producers = model.graph.producers()
    consumers = model.graph.consumers()
    outputNames = Set(model.graph.outputs.map(\.name))
  }

  /// The graph built.
  func graph(named name: String) -> OMGraphDef {
    var graph = OMGraphDef()
    graph.name = name
    graph.input = model.graph.freeInputs.compactMap { references[$0.name] }
    graph.output = outputs
    graph.op = operators
    return graph
  }

  /// - Throws: `.data` for what the container cannot hold.
  mutating func build() throws(QuenchError) {
    for (index, input) in model.graph.freeInputs.enumerated() {
      var data = OMOpDef()
      data.type = "Data"
      data.attr["index"] = .integer(Int64(index))
      let descriptor = try described(input)
      interface.inputs.append(HostGraphBuilder.port(input.name, descriptor))
      data.outputDesc = [descriptor]
      add(data, named: input.name, outputs: [input.name])
    }
    for node in model.graph.nodes {
      do {
        if try addQuantizedConstant(node) { continue }
        if try addQuantizer(node) { continue }
        try addOperator(node)
      } catch {
        throw error.located(at: node.place)
      }
    }
    try addOutputs()
  }

  private mutating func addOutputs() throws(QuenchError) {
    var end = OMOpDef()
    end.type = "NetOutput"
    for output in model.graph.outputs {
      var descriptor = try described(output)
      interface.outputs.append(HostGraphBuilder.port(output.name, descriptor))
      descriptor.name = output.name
      end.inputDesc.append(descriptor)
      outputs.append(try reference(output.name, isHalved: false))
    }
    end.input = outputs
    add(end, named: "NetOutput", outputs: [])
  }
}

// MARK: - Operators

extension HostGraphBuilder {
  /// A node as it is, under its Ascend name.
  private mutating func addOperator(_ node: Node) throws(QuenchError) {
    let isLayer = AscendOperators.layers.contains(node.opType) && node.domain.isEmpty
    let isInteger =
      isLayer && node.inputs.count >= 2 && dequantizers.contains(node.inputs[0])
      && (integerConstants.contains(node.inputs[1]) || dequantizers.contains(node.inputs[1]))
    var result = OMOpDef()
    let weight = node.inputs.count > 1 ? shape(of: node.inputs[1]) : nil
    result.type =
      node.domain.isEmpty
      ? AscendOperators.type(of: node, weight: weight, isInteger: isInteger) : node.opType
    if result.type != node.opType { result.attr[HostFormat.onnxType] = .text(node.opType) }
    if !node.domain.isEmpty { result.attr[HostFormat.domain] = .text(node.domain) }
    for attribute in node.attributes {
      result.attr[attribute.name] = try converted(attribute)
    }
    let first = node.outputs.first.flatMap { values[$0]?.elementType }
    if isInteger {
      result.attr[HostFormat.precision] = .text(HostFormat.Precision.int8.rawValue)
    } else if first == nil || first == .float32 || first == .float16 {
      result.attr[HostFormat.precision] = .text(HostFormat.Precision.fp16.rawValue)
    }
    for input in node.inputs {
      result.input.append(try reference(input, isHalved: isLayer && !isInteger))
    }
    result.outputDesc = node.outputs.map { name in
      // A tensor whose shape is not known is described by its name alone.
      (values[name].flatMap { try? described($0) }) ?? OMTensorDescriptor()
    }
    add(result, named: node.name.isEmpty ? node.opType : node.name, outputs: node.outputs)
  }

  /// QuantizeLinear or DequantizeLinear of an activation with one constant step size.
  private mutating func addQuantizer(_ node: Node) throws(QuenchError) -> Bool {
    let isQuantize = node.opType == "QuantizeLinear"
    guard isQuantize || node.opType == "DequantizeLinear", node.domain.isEmpty,
      node.attributes.allSatisfy({ $0.name == "axis" }),
      let (scale, zero) = try quantization(node), scale.count == 1, zero.count == 1,
      [.int8, .uint8].contains(zero.elementType)
    else { return false }
    let step = scale.floats[0]
    let code =
      zero.elementType == .int8
      ? Int64(Int8(bitPattern: zero.bytes[0]))
      : Int64(zero.bytes[0])
    var result = OMOpDef()
    result.type = isQuantize ? AscendOperators.quantize : AscendOperators.dequantize
    result.input = [try reference(node.inputs[0], isHalved: false)]
    result.attr[HostFormat.scale] = .float(step)
    result.attr[HostFormat.zeroPoint] = .integer(code)
    var codes = OMTensorDescriptor()
    codes.dtype = OMDataType(zero.elementType)
    var floats = OMTensorDescriptor()
    floats.dtype = .float
    if isQuantize {
      // The device's operator multiplies by the reciprocal.
      result.attr["scale"] = .float(1 / step)
      result.attr["offset"] = .float(Float(code))
      result.attr["dst_type"] = .integer(Int64(codes.dtype.interfaceCode))
      result.outputDesc = [codes]
    } else {
      result.inputDesc = [codes]
      result.outputDesc = [floats]
      dequantizers.insert(node.outputs[0])
    }
    let name = add(
      result, named: node.name.isEmpty ? node.opType : node.name, outputs: node.outputs)
    if !isQuantize { stepSizes[node.outputs[0]] = (name, try scale.reshaped(to: [])) }
    return true
  }

  /// DequantizeLinear of a constant: becomes a constant that says its step sizes.
  private mutating func addQuantizedConstant(_ node: Node) throws(QuenchError) -> Bool {
    guard node.opType == "DequantizeLinear", node.domain.isEmpty,
      node.attributes.allSatisfy({ $0.name == "axis" }), node.outputs.count == 1,
      !outputNames.contains(node.outputs[0]), let source = constants[node.inputs[0]],
      let (scale, zero) = try quantization(node), zero.elementType == source.elementType
    else { return false }
    var result = OMOpDef()
    result.type = "Const"
    result.attr["value"] = .tensor(pool.store(try source.tensor()))
    if let product = product(for: node, scale: scale) {
      result.attr[HostFormat.scaleProduct] = .texts(product)
    } else if scale.shape.isEmpty {
      result.attr[HostFormat.scale] = .float(scale.floats[0])
    } else {
      result.attr[HostFormat.scale] = .tensor(pool.store(scale))
    }
    if zero.bytes.contains(where: { $0 != 0 }) {
      result.attr[HostFormat.zeroPoint] = .tensor(pool.store(zero))
    }
    if !scale.shape.isEmpty {
      result.attr[HostFormat.axis] = .integer(Int64(node.int("axis", default: 1)))
    }
    var descriptor = OMTensorDescriptor()
    descriptor.dtype = .float
    result.outputDesc = [descriptor]
    let name = add(result, named: node.outputs[0], outputs: node.outputs)
    stepSizes[node.outputs[0]] = (name, scale)
    integerConstants.insert(node.outputs[0])
    return true
  }

  /// The two operators whose step sizes multiply to a bias's, if they do so to the last bit.
  private func product(for node: Node, scale: Tensor) -> [String]? {
    guard let users = consumers[node.outputs[0]], users.count == 1 else { return nil }
    let layer = model.graph.nodes[users[0]]
    guard layer.inputs.count >= 3, layer.inputs[2] == node.outputs[0],
      let input = stepSizes[layer.inputs[0]], input.scale.shape.isEmpty,
      let weight = stepSizes[layer.inputs[1]], weight.scale.shape == scale.shape
    else { return nil }
    let step = input.scale.floats[0]
    let product = weight.scale.floats.map { ($0 * step).bitPattern }
    return product == scale.floats.map(\.bitPattern) ? [input.name, weight.name] : nil
  }

  /// Constant step sizes and zero points of a QuantizeLinear or DequantizeLinear node; nil when
  /// they are computed or not float32.
  private func quantization(
    _ node: Node
  ) throws(QuenchError) -> (scale: Tensor, zeroPoint: Tensor)? {
    guard node.inputs.count >= 2, let scale = constants[node.inputs[1]],
      scale.elementType == .float32
    else { return nil }
    let steps = try scale.tensor()
    guard node.inputs.count >= 3, !node.inputs[2].isEmpty else {
      // Left out: zero of the input's type, or UINT8 for QuantizeLinear.
      let type = constants[node.inputs[0]]?.elementType ?? .uint8
      guard node.opType == "QuantizeLinear" || constants[node.inputs[0]] != nil else { return nil }
      return (
        steps,
        try Tensor(
          type, shape: steps.shape, bytes: [UInt8](repeating: 0, count: steps.count * type.size))
      )
    }
    guard let zero = constants[node.inputs[2]] else { return nil }
    return (steps, try zero.tensor())
  }
}

// MARK: - Names, constants, attributes

extension HostGraphBuilder {
  /// Adds an operator under a name that no other has; tensors are named in its outputs where
  /// their name is another.
  @discardableResult
  private mutating func add(_ op: OMOpDef, named wanted: String, outputs: [String]) -> String {
    var name = wanted
    var count = 1
    while !usedNames.insert(name).inserted {
      count += 1
      name = "\(wanted)_\(count)"
    }
    var op = op
    op.name = name
    for (index, output) in outputs.enumerated() {
      if op.outputDesc.count <= index { op.outputDesc.append(OMTensorDescriptor()) }
      op.outputDesc[index].name = output == name && outputs.count == 1 ? "" : output
      references[output] = "\(name):\(index)"
    }
    operators.append(op)
    return name
  }

  /// How an operator's input is written; adds the constant when it is the first use of one.
  private mutating func reference(_ tensor: String, isHalved: Bool) throws(QuenchError) -> String {
    if tensor.isEmpty { return "" }
    if let known = references[tensor] { return known }
    guard let constant = constants[tensor] else {
      throw QuenchError(
        .data, "tensor \"\(tensor)\" is read before it is made", at: .tensor(tensor))
    }
    guard constant.knownElementType != nil else {
      throw QuenchError(
        .data, "the element type of constant \"\(tensor)\" is not supported", at: .tensor(tensor))
    }
    var value = try constant.tensor()
    var result = OMOpDef()
    result.type = "Const"
    var descriptor = OMTensorDescriptor()
    descriptor.dtype = OMDataType(value.elementType)
    if isHalved, value.elementType == .float32 {
      value = try WeightPool.halved(value, name: tensor)
    }
    result.attr["value"] = .tensor(pool.store(value))
    result.outputDesc = [descriptor]
    add(result, named: tensor, outputs: [tensor])
    return references[tensor] ?? ""
  }

  /// The shape of a constant, seen through the node that dequantises or widens it.
  private func shape(of tensor: String) -> [Int]? {
    if let constant = constants[tensor] { return constant.shape }
    guard let index = producers[tensor], let source = model.graph.nodes[index].inputs.first else {
      return nil
    }
    let isTransparent = ["DequantizeLinear", "Cast"].contains(model.graph.nodes[index].opType)
    return isTransparent ? constants[source]?.shape : nil
  }

  private func described(_ value: ValueInfo) throws(QuenchError) -> OMTensorDescriptor {
    guard value.hasShape, let type = value.elementType else {
      throw QuenchError(
        .data, "the type or shape of tensor \"\(value.name)\" is not known",
        at: .tensor(value.name), try: "quench fold, which infers them")
    }
    var descriptor = OMTensorDescriptor()
    descriptor.dtype = OMDataType(type)
    descriptor.shape.dim = value.dimensions.map { dimension in
      if case .fixed(let extent) = dimension { Int64(extent) } else { -1 }
    }
    return descriptor
  }

  private static func port(_ name: String, _ descriptor: OMTensorDescriptor) -> OMInterface.Port {
    let shape = descriptor.shape.dim
    let count = Tensor.elementCount(of: shape.map(Int.init)) ?? 0
    return OMInterface.Port(
      name: name, type: descriptor.dtype, format: shape.count == 4 ? "NCHW" : "ND",
      size: UInt64(count * (descriptor.dtype.elementType?.size ?? 0)), shape: shape)
  }

  private func converted(_ attribute: Attribute) throws(QuenchError) -> OMAttrDef {
    switch attribute.value {
    case .int(let value): .integer(value)
    case .float(let value): .float(value)
    case .string(let value): .text(value)
    case .ints(let values): .integers(values)
    case .floats(let values): .floats(values)
    case .strings(let values): .texts(values)
    case .tensor(let tensor):
      // Kept in the graph: an attribute is no weight.
      .tensor(
        .with {
          $0.desc.dtype = OMDataType(tensor.elementType)
          $0.desc.shape.dim = tensor.shape.map(Int64.init)
          $0.data = Data(tensor.bytes)
        })
    case .graph, .other:
      throw QuenchError(
        .data, "the host compiler cannot hold attribute \"\(attribute.name)\"",
        try: "a model without control flow")
    }
  }
}
