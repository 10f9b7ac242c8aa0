// SPDX-License-Identifier: Apache-2.0
// Finetuning: fake quantization, as the QDQ model will do it.

internal import CKernels

/// The codes of a fake quantizer, less the zero point; whole numbers.
struct FakeQuantizeRange: Equatable {
  var low: Double
  var high: Double

  /// Weights: −(2^(b−1) − 1)...2^(b−1) − 1.
  static func weights(bits: Int) -> FakeQuantizeRange {
    let high = Double((1 << (bits - 1)) - 1)
    return FakeQuantizeRange(low: -high, high: high)
  }

  /// Activations: all codes of `bits`, less the zero point.
  static func activations(bits: Int, zeroPoint: Int) -> FakeQuantizeRange {
    let half = 1 << (bits - 1)
    return FakeQuantizeRange(low: Double(-half - zeroPoint), high: Double(half - 1 - zeroPoint))
  }

  /// Q_P of LSQ: the largest code's distance from zero, 2^(b−1) − 1 when symmetric.
  var positive: Double { max(high, -low - 1, 1) }

  /// LSQ's factor on the gradient of a scale that `elements` share: 1 / √(N · Q_P).
  ///
  /// Source: Esser et al., "Learned Step Size Quantization", ICLR 2020, section 2.2.
  func gradientFactor(elements: Int) -> Double { 1 / (Double(elements) * positive).squareRoot() }
}

/// The fake quantizer of an activation. Its output is never stored: the layers that read it
/// quantize again what they need. They all add to the output's gradient, and the mask is applied
/// once. The step stands right behind the one that made the input, so it runs backward last.
final class FakeQuantizer: TapeOperator {
  let node: String
  let input: TapeTensor
  let output: TapeTensor
  let scale: TapeParameter
  /// The scale with which training started; layers that began alike share the quantizer.
  let initialScale: Float
  let range: FakeQuantizeRange
  /// Whether the last run backward masked by `gate`.
  var didMask = false
  /// The limits of the Relu or Clip that made the input, whose backward is then done here.
  var gate: (low: Double, high: Double) = (-.infinity, .infinity)

  init(
    _ input: TapeTensor, scale: TapeParameter, initialScale: Float, range: FakeQuantizeRange
  ) {
    self.initialScale = initialScale
    node = "fake quantizer of \(input.name)"
    self.input = input
    self.scale = scale
    self.range = range
    output = TapeTensor("\(input.name) (fake quantized)", shape: input.shape, layout: input.layout)
  }

  var inputs: [TapeTensor] { [input] }
  var kept: [TapeTensor] { [input] }
  var parameters: [TapeParameter] { [scale] }
  var allocatesOutput: Bool { true }

  /// The scale as it is now.
  func step(_ machine: TapeMachine) -> Double {
    scale.withValues { machine.element(0, of: $0) }
  }

  func grid(_ machine: TapeMachine, codes: Bool = false) -> ck_train_grid {
    ck_train_grid(
      scale: input.isInSteps ? 1 : step(machine), low: range.low, high: range.high,
      codes: codes ? 1 : 0)
  }

  func forward(_ machine: TapeMachine) {}

  func backward(_ machine: TapeMachine) {
    var grid = grid(machine)
    let elements = input.elements(machine.count)
    let from = output.gradientPointer
    let to: UnsafeMutableRawPointer
    var accumulate: Int32 = 0
    if input.needsGradient, let known = input.gradient {
      to = known.pointer
      accumulate = 1
    } else {
      to = from
      if input.needsGradient { input.gradient = output.gradient }
    }
    let slope = machine.kernels.quantizer_backward(
      machine.pool, elements, &grid, input.pointer, from, accumulate, gate.low, gate.high, to)
    didMask = true
    guard scale.isTrained, machine.wantsScaleGradients else { return }
    scale.addGradient(slope * range.gradientFactor(elements: input.count), at: 0)
  }
}

