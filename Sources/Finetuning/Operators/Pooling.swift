// SPDX-License-Identifier: Apache-2.0
// Finetuning: MaxPool and AveragePool over windows.

internal import CKernels

/// The largest, or the mean, of each window of an image.
final class Pooling: TapeOperator {
  let node: String
  let input: TapeTensor
  let output: TapeTensor
  let isMaximum: Bool
  let window: ConvolutionLayer.Window
  let countsPadding: Bool
  /// For each output of a maximum where in its image the winner is; int32.
  private var positions: TapeBuffer?

  init(
    node: String, input: TapeTensor, output: TapeTensor, isMaximum: Bool,
    window: ConvolutionLayer.Window, countsPadding: Bool
  ) {
    self.node = node
    self.input = input
    self.output = output
    self.isMaximum = isMaximum
    self.window = window
    self.countsPadding = countsPadding
  }

  var inputs: [TapeTensor] { [input] }
  var kept: [TapeTensor] { [] }

  private func geometry(_ machine: TapeMachine) -> ck_train_window {
    var g = ck_train_window()
    (g.n, g.h, g.w, g.c) = (
      machine.count, input.image.height, input.image.width, input.image.channels
    )
    (g.oh, g.ow) = (output.image.height, output.image.width)
    (g.kh, g.kw) = window.kernel
    (g.sh, g.sw) = window.stride
    (g.dh, g.dw) = window.dilation
    g.top = window.top
    g.left = window.left
    g.counts_padding = countsPadding ? 1 : 0
    return g
  }

  func forward(_ machine: TapeMachine) {
    var g = geometry(machine)
    guard isMaximum else {
      machine.kernels.average_pool_forward(machine.pool, &g, input.pointer, output.pointer)
      return
    }
    let positions = machine.arena.take(bytes: 4 * output.elements(machine.count))
    machine.kernels.max_pool_forward(
      machine.pool, &g, input.pointer, output.pointer,
      positions.pointer.assumingMemoryBound(to: Int32.self))
    self.positions = positions
  }

  func backward(_ machine: TapeMachine) {
    guard input.needsGradient else { return }
    var g = geometry(machine)
    let (to, accumulate) = machine.gradient(of: input)
    if isMaximum, let positions {
      machine.kernels.max_pool_backward(
        machine.pool, &g, positions.pointer.assumingMemoryBound(to: Int32.self),
        output.gradientPointer, accumulate, to)
      self.positions = nil
    } else {
      machine.kernels.average_pool_backward(
        machine.pool, &g, output.gradientPointer, accumulate, to)
    }
  }
}

/// A sum over neighboring axes, times a factor: ReduceSum, ReduceMean, GlobalAveragePool.
final class AxisSum: TapeOperator {
  let node: String
  let input: TapeTensor
  let output: TapeTensor
  /// Blocks of a sample before, along and behind the axes, in the order of the input's memory.
  let extents: (outer: Int, reduced: Int, inner: Int)
  let factor: Double

  init(
    node: String, input: TapeTensor, output: TapeTensor,
    extents: (outer: Int, reduced: Int, inner: Int), factor: Double
  ) {
    self.node = node
    self.input = input
    self.output = output
    self.extents = extents
    self.factor = factor
  }

  var inputs: [TapeTensor] { [input] }
  var kept: [TapeTensor] { [] }

  func forward(_ machine: TapeMachine) {
    machine.kernels.sum(
      machine.pool, machine.count * extents.outer, extents.reduced, extents.inner, factor,
      input.pointer, 0, output.pointer)
  }

  func backward(_ machine: TapeMachine) {
    guard input.needsGradient else { return }
    let (to, accumulate) = machine.gradient(of: input)
    machine.kernels.spread(
      machine.pool, machine.count * extents.outer, extents.reduced, extents.inner, factor,
      output.gradientPointer, accumulate, to)
  }
}
