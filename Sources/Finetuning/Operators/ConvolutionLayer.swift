// SPDX-License-Identifier: Apache-2.0
// Finetuning: Conv, Gemm and MatMul with a constant matrix: products with a weight.

internal import CKernels

/// A convolution with groups, or a matrix product, which is a convolution over one column of
/// pixels.
final class ConvolutionLayer: WeightedLayer {
  /// Where the windows lie; nil for a matrix product.
  struct Window {
    var kernel: (h: Int, w: Int)
    var stride: (h: Int, w: Int)
    var dilation: (h: Int, w: Int)
    var top: Int
    var left: Int
  }

  let node: String
  let source: LayerInput
  let output: TapeTensor
  let weight: LayerWeight
  let bias: TapeParameter?
  let group: Int
  let window: Window?
  /// The limits of a Relu or Clip that reads the output alone; applied when results are stored.
  var limits: (low: Double, high: Double) = (-.infinity, .infinity)
  /// The Relu or Clip that reads the output alone, applied above or not.
  var limiter: Limiter?
  /// The fake quantizer through which alone the result is read, after the limits.
  var reader: FakeQuantizer?

  init(
    node: String, source: LayerInput, output: TapeTensor, weight: LayerWeight,
    bias: TapeParameter?, group: Int, window: Window?
  ) {
    self.node = node
    self.source = source
    self.output = output
    self.weight = weight
    self.bias = bias
    self.group = group
    self.window = window
  }

  var outputChannels: Int { weight.shape.o }

  /// One filter a channel: the direct kernels serve.
  private var isDepthwise: Bool {
    group > 1 && weight.shape.i == 1 && weight.shape.o == group && weight.shape.k <= 128
  }

  /// The geometry of one group over the batch.
  private func geometry(_ machine: TapeMachine) -> ck_train_conv {
    let shape = weight.shape
    var g = window?.geometry(from: source.tensor, to: output, machine) ?? column(machine)
    g.c = isDepthwise ? group : shape.i
    g.o = isDepthwise ? group : shape.o / group
    g.x_stride = shape.i * group
    g.y_stride = shape.o
    return g
  }

  /// A matrix product's rows as one column of pixels.
  private func column(_ machine: TapeMachine) -> ck_train_conv {
    var g = ck_train_conv()
    g.n = 1
    g.h = source.tensor.elements(machine.count) / weight.shape.i
    g.oh = g.h
    (g.w, g.ow) = (1, 1)
    (g.kh, g.kw) = (1, 1)
    (g.sh, g.sw) = (1, 1)
    (g.dh, g.dw) = (1, 1)
    return g
  }

  func forward(_ machine: TapeMachine) {
    let sum = codeSum(machine)
    reader?.input.isInSteps = sum?.isInSteps ?? false
    limiter?.isPassing = sum?.isInSteps ?? false
    let codes = sum != nil
    var g = geometry(machine)
    var grid = source.grid(machine, codes: codes)
    let kernels = machine.kernels
    let size = machine.elementSize
    let x = UnsafeRawPointer(source.tensor.pointer)
    if isDepthwise {
      let filters = packedFilters(machine, codes: codes)
      var finish = finish(sum, at: 0, machine)
      kernels.depthwise_forward(
        machine.pool, &g, &grid, x, filters.pointer, &finish, output.pointer)
      return
    }
    let packed = machine.makeBuffer(kernels.packed_count(weight.shape.i * weight.shape.k, g.o))
    for index in 0..<group {
      weight.withChannels(index * g.o, g.o, machine, codes: codes) {
        kernels.weights_pack_forward(machine.pool, $0, packed.pointer)
      }
      var finish = finish(sum, at: index * g.o, machine)
      kernels.conv_forward(
        machine.pool, &g, &grid, x + index * g.c * size, packed.pointer, &finish,
        output.pointer + index * g.o * size)
    }
  }

  private func finish(
    _ sum: CodeSum?, at channel: Int, _ machine: TapeMachine
  ) -> ck_train_finish {
    func address(_ buffer: TapeBuffer?) -> UnsafeRawPointer? {
      buffer.map { UnsafeRawPointer($0.pointer + channel * machine.elementSize) }
    }
    guard let sum else {
      return ck_train_finish(
        bias: address(bias?.data), scales: nil, low: limits.low, high: limits.high, accumulate: 0)
    }
    return ck_train_finish(
      bias: address(sum.bias), scales: address(sum.scales), low: sum.limits.low,
      high: sum.limits.high, accumulate: 0)
  }

  /// Depthwise filters, [k][c].
  private func packedFilters(_ machine: TapeMachine, codes: Bool = false) -> TapeBuffer {
    let packed = machine.makeBuffer(weight.shape.o * weight.shape.k)
    weight.withChannels(0, weight.shape.o, machine, codes: codes) {
      machine.kernels.weights_pack_depthwise(machine.pool, $0, packed.pointer)
    }
    return packed
  }

  func addWeightGradient(_ dy: UnsafeRawPointer, _ machine: TapeMachine) {
    var g = geometry(machine)
    var grid = source.grid(machine)
    let size = machine.elementSize
    let x = UnsafeRawPointer(source.tensor.pointer)
    let rows = weight.shape.i * weight.shape.k
    let dense = machine.makeBuffer(weight.shape.o * rows)
    if isDepthwise {
      let filters = machine.makeBuffer(weight.shape.o * rows)
      machine.kernels.depthwise_weights(machine.pool, &g, &grid, x, dy, filters.pointer)
      let k = weight.shape.k
      var nest = TapeNest(extents: [group, k], a: [1, group], y: [k, 1]).nest
      machine.kernels.copy(machine.pool, &nest, filters.pointer, 0, dense.pointer)
    } else {
      for index in 0..<group {
        machine.kernels.conv_weights(
          machine.pool, &g, &grid, x + index * g.c * size, dy + index * g.o * size,
          dense.pointer + index * g.o * rows * size)
      }
    }
    weight.addGradient(dense.pointer, machine)
  }

  func addInputGradient(
    _ dy: UnsafeRawPointer, to target: TapeTensor, _ machine: TapeMachine
  ) {
    var g = geometry(machine)
    let kernels = machine.kernels
    let size = machine.elementSize
    let (dx, accumulate) = machine.gradient(of: target)
    if isDepthwise {
      let filters = packedFilters(machine)
      kernels.depthwise_input(machine.pool, &g, dy, filters.pointer, accumulate, dx)
      return
    }
    let packed = machine.makeBuffer(kernels.packed_count(g.o * weight.shape.k, g.c))
    for index in 0..<group {
      weight.withChannels(index * g.o, g.o, machine) {
        kernels.weights_pack_input(machine.pool, $0, &g, packed.pointer)
      }
      kernels.conv_input(
        machine.pool, &g, dy + index * g.o * size, packed.pointer, accumulate,
        dx + index * g.c * size)
    }
  }
}
