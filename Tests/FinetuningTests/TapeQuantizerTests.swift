// SPDX-License-Identifier: Apache-2.0
// Expected numbers are worked out by hand from the formulas of QuantizeLinear and of LSQ.

import CKernels
import Calibration
import Diagnostics
import ONNXModel
import Quantization
import Tensors
import Testing

@testable import Finetuning

@Suite("Fake quantization on the tape")
struct TapeQuantizerTests {
  /// A scale that is no power of two, so that divisions round.
  static let scale: Float = 0.3

  private func quantizer(
    _ x: [Float], _ q: [Float], low: Double, high: Double, kernels: String = "plain"
  ) throws -> (y: [Float], dx: [Float], slope: Double) {
    let machine = try TapeMachine(precision: .single(kernels: kernels), threads: 1)
    var grid = ck_train_grid(scale: Double(Self.scale), low: low, high: high, codes: 0)
    var y = [Float](repeating: 0, count: x.count)
    var dx = y
    machine.kernels.quantizer_forward(machine.pool, x.count, &grid, x, &y)
    let slope = machine.kernels.quantizer_backward(
      machine.pool, x.count, &grid, x, q, 0, -.infinity, .infinity, &dx)
    return (y, dx, slope)
  }

  @Test(
    "values on, just inside and just outside the bounds, and at ties", arguments: KernelTests.names)
  func bounds(_ kernels: String) throws {
    let s = Self.scale
    // Codes -3...4; v = x / s.
    let v: [Float] = [-4, -3.6, -3.5, -3.4, -3, -2.5, -1.5, -0.5, 0, 0.5, 1.5, 3.5, 4, 4.4, 4.6, 9]
    let x = v.map { $0 * s }
    // The code is that of the division in float32, half to even; -3.5 rounds to -4, so it is out.
    let rounded = x.map { ($0 / s).rounded(.toNearestOrEven) }
    let inside = rounded.map { $0 >= -3 && $0 <= 4 }
    #expect(inside[2] == ((x[2] / s).rounded(.toNearestOrEven) >= -3))
    let q = v.indices.map { Float($0) * 0.25 - 1.5 }
    let (y, dx, slope) = try quantizer(x, q, low: -3, high: 4, kernels: kernels)
    var expected = 0.0
    for index in v.indices {
      #expect(y[index] == max(-3, min(4, rounded[index])) * s)
      #expect(dx[index] == (inside[index] ? q[index] : 0))
      let factor =
        inside[index]
        ? rounded[index] - x[index] / s : rounded[index] < -3 ? Float(-3) : Float(4)
      expected += Double(q[index] * factor)
    }
    #expect(abs(slope - expected) < 1e-5 * max(1, abs(expected)))
  }

  @Test("codes are those of WeightQuantizer and Scale, also at ties")
  func codes() throws {
    let x = TapeCase.numbers(4096, seed: 1, low: -50, high: 50).enumerated().map {
      // Every other one next to a tie.
      $0 % 2 == 0 ? ((Float($0 % 300) - 150) + 0.5) * Self.scale : $1
    }
    let quantizer = Scale(scale: Self.scale, zeroPoint: 17)
    let (y, _, _) = try self.quantizer(x, x, low: -128 - 17, high: 127 - 17)
    for (value, result) in zip(x, y) {
      #expect(quantizer.dequantize(quantizer.quantize(value)) == result)
    }
  }

