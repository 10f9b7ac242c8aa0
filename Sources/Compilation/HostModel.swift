// SPDX-License-Identifier: Apache-2.0
// Compilation: a host-built OM file back into a model that ONNX Runtime executes.

public import Diagnostics
internal import FoundationEssentials
public import ONNXModel
internal import SwiftProtobuf
internal import Tensors

/// Executing host-built OM files.
public enum HostModel {
  /// The QDQ model that the file holds: the same tensors, operators and numbers.
  ///
  /// Constants stored as float16 become float16 initializers with a Cast behind them; zero points
  /// of weights and biases that are all zero are left out.
  /// - Throws: `.data` when the file is not host-built, of a newer version, or malformed.
  public static func decode(_ om: OMFile) throws(QuenchError) -> Model {
    guard om.isHostBuilt else {
      throw QuenchError(
        .data, "this OM file was compiled for a device, so the CPU cannot execute it",
        try: "evaluate the QDQ model, or an OM file of --compiler host")
    }
    let definition = try om.definition(of: 0)
    guard let version = definition.attr[HostFormat.versionKey]?.integerValue,
      version >= 1, version <= HostFormat.version
    else {
      throw QuenchError(
        .data,
        "the host-built OM file has version "
          + "\(definition.attr[HostFormat.versionKey]?.shown ?? "missing"); this quench reads "
          + "version \(HostFormat.version)", try: "a newer quench, or compile again")
    }
    guard let graph = definition.graph.first else {
      throw QuenchError(.data, "the host-built OM file holds no graph")
    }
    var decoder = HostGraphDecoder(weights: om.partition(.weights)?.bytes ?? [])
    try decoder.decode(graph)
    var model = Model(graph: decoder.graph(named: graph.name), opset: 13)
    var opsets: [String: Int64] = [:]
    for line in definition.attr[HostFormat.opsets]?.textValues ?? [] {
      guard let split = line.lastIndex(of: "="),
        let number = Int64(line[line.index(after: split)...])
      else { throw QuenchError(.data, "the operator set \"\(line)\" is malformed") }
      opsets[String(line[..<split])] = number
    }
    if !opsets.isEmpty { model.opsets = opsets }
    // Version 3 would want every constant listed as an input.
    let irVersion = definition.attr[HostFormat.irVersion]?.integerValue ?? model.irVersion
    model.irVersion = max(4, irVersion)
    model.producer = "quench"
    return model
  }
}

/// Turns operators back into nodes and constants.
private struct HostGraphDecoder {
  private let weights: [UInt8]
  private var nodes: [Node] = []
  private var initializers: [Initializer] = []
  private var inputs: [(index: Int64, value: ValueInfo)] = []
  private var outputs: [ValueInfo] = []
  private var values: [ValueInfo] = []
  /// Names of an operator's output tensors.
  private var tensors: [String: [String]] = [:]
  private var stepSizes: [String: Tensor] = [:]
  private var taken: Set<String> = []

  init(weights: [UInt8]) { self.weights = weights }

  func graph(named name: String) -> Graph {
    Graph(
      name: name.isEmpty ? "graph" : name, nodes: nodes, initializers: initializers,
      inputs: inputs.sorted { $0.index < $1.index }.map(\.value), outputs: outputs,
      values: values)
  }

  mutating func decode(_ graph: OMGraphDef) throws(QuenchError) {
    for op in graph.op {
      let names = op.outputDesc.map { $0.name }
      // The empty name stands for the operator's own where it has one output.
      tensors[op.name] = names == [""] ? [op.name] : names
      taken.insert(op.name)
      taken.formUnion(names)
    }
    for op in graph.op {
      do {
        switch op.type {
        case "Data": try decodeInput(op)
        case "Const": try decodeConstant(op)
        case "NetOutput": try decodeOutputs(op)
        case AscendOperators.quantize, AscendOperators.dequantize: try decodeQuantizer(op)
        default: try decodeNode(op)
        }
      } catch {
        throw error.located(at: .node(op.name))
      }
    }
  }

