// SPDX-License-Identifier: Apache-2.0

import Calibration
import Diagnostics
import ONNXModel
import ONNXRuntime
import Quantization
import Tensors
import Testing

@Suite("QDQ model in ONNX Runtime", .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
struct QDQRunTests {
  static let image = Tensor(
    floats: TinyModels.numbers(4 * 36, seed: 9).map { $0 * 1.9 }, shape: [1, 4, 6, 6])

  /// What the device computes of `network()`, from the integers.
  static func simulate(_ model: QuantizedModel) -> [Float] {
    let x = Map(values: image.floats, shape: [4, 6, 6])
    var r = Simulation(model, "conv1").convolve(x, pad: 1)
    r.values = r.values.map { max(0, $0) }
    let d = Simulation(model, "dw").convolve(r, pad: 1)
    let pooled = (0..<6).map { c in
      let sum = (0..<36).reduce(0.0) { $0 + Double(d.values[c * 36 + $1] + r.values[c * 36 + $1]) }
      return Float(sum / 36)
    }
    return Simulation(model, "fc").multiply(pooled)
  }

  @Test(
    "it computes what the integers say", arguments: [WeightPlan.target, .perChannel, .perTensor])
  func integers(plan: WeightPlan) throws {
    let quantized = try TinyModels.quantized(
      TinyModels.network(), TinyModels.networkTensors, plan: plan)
    let theirs = try TinyModels.run(quantized.qdq(), Self.image)
    let ours = Self.simulate(quantized)
    // Float sums of up to 36 products differ in their last bits.
    for (a, b) in zip(theirs, ours) { #expect(abs(a - b) < 2e-5, "\(theirs) \(ours)") }
    // And quantizing does change the result, so that the comparison means something.
    let float = try TinyModels.run(TinyModels.network(), Self.image)
    #expect(zip(float, ours).contains { abs($0 - $1) > 1e-3 })
    for (a, b) in zip(float, ours) { #expect(abs(a - b) < 0.3, "\(float) \(ours)") }
  }

  @Test("it computes the values of an independent computation")
  func golden() throws {
    let quantized = try TinyModels.quantized(TinyModels.network(), TinyModels.networkTensors)
    let result = try TinyModels.run(quantized.qdq(), Self.image)
    // From Golden/tiny_network.py: numpy alone, int64 sums.
    let expected: [Float] = [
      0.6988189, 2.1746063, 1.6188977, 1.0633858, 0.507874,
    ]
    #expect(result.count == expected.count)
    for (a, b) in zip(result, expected) { #expect(abs(a - b) < 2e-5) }
  }

  @Test("a MatMul with its Add is exact where float arithmetic is")
  func matMul() throws {
    let model = TinyModels.matMul(
      weight: [127, -64, 3, 5, 127, -1], shape: [3, 2], bias: [0.5, -1.25])
    let quantized = try TinyModels.quantized(
      model, ["x": TinyModels.tensor(scale: 0.25, zeroPoint: 5)])
    let x = Tensor(floats: [0.125, -3.5, 100], shape: [1, 3])
    // Codes less zero point: 0.125/0.25 = 0.5 → 0; −14; 127 − 5 = 122. Step 0.25.
    // y0 = (−14·3 + 122·127)·0.25 + 0.5 = 3863.5; y1 = (−14·5 − 122)·0.25 − 1.25 = −49.25.
    #expect(try TinyModels.run(quantized.qdq(), x) == [3863.5, -49.25])
  }

  @Test("a layer kept FP16 computes what the float model computes")
  func fp16() throws {
    let model = TinyModels.network()
    let scales = try TinyModels.scales(of: model, TinyModels.networkTensors)
    let config = try CalibrationConfig.make(
      model: model, scales: scales, sensitivity: nil, overrides: PrecisionOptions(keepFP16: ["*"]))
    let mixed = try QuantizeGraph.qdq(model, config: config, scales: scales)
    #expect(try TinyModels.run(mixed, Self.image) == TinyModels.run(model, Self.image))
  }

  /// Conv, Clip to 0...6, Conv, as in MobileNet; the second reads with the scale given.
  private static func clipped(scale: Float) throws -> (model: Model, quantized: QuantizedModel) {
    var nodes: [Node] = []
    var constants = [
      Initializer("zero", Tensor(floats: [0], shape: [])),
      Initializer("six", Tensor(floats: [6], shape: [])),
    ]
    for (index, (from, to)) in [("x", "c"), ("r", "y")].enumerated() {
      nodes.append(
        Node("Conv", name: "conv\(index)", inputs: [from, "w\(index)", "b\(index)"], outputs: [to]))
      constants.append(TinyModels.constant("w\(index)", [4, 4, 1, 1], seed: 40 + index))
      constants.append(TinyModels.constant("b\(index)", [4], seed: 50 + index))
    }
    nodes.insert(Node("Clip", name: "clip", inputs: ["c", "zero", "six"], outputs: ["r"]), at: 1)
    let shape = [1, 4, 6, 6]
    let model = Model(
      graph: Graph(
        name: "clipped", nodes: nodes, initializers: constants,
        inputs: [ValueInfo("x", .float32, shape: shape)],
        outputs: [ValueInfo("y", .float32, shape: shape)]), opset: 13)
    return (
      model,
      try TinyModels.quantized(
        model,
        [
          "x": TinyModels.tensor(scale: 0.1, zeroPoint: 0),
          "r": TinyModels.tensor(scale: scale, zeroPoint: -128, min: 0, max: 6),
        ])
    )
  }

  @Test(
    "a Clip just inside its quantizer's range loads and computes the same at every level",
    arguments: [Float(5.99), 6, 6.0001, 6.0056, 6.011, 6.013, 6.04])
  func clip(_ end: Float) throws {
    let (model, quantized) = try Self.clipped(scale: end / 255)
    let qdq = quantized.qdq()
    let image = Tensor(floats: Self.image.floats.map { 6 * $0 }, shape: Self.image.shape)
    var results: [[Float]] = []
    for level: Int32 in [0, 1, 2, 99] {
      let session = try Session(
        RuntimeLibrary.load(), model: qdq.encode(),
        options: SessionOptions(optimizationLevel: level))
      results.append(try session.run(["x": image], outputs: ["y"])[0].floats)
    }
    // The Clip as it was, at the level that takes it.
    var plain = qdq
    let index = try #require(plain.graph.nodes.firstIndex { $0.name == "clip" })
    plain.graph.nodes[index].inputs = model.graph.nodes[1].inputs
    for name in ["zero", "six"] where plain.graph.initializer(name) == nil {
      let old = try #require(model.graph.initializer(name))
      plain.graph.initializers.append(old)
    }
    #expect(try TinyModels.run(plain, image) == results[0])
    for other in results.dropFirst() {
      for (a, b) in zip(results[0], other) { #expect(abs(a - b) < 2e-5) }
    }
    // Both limits are met, or the test says nothing.
    #expect(Set(results[0]).count > 10)
  }

  @Test("biases at the edge of INT32 come out right")
  func largeBias() throws {
    let model = TinyModels.pointwise(weight: [127, 1, 127e-3, 1e-3], bias: [1, 1000])
    let quantized = try TinyModels.quantized(
      model, ["x": TinyModels.tensor(scale: 1e-4, zeroPoint: 0)])
    let y = try TinyModels.run(
      quantized.qdq(), Tensor(floats: [0.01, -0.01], shape: [1, 2, 1, 1]))
    // 0.01·127 − 0.01·1 + 1.
    #expect(abs(y[0] - 2.26) < 1e-4)
    #expect(abs(y[1] - 1000) < 2e-3)
  }

  @Test("a grouped ConvTranspose runs and follows the float model")
  func deconvolution() throws {
    let model = TinyModels.upscaling()
    let quantized = try TinyModels.quantized(
      model, ["x": TinyModels.tensor(scale: 1 / 64, zeroPoint: -10)])
    let x = Tensor(floats: TinyModels.numbers(36, seed: 3), shape: [1, 4, 3, 3])
    let (a, b) = try (TinyModels.run(quantized.qdq(), x), TinyModels.run(model, x))
    #expect(a != b)
    // Two products a sum, each off by at most half a step of either factor.
    let limit: Float = 2 * (0.5 / 64 + 0.5 / 127) + 1e-4
    for (a, b) in zip(a, b) { #expect(abs(a - b) < limit) }
  }

  @Test("two quantizers of one tensor run side by side")
  func disagreement() throws {
    let model = try QDQModelTests.qdq(
      """
      conv1:Convolution:SCALAR:0.015625:3:3
      dw:Convolution:SCALAR:0.5:0:0
      twin:Convolution:SCALAR:0.03:-128:-128
      """, model: QDQModelTests.twins())
    #expect(try TinyModels.run(model, Self.image).count == 5)
  }
}