  @Test("ranges of 2 to 8 bits, symmetric for weights, around the zero point for activations")
  func ranges() {
    #expect(FakeQuantizeRange.weights(bits: 8) == FakeQuantizeRange(low: -127, high: 127))
    #expect(FakeQuantizeRange.weights(bits: 2) == FakeQuantizeRange(low: -1, high: 1))
    #expect(
      FakeQuantizeRange.activations(bits: 8, zeroPoint: -128)
        == FakeQuantizeRange(low: 0, high: 255))
    #expect(
      FakeQuantizeRange.activations(bits: 4, zeroPoint: 0) == FakeQuantizeRange(low: -8, high: 7))
    // LSQ: N is what shares the scale, Q_P the largest code.
    #expect(FakeQuantizeRange.weights(bits: 8).gradientFactor(elements: 127) * 127 == 1.0)
  }

  /// conv(x · gain) with quantizers; x and gain are exact in float32.
  private func layer(
    perChannel: Bool, fp16: Bool = false, weightBits: Int = 8
  ) throws -> (graph: TrainableGraph, model: Model, scales: ScaleTable) {
    let example = TapeCase(
      "layer", input: [1, 2, 3, 3], output: [1, 3, 3, 3],
      weights: [("w", [3, 2, 1, 1]), ("b", [3])],
      nodes: [
        Node("Relu", name: "relu", inputs: ["x"], outputs: ["r"]),
        Node("Conv", name: "conv", inputs: ["r", "w", "b"], outputs: ["y"]),
      ])
    let layers = try OperatorRules.layers(of: example.model)
    let activation = Scale.affine(low: 0, high: 0.6)
    let scales = ScaleTable(
      model: "", method: "test",
      tensors: [
        "r": TensorScale(
          min: 0, max: 1, count: 1, threshold: [0, 0.6], scale: activation.scale,
          zeroPoint: activation.zeroPoint, method: "test", clipped: 0)
      ],
      weights: try WeightQuantizer.scales(
        for: layers, in: example.model, plan: perChannel ? .perChannel : .perTensor))
    let config = CalibrationConfig(
      lines: fp16
        ? []
        : [
          .entry(
            .init(
              name: "conv", opType: .convolution,
              value: .scalar(scale: activation.scale, zeroPoint: activation.zeroPoint)))
        ])
    let graph = try TrainableGraph(
      example.model, config: config, scales: scales, options: .init(weightBits: weightBits))
    return (graph, example.model, scales)
  }

  @Test("a layer's forward and gradients are those of the formulas", arguments: [true, false])
  func formulas(perChannel: Bool) throws {
    let (graph, model, scales) = try layer(perChannel: perChannel)
    #expect(
      graph.parameters.map(\.kind) == [.weight, .weight, .bias, .weightScale, .activationScale]
        || graph.parameters.count == 5)
    let batch = TapeCase.numbers(18, seed: 3, low: -1, high: 1)
    let gradient = TapeCase.numbers(27, seed: 4)
    let y = try graph.forward(batch, count: 1, training: true)
    graph.backward(gradient)
    func named(_ name: String, _ kind: ParameterKind) throws -> Parameter {
      try #require(graph.parameters.first { $0.name == name && $0.kind == kind })
    }
    let gain = try named("gain", .weight).values
    let w = try named("w", .weight).values
    let b = try named("b", .bias).values
    let sw = try #require(scales.weights["w"]?.scales)
    let sx = try #require(scales.tensors["r"]?.scale)
    _ = model
    let x = zip(batch, gain).map { max(0, $0 * $1) }
    let vx = x.map { $0 / sx }
    let xq = vx.map { max(0, min(255, $0.rounded(.toNearestOrEven))) * sx }
    let wq = w.enumerated().map { index, value in
      (value / sw[perChannel ? index / 2 : 0]).rounded(.toNearestOrEven)
        * sw[perChannel ? index / 2 : 0]
    }
    var dxq = [Double](repeating: 0, count: 18)
    var dwq = [Double](repeating: 0, count: 6)
    for o in 0..<3 {
      for p in 0..<9 {
        // The bias is a multiple of s_x · s_w.
        let step = sx * sw[perChannel ? o : 0]
        let bias = (b[o] / step).rounded(.toNearestOrEven) * step
        let sum = (0..<2).reduce(Double(bias)) { $0 + Double(wq[o * 2 + $1] * xq[$1 * 9 + p]) }
        #expect(abs(sum - Double(y[o * 9 + p])) < 1e-6)
        let g = Double(gradient[o * 9 + p])
        for c in 0..<2 {
          dxq[c * 9 + p] += g * Double(wq[o * 2 + c])
          dwq[o * 2 + c] += g * Double(xq[c * 9 + p])
        }
      }
    }
    // No weight is clamped at 8 bits, so its gradient passes.
    for (mine, expected) in zip(try named("w", .weight).gradient, dwq) {
      #expect(abs(Double(mine) - expected) < 1e-5)
    }
    // Scales of weights: the rounding error, over √(N · 127).
    let channels = perChannel ? 3 : 1
    for channel in 0..<channels {
      let members = perChannel ? [channel * 2, channel * 2 + 1] : Array(0..<6)
      let slope = members.reduce(0.0) { sum, index in
        let v = w[index] / sw[channel]
        return sum + dwq[index] * Double(v.rounded(.toNearestOrEven) - v)
      }
      let expected = slope / (Double(members.count) * 127).squareRoot()
      let mine = try named("w", .weightScale).gradient[channel]
      #expect(abs(Double(mine) - expected) < 1e-5)
    }
    // The activation's: also what was clamped, with 255; N is the 18 elements of a sample.
    var slope = 0.0
    var isClamped = false
    for index in 0..<18 {
      let code = vx[index].rounded(.toNearestOrEven)
      isClamped = isClamped || code > 255
      slope += dxq[index] * (code > 255 ? 255 : Double(code - vx[index]))
      let passes = code <= 255 && x[index] > 0
      let expected = passes ? dxq[index] * Double(batch[index]) : 0
      let mine = try named("gain", .weight).gradient[index]
      #expect(abs(Double(mine) - expected) < 1e-5)
    }
    #expect(isClamped)
    let expected = slope / (18.0 * 255).squareRoot()
    let mine = try named("r", .activationScale).gradient[0]
    #expect(abs(Double(mine) - expected) < 1e-5)
  }

  @Test("a layer kept FP16 stays float")
  func halfPrecision() throws {
    let (graph, model, _) = try layer(perChannel: true, fp16: true)
    #expect(graph.parameters.allSatisfy { $0.kind == .weight || $0.kind == .bias })
    let plain = try TrainableGraph(model, config: nil, scales: nil)
    let batch = TapeCase.numbers(18, seed: 3)
    let expected = try plain.forward(batch, count: 1, training: false)
    #expect(try graph.forward(batch, count: 1, training: false) == expected)
  }

  @Test("a batch's scale gradient is the sum of its samples', whatever the batch size")
  func batches() throws {
    let (graph, _, _) = try layer(perChannel: true)
    let batch = TapeCase.numbers(36, seed: 8)
    let gradient = TapeCase.numbers(54, seed: 9)
    _ = try graph.forward(batch, count: 2, training: true)
    graph.backward(gradient)
    let together = graph.parameters.map(\.gradient)
    graph.zeroGradients()
    for sample in 0..<2 {
      _ = try graph.forward(
        Array(batch[(sample * 18)..<(sample * 18 + 18)]), count: 1, training: true)
      graph.backward(Array(gradient[(sample * 27)..<(sample * 27 + 27)]))
    }
    for (parameter, whole) in zip(graph.parameters, together) {
      for (a, b) in zip(parameter.gradient, whole) {
        #expect(abs(a - b) <= 1e-5 * max(1, abs(b)), "\(parameter.name)")
      }
    }
  }

  @Test("what is exported has the trained numbers, and gives the same results when read back")
  func export() throws {
    let (graph, _, _) = try layer(perChannel: true)
    for parameter in graph.parameters {
      for index in parameter.values.indices { parameter.values[index] *= 1.0625 }
    }
    let batch = TapeCase.numbers(18, seed: 8)
    let before = try graph.forward(batch, count: 1, training: false)
    let exported = try graph.exported()
    let again = try TrainableGraph(
      exported.model, config: exported.config, scales: exported.scales)
    #expect(try again.forward(batch, count: 1, training: false) == before)
  }

  @Test("weights of 4 bits are exported as the same codes in 8")
  func fewBits() throws {
    let (graph, _, _) = try layer(perChannel: true, weightBits: 4)
    let batch = TapeCase.numbers(18, seed: 8)
    let before = try graph.forward(batch, count: 1, training: false)
    let exported = try graph.exported()
    let again = try TrainableGraph(
      exported.model, config: exported.config, scales: exported.scales)
    #expect(try again.forward(batch, count: 1, training: false) == before)
    let codes = try WeightQuantizer.quantize(
      #require(exported.model.graph.initializer("w")).tensor(),
      scale: #require(exported.scales?.weights["w"]))
    #expect(codes.values(as: Int8.self).allSatisfy { (-7...7).contains($0) })
  }
}