  private mutating func decodeInput(_ op: OMOpDef) throws(QuenchError) {
    guard let descriptor = op.outputDesc.first else {
      throw QuenchError(.data, "an input of the OM file has no description")
    }
    inputs.append(
      (op.attr["index"]?.integerValue ?? 0, try value(try output(op), descriptor)))
  }

  private mutating func decodeOutputs(_ op: OMOpDef) throws(QuenchError) {
    guard op.input.count == op.inputDesc.count else {
      throw QuenchError(.data, "the outputs of the OM file are not all described")
    }
    for (input, descriptor) in zip(op.input, op.inputDesc) {
      outputs.append(try value(try tensor(input), descriptor))
    }
  }

  private mutating func decodeQuantizer(_ op: OMOpDef) throws(QuenchError) {
    let isQuantize = op.type == AscendOperators.quantize
    let codes = isQuantize ? op.outputDesc.first : op.inputDesc.first
    guard case .f(let step)? = op.attr[HostFormat.scale]?.value,
      let zero = op.attr[HostFormat.zeroPoint]?.integerValue, op.input.count == 1,
      let type = codes?.dtype.elementType, type == .int8 || type == .uint8,
      type == .int8 ? Int8(exactly: zero) != nil : UInt8(exactly: zero) != nil
    else { throw QuenchError(.data, "a quantiser of the OM file is malformed") }
    let scale = Tensor(floats: [step], shape: [])
    let zeroPoint = try Tensor(type, shape: [], bytes: [UInt8(truncatingIfNeeded: zero)])
    if !isQuantize { stepSizes[op.name] = scale }
    nodes.append(
      Node(
        isQuantize ? "QuantizeLinear" : "DequantizeLinear", name: op.name,
        inputs: [
          try tensor(op.input[0]), constant("\(op.name)_scale", scale),
          constant("\(op.name)_zero_point", zeroPoint),
        ], outputs: [try output(op)]))
  }

  private mutating func decodeConstant(_ op: OMOpDef) throws(QuenchError) {
    let name = try output(op)
    guard case .t(let stored)? = op.attr["value"]?.value else {
      throw QuenchError(.data, "a constant of the OM file has no value")
    }
    let value = try tensor(stored)
    if let scale = try scale(of: op) {
      stepSizes[op.name] = scale
      var inputs = [constant("\(name)_quantized", value), constant("\(name)_scale", scale)]
      if case .t(let zero)? = op.attr[HostFormat.zeroPoint]?.value {
        inputs.append(constant("\(name)_zero_point", try tensor(zero)))
      }
      var attributes: [Attribute] = []
      if let axis = op.attr[HostFormat.axis]?.integerValue {
        attributes = [Attribute("axis", .int(axis))]
      }
      nodes.append(
        Node(
          "DequantizeLinear", name: free("\(name)_dequantize"), inputs: inputs, outputs: [name],
          attributes: attributes))
    } else if value.elementType == .float16, op.outputDesc.first?.dtype == .float {
      nodes.append(
        Node(
          "Cast", name: free("\(name)_cast"), inputs: [constant("\(name)_float16", value)],
          outputs: [name],
          attributes: [Attribute("to", .int(Int64(ElementType.float32.rawValue)))]))
    } else {
      initializers.append(Initializer(name, value))
    }
  }

  private mutating func decodeNode(_ op: OMOpDef) throws(QuenchError) {
    var attributes: [Attribute] = []
    for (key, attribute) in op.attr.sorted(by: { $0.key < $1.key })
    where !key.hasPrefix("quench_") {
      attributes.append(Attribute(key, try value(attribute, key)))
    }
    var inputs: [String] = []
    for input in op.input { inputs.append(input.isEmpty ? "" : try tensor(input)) }
    let outputs = tensors[op.name] ?? []
    nodes.append(
      Node(
        op.attr[HostFormat.onnxType]?.textValue ?? op.type, name: op.name, inputs: inputs,
        outputs: outputs, attributes: attributes,
        domain: op.attr[HostFormat.domain]?.textValue ?? ""))
    for (output, descriptor) in zip(outputs, op.outputDesc) where descriptor.hasShape {
      values.append(try value(output, descriptor))
    }
  }
}

// MARK: - Parts

