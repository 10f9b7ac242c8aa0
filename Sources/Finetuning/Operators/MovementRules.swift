// SPDX-License-Identifier: Apache-2.0
// Finetuning: rules for operators that move elements.

internal import CKernels
internal import Diagnostics
internal import ONNXModel
internal import Tensors

extension TapeBuilder {
  static let movementRules: [String: Rule] = [
    "Reshape": { (b, n) throws(QuenchError) in try b.view(n) },
    "Flatten": { (b, n) throws(QuenchError) in try b.view(n) },
    "Squeeze": { (b, n) throws(QuenchError) in try b.view(n) },
    "Unsqueeze": { (b, n) throws(QuenchError) in try b.view(n) },
    "Identity": { (b, n) throws(QuenchError) in try b.identity(n) },
    "Dropout": { (b, n) throws(QuenchError) in try b.identity(n) },
    "Transpose": { (b, n) throws(QuenchError) in try b.transpose(n) },
    "Slice": { (b, n) throws(QuenchError) in try b.slice(n) },
    "Concat": { (b, n) throws(QuenchError) in try b.concatenation(n) },
    "Split": { (b, n) throws(QuenchError) in try b.split(n) },
    "Gather": { (b, n) throws(QuenchError) in try b.gather(n) },
    "Expand": { (b, n) throws(QuenchError) in try b.expand(n) },
  ]