@Suite("What the tape refuses")
struct TapeRefusalTests {
  @Test("an operator without a rule is named, with its node, before any work")
  func unknownOperator() throws {
    let example = TapeCase(
      "unknown", input: [1, 4], output: [1, 4],
      nodes: [
        Node("Sin", name: "wave", inputs: ["x"], outputs: ["s"]),
        Node("Relu", name: "relu", inputs: ["s"], outputs: ["r"]),
        Node("Cos", name: "other", inputs: ["x"], outputs: ["c"]),
        Node("Add", name: "sum", inputs: ["r", "c"], outputs: ["y"]),
      ])
    let plan = try TrainableGraph.check(example.model)
    #expect(!plan.isTrainable)
    #expect(plan.obstacles.map(\.node) == ["wave", "other"])
    #expect(plan.obstacles.map(\.opType) == ["Sin", "Cos"])
    let error = #expect(throws: QuenchError.self) {
      try TrainableGraph(example.model, config: nil, scales: nil)
    }
    #expect(error?.kind == .data)
    #expect(
      error?.message == "no layer can train: \"other\" lies above all of them: "
        + "fine-tuning has no rule for the operator Cos (and 1 more)")
    #expect(error?.place == .node("other"))
  }

  @Test("a batch of another size than the samples, or bits out of range")
  func wrongSizes() throws {
    let model = TapeCase.products[0].model
    let graph = try TrainableGraph(model, config: nil, scales: nil)
    #expect(throws: QuenchError.self) { try graph.forward([1, 2], count: 1, training: false) }
    let error = #expect(throws: QuenchError.self) {
      try TrainableGraph(model, config: nil, scales: nil, options: .init(weightBits: 9))
    }
    #expect(error?.kind == .usage)
  }

  @Test("the plan lists what trains")
  func plan() throws {
    let plan = try TrainableGraph.check(TapeCase.elementwise[18].model)
    #expect(plan.isTrainable && plan.obstacles.isEmpty && plan.frozen.isEmpty)
  }
}