extension HostGraphDecoder {
  private func value(
    _ attribute: OMAttrDef, _ key: String
  ) throws(QuenchError) -> Attribute.Value {
    switch attribute.value {
    case .i(let number)?: return .int(number)
    case .f(let number)?: return .float(number)
    case .s?: return .string(attribute.textValue ?? "")
    case .t(let stored)?: return .tensor(try tensor(stored))
    case .list(let list)?:
      switch OMAttrDef.ListType(rawValue: list.valType) {
      case .integer: return .ints(list.i)
      case .float: return .floats(list.f)
      case .string: return .strings(attribute.textValues ?? [])
      default: break
      }
    default: break
    }
    throw QuenchError(.data, "attribute \"\(key)\" of the OM file is of no known kind")
  }

  private func value(
    _ name: String, _ descriptor: OMTensorDescriptor
  ) throws(QuenchError) -> ValueInfo {
    guard let type = descriptor.dtype.elementType else {
      throw QuenchError(
        .data, "tensor \"\(name)\" of the OM file has element type \(descriptor.dtype.shown)")
    }
    return ValueInfo(
      name, type,
      dimensions: descriptor.shape.dim.map { $0 < 0 ? .unknown : .fixed(Int($0)) })
  }

  /// The step sizes of a quantised constant; nil for an ordinary one.
  private func scale(of op: OMOpDef) throws(QuenchError) -> Tensor? {
    if let factors = op.attr[HostFormat.scaleProduct]?.textValues {
      guard factors.count == 2, let input = stepSizes[factors[0]], input.count == 1,
        let weight = stepSizes[factors[1]]
      else { throw QuenchError(.data, "the step sizes of a bias cannot be found") }
      let step = input.floats[0]
      return Tensor(floats: weight.floats.map { $0 * step }, shape: weight.shape)
    }
    switch op.attr[HostFormat.scale]?.value {
    case .f(let step)?: return Tensor(floats: [step], shape: [])
    case .t(let stored)?:
      let scale = try tensor(stored)
      guard scale.elementType == .float32 else {
        throw QuenchError(.data, "the step sizes of a constant are not float32")
      }
      return scale
    default: return nil
    }
  }

  /// The elements of a stored tensor, from the graph or from the weights.
  private func tensor(_ stored: OMTensorDef) throws(QuenchError) -> Tensor {
    guard let type = stored.desc.dtype.elementType else {
      throw QuenchError(
        .data, "a constant of the OM file has element type \(stored.desc.dtype.shown)")
    }
    var bytes = Array(stored.data)
    if stored.desc.weightSize != 0 {
      guard let offset = Int(exactly: stored.desc.dataOffset), offset >= 0,
        let size = Int(exactly: stored.desc.weightSize), size >= 0,
        offset <= weights.count, size <= weights.count - offset
      else { throw QuenchError(.data, "a constant lies outside the weights of the OM file") }
      bytes = Array(weights[offset..<offset + size])
    }
    return try Tensor(type, shape: stored.desc.shape.dim.map(Int.init), bytes: bytes)
  }

  /// The tensor that `operator:index` names.
  private func tensor(_ reference: String) throws(QuenchError) -> String {
    guard let colon = reference.lastIndex(of: ":"),
      let index = Int(reference[reference.index(after: colon)...]),
      let names = tensors[String(reference[..<colon])], names.indices.contains(index)
    else { throw QuenchError(.data, "the OM file reads \"\(reference)\", which is not there") }
    return names[index]
  }

  private func output(_ op: OMOpDef) throws(QuenchError) -> String {
    guard let name = tensors[op.name]?.first, !name.isEmpty else {
      throw QuenchError(.data, "an operator of the OM file has no output")
    }
    return name
  }

  /// Adds a constant under a name that nothing else has; returns the name.
  private mutating func constant(_ wanted: String, _ tensor: Tensor) -> String {
    let name = free(wanted)
    initializers.append(Initializer(name, tensor))
    return name
  }

  private mutating func free(_ wanted: String) -> String {
    var name = wanted
    var count = 1
    while !taken.insert(name).inserted {
      count += 1
      name = "\(wanted)_\(count)"
    }
    return name
  }
}