  private func identity(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: layout(of: node.inputs[0]))
    append(
      View(
        node: node.name, input: input, output: try declare(node.outputs[0], layout: input.layout)))
  }

  private func view(_ node: Node) throws(QuenchError) {
    append(
      View(
        node: node.name, input: try tensor(node.inputs[0], layout: .plain),
        output: try declare(node.outputs[0], layout: .plain)))
  }

  private func checkRank(_ node: Node, _ tensor: TapeTensor) throws(QuenchError) {
    guard tensor.shape.count < Int(CK_TRAIN_RANK) else {
      throw refusal(node, "fine-tuning takes tensors of at most \(CK_TRAIN_RANK - 1) axes")
    }
  }

  private func axis(_ node: Node, _ given: Int, rank: Int) throws(QuenchError) -> Int {
    let axis = given < 0 ? given + rank : given
    guard (0..<rank).contains(axis) else {
      throw refusal(node, "the axis \(given) of \"\(node.name)\" is not one of \(rank)")
    }
    return axis
  }

  private func transpose(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: layout(of: node.inputs[0]))
    try checkRank(node, input)
    let order = node.ints("perm") ?? Array(input.shape.indices.reversed())
    guard order.sorted() == Array(input.shape.indices) else {
      throw refusal(node, "\"\(node.name)\" does not permute \(input.shape.count) axes")
    }
    let output = try declare(node.outputs[0], layout: .plain)
    let strides = input.strides
    let box = Movement.Box(
      input: input, shape: output.shape, inputStart: 0, inputStrides: order.map { strides[$0] },
      outputStart: 0, outputStrides: output.strides)
    append(Movement(node: node.name, boxes: [box], output: output))
  }

  private func slice(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: layout(of: node.inputs[0]))
    try checkRank(node, input)
    let rank = input.shape.count
    guard let starts = try integers(node, at: 1) else {
      throw refusal(node, "\"\(node.name)\" has no constant starts")
    }
    let axes = try integers(node, at: 3) ?? Array(0..<starts.count)
    let steps = try integers(node, at: 4) ?? [Int](repeating: 1, count: starts.count)
    guard axes.count == starts.count, steps.count == starts.count, !steps.contains(0) else {
      throw refusal(node, "starts, axes and steps of \"\(node.name)\" do not fit each other")
    }
    var begin = 0
    var strides = input.strides
    let own = strides
    for (index, given) in axes.enumerated() {
      let axis = try axis(node, given, rank: rank)
      let extent = input.shape[axis]
      let start = starts[index] < 0 ? starts[index] + extent : starts[index]
      begin += min(max(start, 0), steps[index] > 0 ? extent : extent - 1) * own[axis]
      strides[axis] *= steps[index]
    }
    let output = try declare(node.outputs[0], layout: input.layout)
    let box = Movement.Box(
      input: input, shape: output.shape, inputStart: begin, inputStrides: strides, outputStart: 0,
      outputStrides: output.strides)
    append(Movement(node: node.name, boxes: [box], output: output))
  }

  private func concatenation(_ node: Node) throws(QuenchError) {
    let layout: TapeLayout =
      node.inputs.contains { self.layout(of: $0) == .channelsLast } ? .channelsLast : .plain
    let output = try declare(
      node.outputs[0], layout: self.shape(node.outputs[0]).count == 4 ? layout : .plain)
    try checkRank(node, output)
    let axis = try axis(node, node.int("axis", default: 0), rank: output.shape.count)
    var boxes: [Movement.Box] = []
    var at = 0
    for name in node.inputs {
      let input = try tensor(name, layout: layout)
      boxes.append(
        Movement.Box(
          input: input, shape: input.shape, inputStart: 0, inputStrides: input.strides,
          outputStart: at * output.strides[axis], outputStrides: output.strides))
      at += input.shape[axis]
    }
    append(Movement(node: node.name, boxes: boxes, output: output))
  }

  private func split(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: layout(of: node.inputs[0]))
    try checkRank(node, input)
    let axis = try axis(node, node.int("axis", default: 0), rank: input.shape.count)
    var at = 0
    for name in node.outputs {
      let output = try declare(name, layout: input.layout)
      let box = Movement.Box(
        input: input, shape: output.shape, inputStart: at * input.strides[axis],
        inputStrides: input.strides, outputStart: 0, outputStrides: output.strides)
      at += output.shape[axis]
      append(Movement(node: node.name, boxes: [box], output: output))
    }
  }

  private func gather(_ node: Node) throws(QuenchError) {
    guard isConstant(node.inputs[1]), let indices = try integers(node, at: 1) else {
      throw refusal(node, "fine-tuning takes Gather with constant indices only")
    }
    let shape = try shape(node.inputs[0])
    let axis = try axis(node, node.int("axis", default: 0), rank: shape.count)
    let extent = shape[axis]
    let from = indices.map { Int32(clamping: $0 < 0 ? $0 + extent : $0) }
    guard from.allSatisfy({ $0 >= 0 && Int($0) < extent }) else {
      throw refusal(node, "an index of \"\(node.name)\" is outside 0...\(extent - 1)")
    }
    let extents = (shape[..<axis].reduce(1, *), extent, shape[(axis + 1)...].reduce(1, *))
    let output = try declare(node.outputs[0], layout: .plain)
    if isConstant(node.inputs[0]) {
      let table = try parameter(node.inputs[0], kind: .weight, layer: node.name)
      append(
        TableLookup(node: node.name, table: table, output: output, extents: extents, from: from))
      return
    }
    append(
      Taps(
        node: node.name, input: try tensor(node.inputs[0], layout: .plain), output: output,
        extents: extents, results: from.count, from: from,
        factors: [Double](repeating: 1, count: from.count)))
  }

  /// Repeats, as a sum with zero: its gradient is summed over the repeated axes.
  private func expand(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: .plain)
    let output = try declare(node.outputs[0], layout: .plain)
    try checkRank(node, output)
    let zero = TapeTensor("zero", shape: [], layout: .plain, isBatched: false)
    let buffer = machine.makeBuffer(1)
    machine.write([0], to: buffer)
    zero.data = buffer
    append(
      Binary(
        node: node.name, function: CK_BINARY_ADD, a: BinaryOperand(tensor: input, parameter: nil),
        b: BinaryOperand(tensor: zero, parameter: nil), output: output))
  }
}

extension TapeBuilder {
  /// The rules by operator, all families together.
  static let rules: [String: Rule] = [
    layerRules, transposedRules, elementwiseRules, channelRules, selectionRules, movementRules,
    paddingRules, resizeRules,
  ].reduce(into: [:]) { all, family in all.merge(family) { first, _ in first } }
}
