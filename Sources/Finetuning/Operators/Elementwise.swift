// SPDX-License-Identifier: Apache-2.0
// Finetuning: functions of one argument, element by element.

internal import CKernels

/// Relu and Clip. When the operator below applied the limits already, input and output share
/// their memory; when a fake quantizer above masks the gradient, the gradient passes unchanged.
final class Limiter: TapeOperator {
  let node: String
  let input: TapeTensor
  let output: TapeTensor
  let limits: (low: Double, high: Double)
  /// The operator below applied the limits when it stored its results.
  var isApplied = false
  /// What comes is in steps of the fake quantizer above, which has the limits itself.
  var isPassing = false
  /// The fake quantizers of the output, which apply the mask when they run.
  var maskers: [FakeQuantizer] = []

  init(node: String, input: TapeTensor, output: TapeTensor, limits: (low: Double, high: Double)) {
    self.node = node
    self.input = input
    self.output = output
    self.limits = limits
  }

  var inputs: [TapeTensor] { [input] }
  // The result says as well as the argument where the limits held.
  var kept: [TapeTensor] { [output] }
  var allocatesOutput: Bool { isApplied }

  func forward(_ machine: TapeMachine) {
    guard !isApplied else {
      output.data = input.data
      return
    }
    let limits = isPassing ? (low: -.infinity, high: .infinity) : limits
    machine.kernels.unary_forward(
      machine.pool, CK_UNARY_CLAMP, input.elements(machine.count), limits.low, limits.high,
      input.pointer, output.pointer)
  }

  func backward(_ machine: TapeMachine) {
    let isMasked = maskers.contains(where: \.didMask)
    for masker in maskers { masker.didMask = false }
    guard input.needsGradient else { return }
    if !isMasked {
      let gradient = output.gradientPointer
      machine.kernels.unary_backward(
        machine.pool, CK_UNARY_CLAMP, input.elements(machine.count), limits.low, limits.high,
        output.pointer, gradient, 0, gradient)
    }
    machine.pass(output, to: input, last: true)
  }
}

/// Any other function of one argument that the kernels know.
final class Unary: TapeOperator {
  let node: String
  let input: TapeTensor
  let output: TapeTensor
  let function: ck_train_unary
  let a: Double
  let b: Double

  init(
    node: String, input: TapeTensor, output: TapeTensor, function: ck_train_unary, a: Double = 0,
    b: Double = 0
  ) {
    self.node = node
    self.input = input
    self.output = output
    self.function = function
    self.a = a
    self.b = b
  }

  var inputs: [TapeTensor] { [input] }
  var kept: [TapeTensor] { [input] }

  func forward(_ machine: TapeMachine) {
    machine.kernels.unary_forward(
      machine.pool, function, input.elements(machine.count), a, b, input.pointer, output.pointer)
  }

  func backward(_ machine: TapeMachine) {
    guard input.needsGradient else { return }
    let (to, accumulate) = machine.gradient(of: input)
    machine.kernels.unary_backward(
      machine.pool, function, input.elements(machine.count), a, b, input.pointer,
      output.gradientPointer, accumulate, to)
  }
}
