// SPDX-License-Identifier: Apache-2.0
// Finetuning: operators that move elements and compute nothing.

internal import CKernels
internal import Glibc

/// The same elements under another shape.
final class View: TapeOperator {
  let node: String
  let input: TapeTensor
  let output: TapeTensor

  init(node: String, input: TapeTensor, output: TapeTensor) {
    self.node = node
    self.input = input
    self.output = output
  }

  var inputs: [TapeTensor] { [input] }
  var kept: [TapeTensor] { [] }
  var allocatesOutput: Bool { true }

  func forward(_ machine: TapeMachine) { output.data = input.data }

  func backward(_ machine: TapeMachine) { machine.pass(output, to: input, last: true) }
}

/// Copies boxes of inputs to boxes of the output: Transpose, Slice, Pad, Concat, changes of layout.
final class Movement: TapeOperator {
  /// A box: extents along some axes, and where it lies in a sample of the input and of the output.
  struct Box {
    var input: TapeTensor
    var shape: [Int]
    var inputStart: Int
    var inputStrides: [Int]
    var outputStart: Int
    var outputStrides: [Int]
  }

  let node: String
  let boxes: [Box]
  let output: TapeTensor
  /// What the output holds outside the boxes; nil when they cover it.
  let filling: Double?

  init(node: String, boxes: [Box], output: TapeTensor, filling: Double? = nil) {
    self.node = node
    self.boxes = boxes
    self.output = output
    self.filling = filling
  }

  var inputs: [TapeTensor] { boxes.map(\.input) }
  var kept: [TapeTensor] { [] }

  func forward(_ machine: TapeMachine) {
    if let filling { fill(with: filling, machine) }
    for box in boxes where !box.shape.contains(0) {
      var nest = TapeNest(
        samples: machine.count, shape: box.shape,
        a: (box.inputStrides, box.input.isBatched ? box.input.count : 0),
        y: (box.outputStrides, output.count)
      ).nest
      machine.kernels.copy(
        machine.pool, &nest, box.input.pointer + box.inputStart * machine.elementSize, 0,
        output.pointer + box.outputStart * machine.elementSize)
    }
  }

  private func fill(with value: Double, _ machine: TapeMachine) {
    let count = output.elements(machine.count)
    memset(output.pointer, 0, count * machine.elementSize)
    if value != 0 {
      machine.kernels.unary_forward(
        machine.pool, CK_UNARY_AFFINE, count, 1, value, output.pointer, output.pointer)
    }
  }

  func backward(_ machine: TapeMachine) {
    for box in boxes where box.input.needsGradient {
      let isFirst = box.input.gradient == nil
      let (to, _) = machine.gradient(of: box.input)
      // Parts that the box leaves out get nothing.
      if isFirst { memset(to, 0, box.input.elements(machine.count) * machine.elementSize) }
      guard !box.shape.contains(0) else { continue }
      var nest = TapeNest(
        samples: machine.count, shape: box.shape, a: (box.outputStrides, output.count),
        y: (box.inputStrides, box.input.count)
      ).nest
      machine.kernels.copy(
        machine.pool, &nest, output.gradientPointer + box.outputStart * machine.elementSize, 1,
        to + box.inputStart * machine.elementSize)
    }
  }
}

/// Each result along an axis is a sum of few elements along it: Gather, Resize, edge padding.
final class Taps: TapeOperator {
  let node: String
  let input: TapeTensor
  let output: TapeTensor
  /// Blocks before the axis, its extent, and elements behind it, in the order of memory.
  let extents: (outer: Int, length: Int, inner: Int)
  let results: Int
  let from: [Int32]
  let factors: [Double]

  /// - Parameter from: for each result along the axis the same number of sources; `factors` too.
  init(
    node: String, input: TapeTensor, output: TapeTensor,
    extents: (outer: Int, length: Int, inner: Int), results: Int, from: [Int32],
    factors: [Double]
  ) {
    self.node = node
    self.input = input
    self.output = output
    self.extents = extents
    self.results = results
    self.from = from
    self.factors = factors
  }

  var inputs: [TapeTensor] { [input] }
  var kept: [TapeTensor] { [] }

  func forward(_ machine: TapeMachine) {
    machine.kernels.taps_forward(
      machine.pool, machine.count * extents.outer, extents.length, results, extents.inner,
      from.count / max(1, results), from, factors, input.pointer, output.pointer)
  }

  func backward(_ machine: TapeMachine) {
    guard input.needsGradient else { return }
    let (to, accumulate) = machine.gradient(of: input)
    machine.kernels.taps_backward(
      machine.pool, machine.count * extents.outer, extents.length, results, extents.inner,
      from.count / max(1, results), from, factors, output.gradientPointer, accumulate, to)
  }
}
