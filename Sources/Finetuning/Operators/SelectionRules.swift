// SPDX-License-Identifier: Apache-2.0
// Finetuning: rules for Where, Sum, and Gather from a table.

internal import CKernels
internal import Diagnostics
internal import ONNXModel
internal import Tensors

extension TapeBuilder {
  static let selectionRules: [String: Rule] = [
    "Where": { (b, n) throws(QuenchError) in try b.select(n) },
    "Sum": { (b, n) throws(QuenchError) in try b.sum(n) },
  ]

  /// The layout of a whole operand, so that the largest one is not moved.
  private func layout(_ names: [String], shape: [Int]) -> TapeLayout {
    names.contains { name in
      !isConstant(name) && layout(of: name) == .channelsLast && types[name]?.shape == shape
    } ? .channelsLast : .plain
  }

  private func checkRank(_ node: Node, _ shape: [Int]) throws(QuenchError) {
    guard shape.count < Int(CK_TRAIN_RANK) else {
      throw refusal(node, "fine-tuning takes tensors of at most \(CK_TRAIN_RANK - 1) axes")
    }
  }

  private func sum(_ node: Node) throws(QuenchError) {
    let shape = try shape(node.outputs[0])
    try checkRank(node, shape)
    let layout = layout(node.inputs, shape: shape)
    guard node.inputs.count > 1 else {
      append(
        View(
          node: node.name, input: try tensor(node.inputs[0], layout: layout),
          output: try declare(node.outputs[0], layout: layout)))
      return
    }
    var total = BinaryOperand(tensor: try tensor(node.inputs[0], layout: layout), parameter: nil)
    for (index, name) in node.inputs.enumerated().dropFirst() {
      let output =
        index == node.inputs.count - 1
        ? try declare(node.outputs[0], layout: layout)
        : TapeTensor("\(node.outputs[0]) (to \(index))", shape: shape, layout: layout)
      append(
        Binary(
          node: node.name, function: CK_BINARY_ADD, a: total,
          b: BinaryOperand(tensor: try tensor(name, layout: layout), parameter: nil),
          output: output))
      total = BinaryOperand(tensor: output, parameter: nil)
    }
  }

  /// condition ? a : b as a · mask + b · (1 − mask), the mask constant.
  ///
  /// A constant branch is masked here, so that its infinities, as attention's masks have them, never
  /// meet a zero; it does not train.
  private func select(_ node: Node) throws(QuenchError) {
    let shape = try shape(node.outputs[0])
    try checkRank(node, shape)
    guard isConstant(node.inputs[0]),
      !isConstant(node.inputs[1]) || !isConstant(node.inputs[2])
    else { throw refusal(node, "fine-tuning takes Where with a constant condition only") }
    let condition = try constant(node.inputs[0])
    guard condition.elementType == .bool else {
      throw refusal(node, "the condition of \"\(node.name)\" does not hold booleans")
    }
    let flags = condition.bytes.map { $0 != 0 }
    let layout = layout(Array(node.inputs[1...]), shape: shape)
    var branches: [BinaryOperand] = []
    for (position, wanted) in [(1, true), (2, false)] {
      let name = node.inputs[position]
      if isConstant(name) {
        let values = try constant(name)
        guard values.elementType == .float32 else {
          throw refusal(node, "\"\(name)\" is not float32")
        }
        let masked = masked(values, flags, condition.shape, wanted: wanted)
        branches.append(
          BinaryOperand(
            tensor: fixed("\(name) (masked)", masked.values, shape: masked.shape), parameter: nil))
        continue
      }
      let mask = fixed(
        "\(node.inputs[0]) (mask)", flags.map { $0 == wanted ? 1 : 0 }, shape: condition.shape)
      let output = TapeTensor("\(name) (masked)", shape: shape, layout: layout)
      append(
        Binary(
          node: node.name, function: CK_BINARY_MUL,
          a: BinaryOperand(tensor: try tensor(name, layout: layout), parameter: nil),
          b: BinaryOperand(tensor: mask, parameter: nil), output: output))
      branches.append(BinaryOperand(tensor: output, parameter: nil))
    }
    append(
      Binary(
        node: node.name, function: CK_BINARY_ADD, a: branches[0], b: branches[1],
        output: try declare(node.outputs[0], layout: layout)))
  }

  /// A constant with zeros where a condition is not as wanted, both broadcast.
  private func masked(
    _ tensor: Tensor, _ flags: [Bool], _ shape: [Int], wanted: Bool
  ) -> (values: [Float], shape: [Int]) {
    let rank = max(tensor.shape.count, shape.count)
    func padded(_ shape: [Int]) -> [Int] {
      [Int](repeating: 1, count: rank - shape.count) + shape
    }
    let (a, b) = (padded(tensor.shape), padded(shape))
    let whole = zip(a, b).map(max)
    let floats = tensor.floats
    let count = whole.reduce(1, *)
    let values = (0..<count).map { index -> Float in
      var (rest, at, flag, stepA, stepB) = (index, 0, 0, 1, 1)
      for axis in whole.indices.reversed() {
        let place = rest % whole[axis]
        rest /= whole[axis]
        if a[axis] > 1 { at += place * stepA }
        if b[axis] > 1 { flag += place * stepB }
        stepA *= a[axis]
        stepB *= b[axis]
      }
      return flags[flag] == wanted ? floats[at] : 0
    }
    return (values, whole)
  }
}

/// Rows of a trainable table by constant indices: the same for every sample. Gradients are added in
/// the order of the indices.
final class TableLookup: TapeOperator {
  let node: String
  let table: TapeParameter
  let output: TapeTensor
  /// Blocks before the axis, its extent, and elements behind it.
  let extents: (outer: Int, length: Int, inner: Int)
  let from: [Int32]
  private let factors: [Double]

  init(
    node: String, table: TapeParameter, output: TapeTensor,
    extents: (outer: Int, length: Int, inner: Int), from: [Int32]
  ) {
    self.node = node
    self.table = table
    self.output = output
    self.extents = extents
    self.from = from
    factors = [Double](repeating: 1, count: from.count)
  }

  var inputs: [TapeTensor] { [] }
  var kept: [TapeTensor] { [] }
  var parameters: [TapeParameter] { [table] }

  func forward(_ machine: TapeMachine) {
    machine.kernels.taps_forward(
      machine.pool, extents.outer, extents.length, from.count, extents.inner, 1, from, factors,
      table.data.pointer, output.pointer)
    guard machine.count > 1 else { return }
    var nest = TapeNest(
      extents: [machine.count - 1, output.count], a: [0, 1], y: [output.count, 1]
    ).nest
    machine.kernels.copy(
      machine.pool, &nest, output.pointer, 0,
      output.pointer + output.count * machine.elementSize)
  }

  func backward(_ machine: TapeMachine) {
    guard table.isTrained else { return }
    let sum = machine.makeBuffer(output.count)
    machine.kernels.sum(
      machine.pool, 1, machine.count, output.count, 1, output.gradientPointer, 0, sum.pointer)
    machine.kernels.taps_backward(
      machine.pool, extents.outer, extents.length, from.count, extents.inner, 1, from, factors,
      sum.pointer, 1, table.gradient.pointer)
  }
}
