// SPDX-License-Identifier: Apache-2.0

import Calibration
import Diagnostics
import ONNXModel
import ONNXRuntime
import Quantization
import Tensors
import Testing

@Suite("Weight quantizer")
struct WeightQuantizerTests {
  @Test("a scale is the largest magnitude of its channel over 127, an all-zero channel has 1")
  func scales() throws {
    let weight = Tensor(floats: [1, -2.54, 0, 0, 0.5, 127], shape: [3, 2])
    let rows = try WeightQuantizer.scale(of: weight, axis: 0, name: "w")
    #expect(rows.scales == [0.02, 1, 1])
    #expect(rows.axis == 0)
    let columns = try WeightQuantizer.scale(of: weight, axis: 1, name: "w")
    #expect(columns.scales == [Float(1.0 / 127), 1])
    let whole = try WeightQuantizer.scale(of: weight, axis: nil, name: "w")
    #expect(whole.scales == [1])
    #expect(whole.axis == nil)
    #expect(
      try WeightQuantizer.scale(of: Tensor(floats: [0, -0.0], shape: [2]), axis: nil, name: "w")
        .scales == [1])
  }

  @Test("no scale is below 2^-20 of the largest, so a dead channel gets no scale of its own kind")
  func floor() throws {
    let weight = Tensor(floats: [127, 1e-12], shape: [2, 1])
    #expect(try WeightQuantizer.scale(of: weight, axis: 0, name: "w").scales == [1, 0x1p-20])
  }

  @Test("NaN and infinities are refused by name", arguments: [Float.nan, .infinity, -.infinity])
  func nonFinite(value: Float) throws {
    let error = try #require(throws: QuenchError.self) {
      try WeightQuantizer.scale(
        of: Tensor(floats: [1, value, 2], shape: [3]), axis: nil, name: "w7")
    }
    #expect(error.kind == .data)
    #expect(error.message == "the weight \"w7\" holds NaN or an infinity")
  }

  @Test("codes are rounded half to even and stay within -127...127")
  func codes() throws {
    // Worked out by hand; the scale 0.5 makes ties exact.
    let weight = Tensor(
      floats: [0.25, 0.75, 1.25, -0.25, -0.75, 63.25, 63.5, -64, 1e9, -1e9], shape: [10])
    let codes = try WeightQuantizer.quantize(weight, scale: WeightScale(axis: nil, scales: [0.5]))
    #expect(codes.values(as: Int8.self) == [0, 2, 2, 0, -2, 126, 127, -127, 127, -127])
    #expect(codes.shape == [10])
  }

  @Test("each channel has its own scale, whichever axis it lies on")
  func axes() throws {
    let weight = Tensor(floats: (1...8).map(Float.init), shape: [2, 2, 2])
    func codes(_ axis: Int) throws -> [Int8] {
      try WeightQuantizer.quantize(weight, scale: WeightScale(axis: axis, scales: [1, 0.5]))
        .values(as: Int8.self)
    }
    #expect(try codes(0) == [1, 2, 3, 4, 10, 12, 14, 16])
    #expect(try codes(1) == [1, 2, 6, 8, 5, 6, 14, 16])
    #expect(try codes(2) == [1, 4, 3, 8, 5, 12, 7, 16])
    #expect(throws: QuenchError.self) {
      try WeightQuantizer.quantize(weight, scale: WeightScale(axis: 0, scales: [1, 2, 3]))
    }
  }

  @Test("the fast rounding agrees with the one formula of Scale on values near ties")
  func agreesWithScale() throws {
    let step: Float = 0.023456
    let values = Self.nearTies(step)
    let codes = try WeightQuantizer.quantize(
      Tensor(floats: values, shape: [values.count]), scale: WeightScale(axis: nil, scales: [step]))
    let scale = Scale(scale: step, zeroPoint: 0, range: .int8Symmetric)
    #expect(codes.values(as: Int8.self) == values.map(scale.quantize))
  }

  @Test(
    "codes at ties equal those of ONNX Runtime's QuantizeLinear",
    .enabled(if: runtimeIsThere, "ONNX Runtime was not found"),
    arguments: [0.023456, 0.1, 1 / 3, 0.0078125, 1e-30] as [Float])
  func agreesWithRuntime(step: Float) throws {
    let values = Self.nearTies(step)
    let graph = Graph(
      name: "quantize",
      nodes: [Node("QuantizeLinear", name: "q", inputs: ["x", "s", "z"], outputs: ["y"])],
      initializers: [
        Initializer("s", Tensor(floats: [step], shape: [])),
        Initializer("z", Tensor(.int8, shape: [], values: [Int8(0)])),
      ],
      inputs: [ValueInfo("x", .float32, shape: [values.count])],
      outputs: [ValueInfo("y", .int8, shape: [values.count])])
    let session = try Session(
      RuntimeLibrary.load(), model: Model(graph: graph, opset: 13).encode())
    let weight = Tensor(floats: values, shape: [values.count])
    let theirs = try session.run(["x": weight], outputs: ["y"])[0]
    let ours = try WeightQuantizer.quantize(weight, scale: WeightScale(axis: nil, scales: [step]))
    #expect(ours.values(as: Int8.self) == theirs.values(as: Int8.self))
  }

  /// Halves of the step and their neighbors within ±126.5 steps.
  static func nearTies(_ step: Float) -> [Float] {
    (-253...253).flatMap { half -> [Float] in
      let tie = Float(half) / 2 * step
      return [tie, tie.nextUp, tie.nextDown, tie.nextUp.nextUp, tie.nextDown.nextDown]
    }
  }

  @Test("on the target convolutions have a scale a channel, Gemm and MatMul one")
  func plans() throws {
    let model = TinyModels.network()
    let layers = try OperatorRules.layers(of: model)
    func counts(_ plan: WeightPlan) throws -> [String: Int] {
      try WeightQuantizer.scales(for: layers, in: model, plan: plan).mapValues(\.scales.count)
    }
    #expect(try counts(.target) == ["w1": 6, "w2": 6, "w3": 1])
    #expect(try counts(.perChannel) == ["w1": 6, "w2": 6, "w3": 5])
    #expect(try counts(.perTensor) == ["w1": 1, "w2": 1, "w3": 1])
  }
}
