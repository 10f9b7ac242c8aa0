// SPDX-License-Identifier: Apache-2.0
// Finetuning: a tensor on the tape.

internal import CKernels
internal import Quantization

/// How the elements of a sample lie in memory.
enum TapeLayout {
  /// As ONNX has them, row-major.
  case plain
  /// Rank 4 `[N, C, H, W]`, stored N, H, W, C.
  case channelsLast
}

/// A tensor on the tape: one block of `shape` for each sample, or one block in all for constants.
final class TapeTensor {
  let name: String
  /// ONNX's shape at batch 1.
  let shape: [Int]
  let layout: TapeLayout
  /// Whether each sample has its own block.
  let isBatched: Bool
  /// Elements of a block.
  let count: Int
  /// Whether the gradient of the loss by this tensor is worth computing.
  var needsGradient = false
  /// The elements; nil before they are computed and after their last use.
  var data: TapeBuffer?
  /// Whether the elements are in steps of the one fake quantizer that reads them.
  var isInSteps = false
  /// The gradient so far; nil before the first part of it.
  var gradient: TapeBuffer?

  init(_ name: String, shape: [Int], layout: TapeLayout, isBatched: Bool = true) {
    self.name = name
    self.shape = shape
    self.layout = layout
    self.isBatched = isBatched
    count = shape.reduce(1, *)
  }

  /// Elements between neighbors along each of ONNX's axes.
  var strides: [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    switch layout {
    case .plain:
      var step = 1
      for axis in shape.indices.reversed() {
        strides[axis] = step
        step *= shape[axis]
      }
    case .channelsLast:
      strides = [count, 1, shape[3] * shape[1], shape[1]]
    }
    return strides
  }

  /// Height, width and channels of rank 4.
  var image: (height: Int, width: Int, channels: Int) { (shape[2], shape[3], shape[1]) }

  /// Elements of a whole batch.
  func elements(_ samples: Int) -> Int { isBatched ? count * samples : count }

  /// The elements' address.
  ///
  /// - Precondition: the tensor has been computed and is still held.
  var pointer: UnsafeMutableRawPointer {
    guard let data else { preconditionFailure("tensor \"\(name)\" is not held") }
    return data.pointer
  }

  /// The gradient's address.
  ///
  /// - Precondition: some reader of the tensor has added to it.
  var gradientPointer: UnsafeMutableRawPointer {
    guard let gradient else { preconditionFailure("tensor \"\(name)\" has no gradient yet") }
    return gradient.pointer
  }
}

extension TapeMachine {
  /// Gives a tensor memory for its elements, unless it has some.
  func allocate(_ tensor: TapeTensor) {
    if tensor.data == nil { tensor.data = makeBuffer(tensor.elements(count)) }
  }

  /// The gradient to write to, and whether to add to what is there.
  func gradient(
    of tensor: TapeTensor
  ) -> (pointer: UnsafeMutableRawPointer, accumulate: Int32) {
    if let known = tensor.gradient { return (known.pointer, 1) }
    let made = makeBuffer(tensor.elements(count))
    tensor.gradient = made
    return (made.pointer, 0)
  }

  /// Adds the gradient of `output` to that of `input`, elements one to one. The last use of the
  /// output's gradient hands its memory on.
  func pass(_ output: TapeTensor, to input: TapeTensor, last: Bool) {
    guard input.needsGradient else { return }
    if last, input.gradient == nil {
      input.gradient = output.gradient
      output.gradient = nil
      return
    }
    let (to, accumulate) = gradient(of: input)
    kernels.add(pool, input.elements(count), output.gradientPointer, accumulate, to)
  }
}

/// A step of the tape: one ONNX node, or a part of one.
protocol TapeOperator: AnyObject {
  /// The node, for messages.
  var node: String { get }
  /// What it reads, constants and parameters left out.
  var inputs: [TapeTensor] { get }
  /// What it computes.
  var output: TapeTensor { get }
  /// The tensors whose elements `backward` reads.
  var kept: [TapeTensor] { get }
  /// The parameters whose gradients `backward` adds to.
  var parameters: [TapeParameter] { get }
  /// Computes the output; the machine has given it memory unless `allocatesOutput`.
  func forward(_ machine: TapeMachine)
  /// Adds to the gradients of inputs and parameters. `output.gradient` is there and may be reused.
  func backward(_ machine: TapeMachine)
  /// Whether `forward` provides the output's memory itself, or needs none.
  var allocatesOutput: Bool { get }
}

