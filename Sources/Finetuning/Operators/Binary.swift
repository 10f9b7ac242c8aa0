// SPDX-License-Identifier: Apache-2.0
// Finetuning: Add, Sub, Mul and Div with broadcasting.

internal import CKernels

/// An operand: a computed tensor, a constant, or a trainable constant.
struct BinaryOperand {
  let tensor: TapeTensor
  let parameter: TapeParameter?

  var needsGradient: Bool { parameter?.isTrained ?? tensor.needsGradient }
}

/// a op b.
///
/// Each operand's gradient is the elementwise product, summed over the axes along which the operand
/// was repeated.
final class Binary: TapeOperator {
  let node: String
  let a: BinaryOperand
  let b: BinaryOperand
  let output: TapeTensor
  let function: ck_train_binary
  /// The limits of a Relu or Clip that reads the output alone.
  var limits: (low: Double, high: Double) = (-.infinity, .infinity)

  init(
    node: String, function: ck_train_binary, a: BinaryOperand, b: BinaryOperand,
    output: TapeTensor
  ) {
    self.node = node
    self.function = function
    self.a = a
    self.b = b
    self.output = output
  }

  var inputs: [TapeTensor] { [a.tensor, b.tensor] }
  var parameters: [TapeParameter] { [a.parameter, b.parameter].compactMap { $0 } }
  var kept: [TapeTensor] {
    function == CK_BINARY_MUL || function == CK_BINARY_DIV ? [a.tensor, b.tensor] : []
  }

  private func nest(
    _ a: (strides: [Int], sample: Int), _ b: (strides: [Int], sample: Int)?, _ machine: TapeMachine
  ) -> ck_train_nest {
    TapeNest(
      samples: machine.count, shape: output.shape, a: a, b: b, y: (output.strides, output.count)
    ).nest
  }

  func forward(_ machine: TapeMachine) {
    let rank = output.shape.count
    var nest = nest(
      a.tensor.strides(broadcastTo: rank), b.tensor.strides(broadcastTo: rank), machine)
    machine.kernels.binary(
      machine.pool, function, &nest, limits.low, limits.high, a.tensor.pointer, b.tensor.pointer,
      output.pointer)
  }

  func backward(_ machine: TapeMachine) {
    switch function {
    case CK_BINARY_ADD, CK_BINARY_SUB:
      // The last to read the output's gradient may take it, negated when it is subtracted.
      if a.needsGradient { add(to: a, factor: 1, last: !b.needsGradient, machine) }
      if b.needsGradient {
        add(to: b, factor: function == CK_BINARY_ADD ? 1 : -1, last: true, machine)
      }
    case CK_BINARY_MUL:
      if a.needsGradient { addProduct(to: a, times: b.tensor, CK_BINARY_MUL, machine) }
      if b.needsGradient { addProduct(to: b, times: a.tensor, CK_BINARY_MUL, machine) }
    default:
      if a.needsGradient { addProduct(to: a, times: b.tensor, CK_BINARY_DIV, machine) }
      if b.needsGradient { addDenominator(machine) }
    }
  }

  private func isWhole(_ operand: BinaryOperand) -> Bool {
    operand.tensor.isBatched && operand.tensor.shape == output.shape
      && operand.tensor.layout == output.layout
  }

  private func add(to operand: BinaryOperand, factor: Double, last: Bool, _ machine: TapeMachine) {
    if factor == 1, isWhole(operand) {
      machine.pass(output, to: operand.tensor, last: last)
      return
    }
    reduce(output.gradientPointer, to: operand, factor: factor, machine)
  }

  private func addProduct(
    to operand: BinaryOperand, times other: TapeTensor, _ function: ck_train_binary,
    _ machine: TapeMachine
  ) {
    let product = machine.makeBuffer(output.elements(machine.count))
    var nest = nest(
      (output.strides, output.count), other.strides(broadcastTo: output.shape.count), machine)
    machine.kernels.binary(
      machine.pool, function, &nest, -.infinity, .infinity, output.gradientPointer, other.pointer,
      product.pointer)
    reduce(product.pointer, to: operand, factor: 1, machine)
  }