/// What a layer reads: a tensor, through a fake quantizer or not.
struct LayerInput {
  let tensor: TapeTensor
  let quantizer: FakeQuantizer?

  /// The tensor whose gradient the layer adds to.
  var target: TapeTensor { quantizer?.output ?? tensor }

  func grid(_ machine: TapeMachine, codes: Bool = false) -> ck_train_grid {
    quantizer?.grid(machine, codes: codes) ?? ck_train_grid()
  }
}

/// A layer's weight in ONNX's layout, read by the kernels through its fake quantizer.
final class LayerWeight {
  let values: TapeParameter
  /// One scale, or one a channel of `o`; nil without fake quantization.
  let scales: TapeParameter?
  let range: FakeQuantizeRange
  /// Output channels, input channels of a group, positions of the kernel, and ONNX's strides.
  let shape: (o: Int, i: Int, k: Int)
  let strides: (o: Int, i: Int, k: Int)

  init(
    _ values: TapeParameter, scales: TapeParameter?, range: FakeQuantizeRange,
    shape: (o: Int, i: Int, k: Int), strides: (o: Int, i: Int, k: Int)
  ) {
    self.values = values
    self.scales = scales
    self.range = range
    self.shape = shape
    self.strides = strides
  }

  var parameters: [TapeParameter] { [values] + (scales.map { [$0] } ?? []) }

  /// Calls the kernels with output channels `first` to `first + count`, fake-quantized or as codes.
  func withChannels(
    _ first: Int, _ count: Int, _ machine: TapeMachine, codes: Bool = false,
    _ body: (UnsafePointer<ck_train_weights>) -> Void
  ) {
    withScales { scales, scaleCount in
      values.withValues { values in
        let isPerChannel = scaleCount == shape.o && scaleCount > 1
        let size = machine.elementSize
        var weights = ck_train_weights(
          o: count, i: shape.i, k: shape.k, so: strides.o, si: strides.i, sk: strides.k,
          values: values + first * strides.o * size,
          scales: isPerChannel ? scales.map { $0 + first * size } : scales,
          scale_count: isPerChannel ? count : scaleCount, scales_follow_i: 0, low: range.low,
          high: range.high, codes: codes ? 1 : 0)
        body(&weights)
      }
    }
  }

  /// Calls the kernels with input and output channels exchanged: input channels `first` to
  /// `first + count` are what the kernels call o.
  func withTransposedChannels(
    _ first: Int, _ count: Int, _ machine: TapeMachine, codes: Bool = false,
    _ body: (UnsafePointer<ck_train_weights>) -> Void
  ) {
    withScales { scales, scaleCount in
      values.withValues { values in
        var weights = ck_train_weights(
          o: count, i: shape.o, k: shape.k, so: strides.i, si: strides.o, sk: strides.k,
          values: values + first * strides.i * machine.elementSize, scales: scales,
          scale_count: scaleCount, scales_follow_i: 1, low: range.low, high: range.high,
          codes: codes ? 1 : 0)
        body(&weights)
      }
    }
  }

  private func withScales(_ body: (UnsafeRawPointer?, Int) -> Void) {
    guard let scales else { return body(nil, 0) }
    scales.withValues { body($0, scales.parameter.count) }
  }

  /// Adds a gradient in the dense layout [o][k][i].
  func addGradient(_ gradient: UnsafeRawPointer, _ machine: TapeMachine) {
    var slopes = [Double](repeating: 0, count: shape.o)
    values.withGradient { to in
      withChannels(0, shape.o, machine) { weights in
        machine.kernels.weights_gradient(machine.pool, weights, gradient, to, &slopes)
      }
    }
    guard let scales, machine.wantsScaleGradients else { return }
    let count = scales.parameter.count
    let factor = range.gradientFactor(elements: shape.o * shape.i * shape.k / count)
    if count == 1 {
      scales.addGradient(slopes.reduce(0, +) * factor, at: 0)
    } else {
      for (index, slope) in slopes.enumerated() { scales.addGradient(slope * factor, at: index) }
    }
  }
}