extension TapeOperator {
  var parameters: [TapeParameter] { [] }
  var allocatesOutput: Bool { false }
}

/// A parameter's values and gradient in the tape's precision.
///
/// Layers in float32 work on the parameter's own arrays. Others get buffers, which are made when
/// first asked for and from then on follow the arrays: `refresh` and `flush`.
final class TapeParameter {
  let parameter: Parameter
  /// Whether it stays as it is, since the frozen part of the network reads it too.
  let isFixed: Bool
  /// False when no gradient reaches it.
  var isTrained = true
  private let machine: TapeMachine
  private var dataBuffer: TapeBuffer?
  private var gradientBuffer: TapeBuffer?
  /// Of the bias of a quantized layer: the scales of its input and its weight, at whose product the
  /// layer's bias is rounded. The gradient passes as if it were not.
  var rounding: (activation: Parameter, weights: Parameter)?

  init(_ parameter: Parameter, _ machine: TapeMachine, isFixed: Bool = false) {
    self.parameter = parameter
    self.isFixed = isFixed
    self.machine = machine
  }

  var data: TapeBuffer {
    if let dataBuffer { return dataBuffer }
    let made = machine.makeBuffer(parameter.count)
    machine.write(usedValues, to: made)
    dataBuffer = made
    return made
  }

  var gradient: TapeBuffer {
    if let gradientBuffer { return gradientBuffer }
    let made = machine.makeBuffer(parameter.count)
    machine.write(parameter.gradient, to: made)
    gradientBuffer = made
    return made
  }

  /// Takes over the parameter's values, before a forward run.
  func refresh() {
    if let dataBuffer { machine.write(usedValues, to: dataBuffer) }
  }

  /// Takes over the parameter's gradient, before a backward run.
  func refreshGradient() {
    if let gradientBuffer { machine.write(parameter.gradient, to: gradientBuffer) }
  }

  /// Gives the gradient to the parameter, after a backward run.
  func flush() {
    if let gradientBuffer { machine.read(gradientBuffer, into: &parameter.gradient) }
  }

  func withValues<R>(_ body: (UnsafeRawPointer) -> R) -> R {
    guard rounding == nil, dataBuffer == nil, machine.elementSize == 4 else {
      return body(UnsafeRawPointer(data.pointer))
    }
    return parameter.values.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { preconditionFailure("weights are not empty") }
      return body(base)
    }
  }

  func withGradient<R>(_ body: (UnsafeMutableRawPointer) -> R) -> R {
    guard gradientBuffer == nil, machine.elementSize == 4 else { return body(gradient.pointer) }
    return parameter.gradient.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { preconditionFailure("weights are not empty") }
      return body(base)
    }
  }

  /// What the tape computes with: the master values, or of a quantized layer's bias those rounded.
  private var usedValues: [Float] {
    guard let rounding, let scale = rounding.activation.values.first else {
      return parameter.values
    }
    return BiasQuantizer.rounded(
      parameter.values, activationScale: scale, weightScales: rounding.weights.values)
  }

  /// A rounded bias as whole numbers of its steps.
  func codes(steps: [Float]) -> [Float] {
    zip(parameter.values, steps).map { value, step in
      let code = (Double(value) / Double(step)).rounded(.toNearestOrEven)
      return code.isFinite ? Float(max(-0x1p31, min(0x1p31 - 1, code))) : value
    }
  }

  /// Adds to one element of the gradient.
  func addGradient(_ value: Double, at index: Int) {
    withGradient { pointer in
      if machine.elementSize == 4 {
        pointer.assumingMemoryBound(to: Float.self)[index] += Float(value)
      } else {
        pointer.assumingMemoryBound(to: Double.self)[index] += value
      }
    }
  }
}