  /// d(a / b) / db = −(a / b) / b.
  private func addDenominator(_ machine: TapeMachine) {
    let product = machine.makeBuffer(output.elements(machine.count))
    let rank = output.shape.count
    var times = nest(
      (output.strides, output.count), a.tensor.strides(broadcastTo: rank), machine)
    machine.kernels.binary(
      machine.pool, CK_BINARY_MUL, &times, -.infinity, .infinity, output.gradientPointer,
      a.tensor.pointer, product.pointer)
    var over = nest(
      (output.strides, output.count), b.tensor.strides(broadcastTo: rank), machine)
    for _ in 0..<2 {
      machine.kernels.binary(
        machine.pool, CK_BINARY_DIV, &over, -.infinity, .infinity, product.pointer,
        b.tensor.pointer, product.pointer)
    }
    reduce(product.pointer, to: b, factor: -1, machine)
  }

  /// Sums a gradient of the output's shape over the repeated axes, then adds it to the operand's.
  private func reduce(
    _ gradient: UnsafeRawPointer, to operand: BinaryOperand, factor: Double,
    _ machine: TapeMachine
  ) {
    let target: (pointer: UnsafeMutableRawPointer, accumulate: Int32) =
      operand.parameter.map { ($0.gradient.pointer, 1) } ?? machine.gradient(of: operand.tensor)
    let (strides, sample) = operand.tensor.strides(broadcastTo: output.shape.count)
    let own = output.strides
    // Axes in the order of memory, the batch first; neighbors that are alike become one.
    let axes = output.shape.indices.sorted { own[$0] > own[$1] }
    var runs: [(extent: Int, kept: Bool)] = [(machine.count, sample != 0)]
    for axis in axes where output.shape[axis] != 1 {
      let kept = strides[axis] != 0
      if runs[runs.count - 1].kept == kept || runs[runs.count - 1].extent == 1 {
        runs[runs.count - 1].extent *= output.shape[axis]
        runs[runs.count - 1].kept = kept
      } else {
        runs.append((output.shape[axis], kept))
      }
    }
    var source = gradient
    var buffers: [TapeBuffer] = []
    while let index = runs.lastIndex(where: { !$0.kept }) {
      let outer = runs[..<index].reduce(1) { $0 * $1.extent }
      let inner = runs[(index + 1)...].reduce(1) { $0 * $1.extent }
      let buffer = machine.makeBuffer(outer * inner)
      machine.kernels.sum(
        machine.pool, outer, runs[index].extent, inner, 1, source, 0, buffer.pointer)
      buffers.append(buffer)
      source = UnsafeRawPointer(buffer.pointer)
      runs.remove(at: index)
    }
    // What is left has the operand's axes in the order of the output's memory.
    let kept = axes.filter { strides[$0] != 0 }
    var step = 1
    var dense: [Int] = []
    for axis in kept.reversed() {
      dense.insert(step, at: 0)
      step *= output.shape[axis]
    }
    let extents = [sample != 0 ? machine.count : 1] + kept.map { output.shape[$0] }
    let to = [sample] + kept.map { strides[$0] }
    if factor == 1 {
      var nest = TapeNest(extents: extents, a: [step] + dense, y: to).nest
      machine.kernels.copy(machine.pool, &nest, source, target.accumulate, target.pointer)
      return
    }
    let count = extents.reduce(1, *)
    let scaled = machine.makeBuffer(count)
    machine.kernels.unary_forward(
      machine.pool, CK_UNARY_AFFINE, count, factor, 0, source, scaled.pointer)
    var nest = TapeNest(extents: extents, a: [step] + dense, y: to).nest
    machine.kernels.copy(machine.pool, &nest, scaled.pointer, target.accumulate, target.pointer)
  }
}
