// SPDX-License-Identifier: Apache-2.0
// Finetuning: what convolutions, their transposes and matrix products do alike.

internal import CKernels

/// A layer that computes with a weight, and may add a bias to each channel of its output.
protocol WeightedLayer: TapeOperator {
  var source: LayerInput { get }
  var output: TapeTensor { get }
  var weight: LayerWeight { get }
  var bias: TapeParameter? { get }
  /// Channels of the output, those of all groups.
  var outputChannels: Int { get }

  /// Adds the gradient of the weight, given the output's.
  func addWeightGradient(_ dy: UnsafeRawPointer, _ machine: TapeMachine)
  /// Adds the gradient of what the layer reads, given the output's.
  func addInputGradient(_ dy: UnsafeRawPointer, to target: TapeTensor, _ machine: TapeMachine)
}

extension WeightedLayer {
  var inputs: [TapeTensor] {
    source.quantizer.map { [$0.output, source.tensor] } ?? [source.tensor]
  }
  var kept: [TapeTensor] { [source.tensor] }
  var parameters: [TapeParameter] { weight.parameters + (bias.map { [$0] } ?? []) }

  func backward(_ machine: TapeMachine) {
    let dy = UnsafeRawPointer(output.gradientPointer)
    if let bias, bias.isTrained {
      machine.kernels.sum(
        machine.pool, 1, output.elements(machine.count) / outputChannels, outputChannels, 1, dy, 1,
        bias.gradient.pointer)
    }
    if weight.values.isTrained { addWeightGradient(dy, machine) }
    let target = source.target
    guard
      target.needsGradient, source.tensor.needsGradient || machine.wantsScaleGradients
    else { return }
    addInputGradient(dy, to: target, machine)
  }
}

extension ConvolutionLayer.Window {
  /// The geometry of windows over a batch of images, but for the channels.
  func geometry(from: TapeTensor, to: TapeTensor, _ machine: TapeMachine) -> ck_train_conv {
    var g = ck_train_conv()
    (g.n, g.h, g.w) = (machine.count, from.image.height, from.image.width)
    (g.oh, g.ow) = (to.image.height, to.image.width)
    (g.kh, g.kw) = kernel
    (g.sh, g.sw) = stride
    (g.dh, g.dw) = dilation
    g.top = top
    g.left = left
    return g
  }
}
