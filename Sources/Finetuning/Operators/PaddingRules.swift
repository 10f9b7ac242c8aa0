// SPDX-License-Identifier: Apache-2.0
// Finetuning: rules for Pad in all its modes, DepthToSpace and SpaceToDepth.

internal import CKernels
internal import Diagnostics
internal import ONNXModel

extension TapeBuilder {
  static let paddingRules: [String: Rule] = [
    "Pad": { (b, n) throws(QuenchError) in try b.pad(n) },
    "DepthToSpace": { (b, n) throws(QuenchError) in try b.depthToSpace(n) },
    "SpaceToDepth": { (b, n) throws(QuenchError) in try b.spaceToDepth(n) },
  ]

  private func pad(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: layout(of: node.inputs[0]))
    let rank = input.shape.count
    let axes = try integers(node, at: 3) ?? Array(0..<rank)
    guard rank < Int(CK_TRAIN_RANK), let pads = try integers(node, at: 1),
      pads.count == 2 * axes.count
    else { throw refusal(node, "\"\(node.name)\" has no constant pads for its axes") }
    var before = [Int](repeating: 0, count: rank)
    var after = before
    for (index, given) in axes.enumerated() {
      let axis = given < 0 ? given + rank : given
      guard (0..<rank).contains(axis) else {
        throw refusal(node, "the axis \(given) of \"\(node.name)\" is not one of \(rank)")
      }
      before[axis] = pads[index]
      after[axis] = pads[index + axes.count]
    }
    let mode = node.string("mode") ?? "constant"
    guard mode == "constant" else { return try mirror(node, mode, input, before, after) }
    let output = try declare(node.outputs[0], layout: input.layout)
    var box = Movement.Box(
      input: input, shape: input.shape, inputStart: 0, inputStrides: input.strides, outputStart: 0,
      outputStrides: output.strides)
    for axis in 0..<rank {
      // Negative padding crops.
      box.shape[axis] += min(0, before[axis]) + min(0, after[axis])
      box.inputStart += max(0, -before[axis]) * box.inputStrides[axis]
      box.outputStart += max(0, before[axis]) * box.outputStrides[axis]
    }
    append(
      Movement(
        node: node.name, boxes: [box], output: output, filling: try number(node, at: 2) ?? 0))
  }

  /// Padding with elements of the tensor: one axis after the other, each result from one element.
  ///
  /// Source: ONNX operator specification, Pad, modes reflect, edge and wrap.
  private func mirror(
    _ node: Node, _ mode: String, _ input: TapeTensor, _ before: [Int], _ after: [Int]
  ) throws(QuenchError) {
    guard (before + after).allSatisfy({ $0 >= 0 }) else {
      throw refusal(node, "fine-tuning takes Pad with mode \(mode) and a negative pad not at all")
    }
    let axes = before.indices.filter { before[$0] + after[$0] > 0 }
    guard let last = axes.last else {
      let output = try declare(node.outputs[0], layout: input.layout)
      append(View(node: node.name, input: input, output: output))
      return
    }
    var current = input
    for axis in axes {
      let length = current.shape[axis]
      var shape = current.shape
      shape[axis] += before[axis] + after[axis]
      var from: [Int32] = []
      for place in -before[axis]..<(length + after[axis]) {
        let at: Int
        switch mode {
        case "edge": at = min(max(place, 0), length - 1)
        case "wrap": at = ((place % length) + length) % length
        case "reflect":
          // There and back again without the ends twice.
          let period = max(1, 2 * (length - 1))
          let phase = ((place % period) + period) % period
          at = min(phase, period - phase)
        default: throw refusal(node, "fine-tuning takes no Pad with mode \(mode)")
        }
        from.append(Int32(clamping: min(at, length - 1)))
      }
      let output =
        axis == last
        ? try declare(node.outputs[0], layout: input.layout)
        : TapeTensor("\(input.name) (padded to \(axis))", shape: shape, layout: input.layout)
      // Around the axis in the order of memory.
      let inner = current.strides[axis]
      append(
        Taps(
          node: node.name, input: current, output: output,
          extents: (current.count / (length * inner), length, inner), results: from.count,
          from: from, factors: [Double](repeating: 1, count: from.count)))
      current = output
    }
  }

  /// Blocks of channels to blocks of pixels, as one copy with six axes.
  private func depthToSpace(_ node: Node) throws(QuenchError) {
    let (input, block) = try blocks(node)
    let shape = input.shape
    let output = try declare(node.outputs[0], layout: .channelsLast)
    let depth = shape[1] / (block * block)
    let (from, to) = (input.strides, output.strides)
    // DCR: the block's place is the outer part of the channel; CRD: the inner one.
    let isInner = (node.string("mode") ?? "DCR") == "CRD"
    let place = from[1] * (isInner ? 1 : depth)
    append(
      Movement(
        node: node.name,
        boxes: [
          Movement.Box(
            input: input, shape: [block, block, depth, shape[2], shape[3]], inputStart: 0,
            inputStrides: [
              block * place, place, from[1] * (isInner ? block * block : 1), from[2], from[3],
            ], outputStart: 0,
            outputStrides: [to[2], to[3], to[1], block * to[2], block * to[3]])
        ], output: output))
  }

  private func spaceToDepth(_ node: Node) throws(QuenchError) {
    let (input, block) = try blocks(node)
    let output = try declare(node.outputs[0], layout: .channelsLast)
    let (from, to) = (input.strides, output.strides)
    let depth = input.shape[1]
    append(
      Movement(
        node: node.name,
        boxes: [
          Movement.Box(
            input: input, shape: [block, block, depth, output.shape[2], output.shape[3]],
            inputStart: 0,
            inputStrides: [from[2], from[3], from[1], block * from[2], block * from[3]],
            outputStart: 0,
            outputStrides: [block * depth * to[1], depth * to[1], to[1], to[2], to[3]])
        ], output: output))
  }

  private func blocks(_ node: Node) throws(QuenchError) -> (TapeTensor, Int) {
    let input = try tensor(node.inputs[0], layout: .channelsLast)
    let block = node.int("blocksize", default: 0)
    guard input.shape.count == 4, block > 0 else {
      throw refusal(node, "fine-tuning takes a \(node.opType) over rank 4 only")
    }
    return (input, block)
  }
}
