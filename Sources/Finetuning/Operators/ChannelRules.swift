// SPDX-License-Identifier: Apache-2.0
// Finetuning: rules for BatchNormalization that no layer took in, InstanceNormalization and PRelu,
// which all come down to products and sums with a constant a channel.

internal import CKernels
internal import Diagnostics
internal import Glibc
internal import ONNXModel
internal import Tensors

extension TapeBuilder {
  static let channelRules: [String: Rule] = [
    "BatchNormalization": { (b, n) throws(QuenchError) in try b.batchNormalization(n) },
    "InstanceNormalization": { (b, n) throws(QuenchError) in try b.instanceNormalization(n) },
    "PRelu": { (b, n) throws(QuenchError) in try b.parametricRelu(n) },
  ]

  /// A trainable constant of one number a channel, along axis 1 of a tensor.
  private func channels(
    _ node: Node, _ position: Int, _ kind: ParameterKind, like tensor: TapeTensor
  ) throws(QuenchError) -> BinaryOperand {
    let parameter = try parameter(node.inputs[position], kind: kind, layer: node.name)
    let shape = try channelShape(node, parameter.parameter.count, like: tensor)
    let operand = TapeTensor(
      node.inputs[position], shape: shape, layout: .plain, isBatched: false)
    operand.data = parameter.data
    return BinaryOperand(tensor: operand, parameter: parameter)
  }

  /// The same of numbers that stay.
  private func fixedChannels(
    _ node: Node, _ values: [Float], like tensor: TapeTensor
  ) throws(QuenchError) -> BinaryOperand {
    let shape = try channelShape(node, values.count, like: tensor)
    return BinaryOperand(
      tensor: fixed("constant of \(node.name)", values, shape: shape), parameter: nil)
  }

  private func channelShape(
    _ node: Node, _ count: Int, like tensor: TapeTensor
  ) throws(QuenchError) -> [Int] {
    guard tensor.shape.count >= 2, tensor.shape.count < Int(CK_TRAIN_RANK),
      tensor.shape[1] == count
    else {
      throw refusal(node, "\"\(node.name)\" does not have one number a channel of its input")
    }
    return [count] + [Int](repeating: 1, count: tensor.shape.count - 2)
  }

  /// An operand of numbers that do not train.
  func fixed(_ name: String, _ values: [Float], shape: [Int]) -> TapeTensor {
    let tensor = TapeTensor(name, shape: shape, layout: .plain, isBatched: false)
    let buffer = machine.makeBuffer(values.count)
    machine.write(values, to: buffer)
    tensor.data = buffer
    return tensor
  }

  /// Appends `input op operand`, into a tensor of the same shape.
  private func append(
    _ function: ck_train_binary, _ node: Node, _ input: TapeTensor, _ operand: BinaryOperand,
    to output: TapeTensor? = nil
  ) -> TapeTensor {
    let result =
      output
      ?? TapeTensor("\(input.name) (\(node.opType))", shape: input.shape, layout: input.layout)
    append(
      Binary(
        node: node.name, function: function, a: BinaryOperand(tensor: input, parameter: nil),
        b: operand, output: result))
    return result
  }

  /// (x − mean) / √(variance + ε) with what was measured, then a factor and an addend, which train.
  private func batchNormalization(_ node: Node) throws(QuenchError) {
    guard node.int("training_mode", default: 0) == 0,
      node.outputs.dropFirst().allSatisfy(\.isEmpty), node.inputs.count == 5
    else { throw refusal(node, "fine-tuning takes BatchNormalization of inference only") }
    let input = try tensor(node.inputs[0], layout: layout(of: node.inputs[0]))
    let mean = try constant(node.inputs[3]).floats
    let epsilon = Double(node.float("epsilon", default: 1e-5))
    let inverse = try constant(node.inputs[4]).floats.map {
      Float(1 / (Double($0) + epsilon).squareRoot())
    }
    let centered = append(
      CK_BINARY_SUB, node, input, try fixedChannels(node, mean, like: input))
    let normal = append(
      CK_BINARY_MUL, node, centered, try fixedChannels(node, inverse, like: input))
    let scaled = append(CK_BINARY_MUL, node, normal, try channels(node, 1, .weight, like: input))
    _ = append(
      CK_BINARY_ADD, node, scaled, try channels(node, 2, .bias, like: input),
      to: try declare(node.outputs[0], layout: input.layout))
  }

  private func instanceNormalization(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: .plain)
    guard input.shape.count >= 3, node.inputs.count == 3 else {
      throw refusal(node, "fine-tuning takes InstanceNormalization over spatial axes only")
    }
    let normal = TapeTensor("\(input.name) (normalized)", shape: input.shape, layout: .plain)
    append(
      RowNormalization(
        node: node.name, input: input, output: normal, length: input.shape[2...].reduce(1, *),
        epsilon: Double(node.float("epsilon", default: 1e-5))))
    let scaled = append(CK_BINARY_MUL, node, normal, try channels(node, 1, .weight, like: input))
    _ = append(
      CK_BINARY_ADD, node, scaled, try channels(node, 2, .bias, like: input),
      to: try declare(node.outputs[0], layout: .plain))
  }

  /// max(x, 0) + slope · min(x, 0).
  private func parametricRelu(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: layout(of: node.inputs[0]))
    let slope = try parameter(node.inputs[1], kind: .weight, layer: node.name)
    guard input.shape.count < Int(CK_TRAIN_RANK) else {
      throw refusal(node, "fine-tuning takes tensors of at most \(CK_TRAIN_RANK - 1) axes")
    }
    let operand = TapeTensor(
      node.inputs[1], shape: try constant(node.inputs[1]).shape, layout: .plain,
      isBatched: false)
    operand.data = slope.data
    func part(_ name: String, low: Double, high: Double) -> TapeTensor {
      let part = TapeTensor(
        "\(input.name) (\(name))", shape: input.shape, layout: input.layout)
      append(
        Unary(
          node: node.name, input: input, output: part, function: CK_UNARY_CLAMP, a: low, b: high))
      return part
    }
    let above = part("above 0", low: 0, high: .infinity)
    let below = append(
      CK_BINARY_MUL, node, part("below 0", low: -.infinity, high: 0),
      BinaryOperand(tensor: operand, parameter: slope))
    _ = append(
      CK_BINARY_ADD, node, above, BinaryOperand(tensor: below, parameter: nil),
      to: try declare(node.outputs[0], layout: input.layout))
  }
}
