// SPDX-License-Identifier: Apache-2.0
// Finetuning: Softmax, the normalization of LayerNormalization, and products of computed matrices.

internal import CKernels

/// Softmax along an axis.
final class Softmax: TapeOperator {
  let node: String
  let input: TapeTensor
  let output: TapeTensor
  let extents: (outer: Int, length: Int, inner: Int)

  init(
    node: String, input: TapeTensor, output: TapeTensor,
    extents: (outer: Int, length: Int, inner: Int)
  ) {
    self.node = node
    self.input = input
    self.output = output
    self.extents = extents
  }

  var inputs: [TapeTensor] { [input] }
  var kept: [TapeTensor] { [output] }

  func forward(_ machine: TapeMachine) {
    machine.kernels.softmax_forward(
      machine.pool, machine.count * extents.outer, extents.length, extents.inner, input.pointer,
      output.pointer)
  }

  func backward(_ machine: TapeMachine) {
    guard input.needsGradient else { return }
    let (to, accumulate) = machine.gradient(of: input)
    machine.kernels.softmax_backward(
      machine.pool, machine.count * extents.outer, extents.length, extents.inner, output.pointer,
      output.gradientPointer, accumulate, to)
  }
}

/// (x − mean) / √(variance + ε) of each row.
final class RowNormalization: TapeOperator {
  let node: String
  let input: TapeTensor
  let output: TapeTensor
  let length: Int
  let epsilon: Double
  private var spread: TapeBuffer?

  init(node: String, input: TapeTensor, output: TapeTensor, length: Int, epsilon: Double) {
    self.node = node
    self.input = input
    self.output = output
    self.length = length
    self.epsilon = epsilon
  }

  var inputs: [TapeTensor] { [input] }
  var kept: [TapeTensor] { [output] }

  func forward(_ machine: TapeMachine) {
    let rows = input.elements(machine.count) / length
    let spread = machine.makeBuffer(rows)
    machine.kernels.normalize_forward(
      machine.pool, rows, length, epsilon, input.pointer, output.pointer, spread.pointer)
    self.spread = spread
  }

  func backward(_ machine: TapeMachine) {
    guard input.needsGradient, let spread else { return }
    let (to, accumulate) = machine.gradient(of: input)
    machine.kernels.normalize_backward(
      machine.pool, input.elements(machine.count) / length, length, output.pointer,
      spread.pointer, output.gradientPointer, accumulate, to)
    self.spread = nil
  }
}

/// C = A · B of computed matrices, `[…, M, K] · […, K, N]` with the same leading axes.
final class MatrixProduct: TapeOperator {
  let node: String
  let a: TapeTensor
  let b: TapeTensor
  let output: TapeTensor
  let extents: (count: Int, m: Int, n: Int, k: Int)

  init(
    node: String, a: TapeTensor, b: TapeTensor, output: TapeTensor,
    extents: (count: Int, m: Int, n: Int, k: Int)
  ) {
    self.node = node
    self.a = a
    self.b = b
    self.output = output
    self.extents = extents
  }

  var inputs: [TapeTensor] { [a, b] }
  var kept: [TapeTensor] { [a, b] }

  func forward(_ machine: TapeMachine) {
    let (_, m, n, k) = extents
    var g = ck_train_matmul(
      count: machine.count * extents.count, m: m, n: n, k: k, a_item: m * k, a_m: k, a_k: 1,
      b_item: k * n, b_k: n, b_n: 1, c_item: m * n, c_m: n, accumulate: 0)
    machine.kernels.matmul(machine.pool, &g, a.pointer, b.pointer, output.pointer)
  }

  func backward(_ machine: TapeMachine) {
    let (_, m, n, k) = extents
    let count = machine.count * extents.count
    let dy = UnsafeRawPointer(output.gradientPointer)
    if a.needsGradient {
      // dA = dC · Bᵀ
      let (to, accumulate) = machine.gradient(of: a)
      var g = ck_train_matmul(
        count: count, m: m, n: k, k: n, a_item: m * n, a_m: n, a_k: 1, b_item: k * n, b_k: 1,
        b_n: n, c_item: m * k, c_m: k, accumulate: accumulate)
      machine.kernels.matmul(machine.pool, &g, dy, b.pointer, to)
    }
    if b.needsGradient {
      // dB = Aᵀ · dC
      let (to, accumulate) = machine.gradient(of: b)
      var g = ck_train_matmul(
        count: count, m: k, n: n, k: m, a_item: m * k, a_m: 1, a_k: k, b_item: m * n, b_k: n,
        b_n: 1, c_item: k * n, c_m: n, accumulate: accumulate)
      machine.kernels.matmul(machine.pool, &g, a.pointer, dy, to)
    }
  }
}
