// SPDX-License-Identifier: Apache-2.0

import Calibration
import Diagnostics
import ONNXModel
import Quantization
import Tensors
import Testing

@Suite("INT32 bias")
struct BiasTests {
  static func resolve(_ weight: [Float], _ bias: [Float], scale: Float) throws -> QuantizedModel {
    try TinyModels.quantized(
      TinyModels.pointwise(weight: weight, bias: bias),
      ["x": TinyModels.tensor(scale: scale, zeroPoint: 0)])
  }

  @Test("a bias is rounded half to even at the scale of the products")
  func rounding() throws {
    // s_x = 0.5, s_w = 1: biases in units of 0.5.
    let model = try Self.resolve([127, 127, 127, 127], [0.25, 0.75, -0.75, 100], scale: 0.5)
    #expect(model.layers[0].bias == [0, 2, -2, 200])
    #expect(model.layers[0].outputScales == [0.5, 0.5, 0.5, 0.5])
    #expect(model.warnings == [])
  }

  @Test("a bias too large for INT32 widens its channel's weight scale, and only that")
  func widening() throws {
    // K = 2: the sum takes 2·255·127 = 64,770 of 2^31 − 1, so the bias has 2,147,418,877.
    let limit = 0x1p31 - 1 - 64_770.0
    let model = try Self.resolve([127, 1, 127e-3, 1e-3], [1, 1000], scale: 1e-4)
    let scales = model.weights[0].scale.scales
    #expect(scales[0] == 1)
    // 1000 / (1e-4 · 1e-3) = 10^10 is too much.
    let wanted = 1000 * 1.0001 / (1e-4 * limit)
    #expect(abs(Double(scales[1]) - wanted) < 1e-8)
    let bias = try #require(model.layers[0].bias)
    #expect(bias[0] == 10_000)
    #expect(Double(bias[1]) <= limit)
    #expect(Double(bias[1]) > limit * 0.9998)
    let value = Double(bias[1]) * Double(model.layers[0].outputScales[1])
    #expect(abs(value - 1000) < 1e-4)
    // The channel's codes follow the wider scale: 0.127 / 0.004657 = 27.27.
    #expect(model.weights[0].codes.values(as: Int8.self) == [127, 1, 27, 0])
    #expect(model.warnings.map(\.kind) == [.widenedForBias, .biasOnlyChannel, .scaleSpread])
    #expect(model.warnings[0].message.hasPrefix("1 weight scale of \"conv\" widened, at most 4.6"))
  }

  @Test("both models and the record carry the widened scale")
  func agreement() throws {
    let model = try Self.resolve([127, 1, 127e-3, 1e-3], [1, 1000], scale: 1e-4)
    let scales = model.weights[0].scale.scales
    #expect(try model.qdq().graph.initializer("w_scale")?.tensor().floats == scales)
    let parameter = try #require(model.deploy().graph.initializer("conv.dequant.param")).tensor()
    #expect(
      parameter.values(as: UInt64.self)
        == model.layers[0].outputScales.map { UInt64($0.bitPattern) })
    #expect(
      String(decoding: RecordFile.encode(model), as: UTF8.self).contains("scale_w: \(scales[1])"))
  }

  @Test("products of scales never leave the normal range of float32")
  func vanishingProduct() throws {
    let model = try Self.resolve([1e-37], [1e-30], scale: 1e-4)
    #expect(model.layers[0].outputScales[0] >= .leastNormalMagnitude)
    #expect(model.layers[0].bias?[0] != 0)
  }

  @Test("a scale that Ascend's kernels replace is told, a bias beyond all scales is refused")
  func extremes() throws {
    let model = TinyModels.pointwise(weight: [1], bias: [0])
    let scales = try TinyModels.scales(of: model, [:])
    func config(_ scale: String) throws -> CalibrationConfig {
      let lines = "conv:Convolution:SCALAR:\(scale):0:0\nunknown:Convolution:FP16:1.0:0:0\n"
      return try CalibrationConfig.parse(Array(lines.utf8), path: "c.cfg")
    }
    let small = try QuantizedModel.resolve(model, config: config("1e-08"), scales: scales)
    #expect(small.warnings.map(\.kind) == [.scaleOutsideLimits])
    let huge = TinyModels.pointwise(weight: [1], bias: [3e38])
    let error = try #require(throws: QuenchError.self) {
      try QuantizedModel.resolve(huge, config: config("1e-38"), scales: scales)
    }
    #expect(error.message == "the bias of \"conv\" is too large for any weight scale")
  }

  @Test("a shared bias is rounded for each layer at its own scale")
  func sharedBias() throws {
    var model = QDQModelTests.twins()
    model.graph.nodes[3].inputs[0] = "c"
    var tensors = TinyModels.networkTensors
    tensors["c"] = TinyModels.tensor(scale: 0.06, zeroPoint: 0)
    let quantized = try TinyModels.quantized(model, tensors)
    let first = try #require(quantized.layers[1].bias)
    let second = try #require(quantized.layers[2].bias)
    // The second scale is twice the first.
    for (a, b) in zip(first, second) { #expect(abs(a - 2 * b) <= 1) }
    let names = Set(quantized.qdq().graph.initializers.map(\.name))
    #expect(names.isSuperset(of: ["dw_bias_quantized", "twin_bias_quantized"]))
    #expect(!names.contains("b2"))
  }

  @Test("a reduction so long that the sum itself can pass INT32 is told")
  func longReduction() throws {
    let length = 66_312
    let model = try TinyModels.quantized(
      TinyModels.matMul(
        weight: [Float](repeating: 1, count: length), shape: [length, 1], bias: [3]),
      ["x": TinyModels.tensor(scale: 0.1, zeroPoint: 0)])
    #expect(model.warnings.map(\.kind) == [.accumulatorOverflow])
  }

  @Test("all-zero inputs and per-channel scales on a Gemm are told")
  func otherWarnings() throws {
    var tensors = TinyModels.networkTensors
    tensors["r"] = TinyModels.tensor(scale: 1, zeroPoint: 0, min: 0, max: 0)
    let model = try TinyModels.quantized(TinyModels.network(), tensors, plan: .perChannel)
    #expect(model.warnings.map(\.kind) == [.degenerateInput, .perChannelFullConnection])
    #expect(model.warnings.map(\.layer) == ["dw", "fc"])
  }
}
