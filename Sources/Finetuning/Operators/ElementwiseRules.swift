// SPDX-License-Identifier: Apache-2.0
// Finetuning: rules for functions of one and two arguments, Softmax, LayerNormalization.

internal import CKernels
internal import Diagnostics
internal import ONNXModel
internal import Tensors

extension TapeBuilder {
  static let elementwiseRules: [String: Rule] = [
    "Relu": { (b, n) throws(QuenchError) in try b.limiter(n, low: 0, high: .infinity) },
    "Clip": { (b, n) throws(QuenchError) in
      try b.limiter(n, low: b.number(n, at: 1) ?? -.infinity, high: b.number(n, at: 2) ?? .infinity)
    },
    "Max": { (b, n) throws(QuenchError) in try b.extremum(n, isMaximum: true) },
    "Min": { (b, n) throws(QuenchError) in try b.extremum(n, isMaximum: false) },
    "LeakyRelu": { (b, n) throws(QuenchError) in
      try b.unary(n, CK_UNARY_LEAKY_RELU, a: Double(n.float("alpha", default: 0.01)))
    },
    "Sigmoid": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_SIGMOID) },
    "HardSigmoid": { (b, n) throws(QuenchError) in
      try b.unary(
        n, CK_UNARY_HARD_SIGMOID, a: Double(n.float("alpha", default: 0.2)),
        b: Double(n.float("beta", default: 0.5)))
    },
    "HardSwish": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_HARD_SWISH) },
    "Tanh": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_TANH) },
    "Erf": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_ERF) },
    "Exp": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_EXP) },
    "Sqrt": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_SQRT) },
    "Reciprocal": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_RECIPROCAL) },
    "Neg": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_AFFINE, a: -1) },
    "Abs": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_ABS) },
    "Log": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_LOG) },
    "Softplus": { (b, n) throws(QuenchError) in try b.unary(n, CK_UNARY_SOFTPLUS) },
    "Elu": { (b, n) throws(QuenchError) in
      try b.unary(n, CK_UNARY_ELU, a: Double(n.float("alpha", default: 1)))
    },
    "Mish": { (b, n) throws(QuenchError) in try b.mish(n) },
    "Pow": { (b, n) throws(QuenchError) in try b.power(n) },
    "Gelu": { (b, n) throws(QuenchError) in
      guard (n.string("approximate") ?? "none") == "none" else {
        throw b.refusal(n, "fine-tuning takes Gelu without approximation only")
      }
      try b.unary(n, CK_UNARY_GELU)
    },
    "Add": { (b, n) throws(QuenchError) in try b.binary(n, CK_BINARY_ADD, .bias) },
    "Sub": { (b, n) throws(QuenchError) in try b.binary(n, CK_BINARY_SUB, .bias) },
    "Mul": { (b, n) throws(QuenchError) in try b.binary(n, CK_BINARY_MUL, .weight) },
    "Div": { (b, n) throws(QuenchError) in try b.binary(n, CK_BINARY_DIV, .weight) },
    "Softmax": { (b, n) throws(QuenchError) in try b.softmax(n) },
    "LayerNormalization": { (b, n) throws(QuenchError) in try b.layerNormalization(n) },
  ]

  private func limiter(_ node: Node, low: Double, high: Double) throws(QuenchError) {
    let name = node.inputs[0]
    let input = try tensor(name, layout: layout(of: name))
    let output = try declare(node.outputs[0], layout: input.layout)
    let limiter = Limiter(node: node.name, input: input, output: output, limits: (low, high))
    switch soleProducer(of: name, input) {
    case let below as ConvolutionLayer:
      below.limits = (low, high)
      limiter.isApplied = true
    case let below as Binary:
      below.limits = (low, high)
      limiter.isApplied = true
    default: break
    }
    append(limiter)
  }

  private func extremum(_ node: Node, isMaximum: Bool) throws(QuenchError) {
    guard node.inputs.count == 2, let bound = try? number(node, at: 1) else {
      throw refusal(node, "fine-tuning takes \(node.opType) with one constant number only")
    }
    try limiter(node, low: isMaximum ? bound : -.infinity, high: isMaximum ? .infinity : bound)
  }

  private func unary(
    _ node: Node, _ function: ck_train_unary, a: Double = 0, b: Double = 0
  ) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: layout(of: node.inputs[0]))
    append(
      Unary(
        node: node.name, input: input, output: try declare(node.outputs[0], layout: input.layout),
        function: function, a: a, b: b))
  }

  /// x · tanh(softplus x).
  private func mish(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: layout(of: node.inputs[0]))
    var current = input
    for function in [CK_UNARY_SOFTPLUS, CK_UNARY_TANH] {
      let next = TapeTensor("\(input.name) (Mish)", shape: input.shape, layout: input.layout)
      append(Unary(node: node.name, input: current, output: next, function: function))
      current = next
    }
    append(
      Binary(
        node: node.name, function: CK_BINARY_MUL, a: BinaryOperand(tensor: input, parameter: nil),
        b: BinaryOperand(tensor: current, parameter: nil),
        output: try declare(node.outputs[0], layout: input.layout)))
  }

  private func power(_ node: Node) throws(QuenchError) {
    guard let exponent = try number(node, at: 1), (-8...8).contains(exponent),
      (exponent * 2).rounded() == exponent * 2
    else { throw refusal(node, "fine-tuning takes Pow with a constant whole or half exponent") }
    try unary(node, CK_UNARY_POWER, a: exponent)
  }

  private func binary(
    _ node: Node, _ function: ck_train_binary, _ kind: ParameterKind
  ) throws(QuenchError) {
    let shape = try shape(node.outputs[0])
    guard shape.count < Int(CK_TRAIN_RANK) else {
      throw refusal(node, "fine-tuning takes tensors of at most \(CK_TRAIN_RANK - 1) axes")
    }
    // The layout of a whole operand, so that the larger one is not moved.
    let isImage = node.inputs.contains { name in
      !isConstant(name) && self.layout(of: name) == .channelsLast && types[name]?.shape == shape
    }
    let layout: TapeLayout = isImage ? .channelsLast : .plain
    let a = try operand(node, 0, layout, kind)
    let b = try operand(node, 1, layout, kind)
    append(
      Binary(
        node: node.name, function: function, a: a, b: b,
        output: try declare(node.outputs[0], layout: layout)))
  }

  /// A computed operand, or a constant, which trains when it has several elements.
  private func operand(
    _ node: Node, _ position: Int, _ layout: TapeLayout, _ kind: ParameterKind
  ) throws(QuenchError) -> BinaryOperand {
    let name = node.inputs[position]
    guard isConstant(name) else {
      return BinaryOperand(tensor: try tensor(name, layout: layout), parameter: nil)
    }
    guard try constant(name).count > 1 else {
      return BinaryOperand(tensor: try tensor(name, layout: layout), parameter: nil)
    }
    let parameter = try parameter(name, kind: kind, layer: node.name)
    return BinaryOperand(tensor: try tensor(name, layout: layout), parameter: parameter)
  }

  private func softmax(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: .plain)
    let rank = input.shape.count
    let given = node.int("axis", default: -1)
    let axis = given < 0 ? given + rank : given
    guard input.shape.indices.contains(axis) else {
      throw refusal(node, "the axis \(given) of \"\(node.name)\" is not one of \(rank)")
    }
    append(
      Softmax(
        node: node.name, input: input, output: try declare(node.outputs[0], layout: .plain),
        extents: (
          input.shape[..<axis].reduce(1, *), input.shape[axis],
          input.shape[(axis + 1)...].reduce(1, *)
        )))
  }

  private func layerNormalization(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: .plain)
    let rank = input.shape.count
    let given = node.int("axis", default: -1)
    let axis = given < 0 ? given + rank : given
    guard input.shape.indices.contains(axis), node.outputs.dropFirst().allSatisfy(\.isEmpty) else {
      throw refusal(node, "fine-tuning takes LayerNormalization with one result only")
    }
    let normalized = TapeTensor("\(input.name) (normalized)", shape: input.shape, layout: .plain)
    append(
      RowNormalization(
        node: node.name, input: input, output: normalized,
        length: input.shape[axis...].reduce(1, *),
        epsilon: Double(node.float("epsilon", default: 1e-5))))
    var factor = BinaryOperand(tensor: normalized, parameter: nil)
    let hasBias = node.inputs.count > 2 && !node.inputs[2].isEmpty
    let output = try declare(node.outputs[0], layout: .plain)
    let scaled =
      hasBias
      ? TapeTensor("\(input.name) (scaled)", shape: input.shape, layout: .plain) : output
    append(
      Binary(
        node: node.name, function: CK_BINARY_MUL, a: factor,
        b: try operand(node, 1, .plain, .weight), output: scaled))
    guard hasBias else { return }
    factor = BinaryOperand(tensor: scaled, parameter: nil)
    append(
      Binary(
        node: node.name, function: CK_BINARY_ADD, a: factor,
        b: try operand(node, 2, .plain, .bias), output: output))
  }
}
