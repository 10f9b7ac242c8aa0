// SPDX-License-Identifier: Apache-2.0
// Finetuning: ConvTranspose, computed by the kernels of a convolution's gradient.

internal import CKernels
internal import Diagnostics
internal import ONNXModel
internal import Tensors

/// The transpose of a convolution, with groups.
///
/// It is the gradient of a convolution from its output's image to its input's: forward is that
/// convolution's backward by its input, and its own backward by the input is that convolution's
/// forward.
final class TransposedConvolution: WeightedLayer {
  let node: String
  let source: LayerInput
  let output: TapeTensor
  /// ONNX's `[I, O / group, h, w]`: `o` counts the output channels of a group, which is the axis
  /// of the scales, and `i` all input channels.
  let weight: LayerWeight
  let bias: TapeParameter?
  let group: Int
  let window: ConvolutionLayer.Window

  init(
    node: String, source: LayerInput, output: TapeTensor, weight: LayerWeight,
    bias: TapeParameter?, group: Int, window: ConvolutionLayer.Window
  ) {
    self.node = node
    self.source = source
    self.output = output
    self.weight = weight
    self.bias = bias
    self.group = group
    self.window = window
  }

  var outputChannels: Int { output.image.channels }

  /// One group of the convolution from the output's image to the input's.
  private func geometry(_ machine: TapeMachine) -> ck_train_conv {
    var g = window.geometry(from: output, to: source.tensor, machine)
    (g.c, g.o) = (weight.shape.o, weight.shape.i / group)
    g.x_stride = outputChannels
    g.y_stride = source.tensor.image.channels
    return g
  }

  /// What the layer reads, fake-quantized or as codes.
  private func quantizedInput(
    _ machine: TapeMachine, codes: Bool = false
  ) -> (TapeBuffer?, UnsafeRawPointer) {
    let tensor = source.tensor
    guard source.quantizer != nil else { return (nil, UnsafeRawPointer(tensor.pointer)) }
    let count = tensor.elements(machine.count)
    let buffer = machine.makeBuffer(count)
    var grid = source.grid(machine, codes: codes)
    machine.kernels.quantizer_forward(
      machine.pool, count, &grid, tensor.pointer, buffer.pointer)
    return (buffer, UnsafeRawPointer(buffer.pointer))
  }

  func forward(_ machine: TapeMachine) {
    var g = geometry(machine)
    let size = machine.elementSize
    let sum = CodeSum(
      source: source, weight: weight, bias: bias, channels: outputChannels, machine)
    let (held, x) = quantizedInput(machine, codes: sum != nil)
    let packed = machine.makeBuffer(
      machine.kernels.packed_count(g.o * weight.shape.k, g.c))
    withExtendedLifetime(held) {
      for index in 0..<group {
        weight.withTransposedChannels(index * g.o, g.o, machine, codes: sum != nil) {
          machine.kernels.weights_pack_input(machine.pool, $0, &g, packed.pointer)
        }
        machine.kernels.conv_input(
          machine.pool, &g, x + index * g.o * size, packed.pointer, 0,
          output.pointer + index * g.c * size)
      }
    }
    if let bias = sum?.bias ?? bias?.data { change(by: CK_BINARY_ADD, bias, machine) }
    if let scales = sum?.scales { change(by: CK_BINARY_MUL, scales, machine) }
  }

  /// Adds one number a channel to the output, or multiplies by it.
  private func change(by function: ck_train_binary, _ each: TapeBuffer, _ machine: TapeMachine) {
    let channels = outputChannels
    var nest = TapeNest(
      extents: [output.elements(machine.count) / channels, channels], a: [channels, 1],
      b: [0, 1], y: [channels, 1]
    ).nest
    machine.kernels.binary(
      machine.pool, function, &nest, -.infinity, .infinity, output.pointer, each.pointer,
      output.pointer)
  }

  func addInputGradient(
    _ dy: UnsafeRawPointer, to target: TapeTensor, _ machine: TapeMachine
  ) {
    var g = geometry(machine)
    let size = machine.elementSize
    let (dx, accumulate) = machine.gradient(of: target)
    var off = ck_train_grid()
    var finish = ck_train_finish(
      bias: nil, scales: nil, low: -.infinity, high: .infinity, accumulate: accumulate)
    let packed = machine.makeBuffer(
      machine.kernels.packed_count(g.c * weight.shape.k, g.o))
    for index in 0..<group {
      weight.withTransposedChannels(index * g.o, g.o, machine) {
        machine.kernels.weights_pack_forward(machine.pool, $0, packed.pointer)
      }
      machine.kernels.conv_forward(
        machine.pool, &g, &off, dy + index * g.c * size, packed.pointer, &finish,
        dx + index * g.o * size)
    }
  }

  func addWeightGradient(_ dy: UnsafeRawPointer, _ machine: TapeMachine) {
    let shape = weight.shape
    let rows = shape.o * shape.k
    let size = machine.elementSize
    var g = geometry(machine)
    var off = ck_train_grid()
    let turned = machine.makeBuffer(shape.i * rows)
    let (held, x) = quantizedInput(machine)
    withExtendedLifetime(held) {
      for index in 0..<group {
        machine.kernels.conv_weights(
          machine.pool, &g, &off, dy + index * g.c * size, x + index * g.o * size,
          turned.pointer + index * g.o * rows * size)
      }
    }
    let dense = machine.makeBuffer(shape.i * rows)
    var turn = TapeNest(
      extents: [shape.o, shape.k, shape.i], a: [1, shape.o, rows],
      y: [shape.k * shape.i, shape.i, 1]
    ).nest
    machine.kernels.copy(machine.pool, &turn, turned.pointer, 0, dense.pointer)
    weight.addGradient(dense.pointer, machine)
  }
}

extension TapeBuilder {
  static let transposedRules: [String: Rule] = [
    "ConvTranspose": { (b, n) throws(QuenchError) in try b.transposedConvolution(n) }
  ]

  private func transposedConvolution(_ node: Node) throws(QuenchError) {
    let shape = try constant(node.inputs[1]).shape
    let group = node.int("group", default: 1)
    guard shape.count == 4, shape[2] * shape[3] <= 1024, !shape.contains(0), group > 0,
      shape[0] % group == 0
    else {
      throw refusal(
        node,
        "fine-tuning takes ConvTranspose with two spatial axes and at most 1024 kernel positions")
    }
    guard ["NOTSET", "VALID"].contains(node.string("auto_pad") ?? "NOTSET"),
      node.ints("output_shape") == nil
    else { throw refusal(node, "fine-tuning takes ConvTranspose with explicit pads only") }
    let input = try tensor(node.inputs[0], layout: .channelsLast)
    // The convolution of which this is the transpose leads from the output to the input.
    let window = try window(
      node, kernel: Array(shape[2...]), input: self.shape(node.outputs[0]), output: input.shape)
    let values = try parameter(node.inputs[1], kind: .weight, layer: node.name)
    let bias = try bias(node, channels: shape[1] * group)
    let (source, scales) = quantization(of: node, input: input, weight: values)
    let positions = shape[2] * shape[3]
    let weight = LayerWeight(
      values, scales: scales, range: .weights(bits: bits(of: values)),
      shape: (shape[1], shape[0], positions), strides: (positions, shape[1] * positions, 1))
    append(
      TransposedConvolution(
        node: node.name, source: source,
        output: try declare(node.outputs[0], layout: .channelsLast), weight: weight, bias: bias,
        group: group, window: window))
  }
}
