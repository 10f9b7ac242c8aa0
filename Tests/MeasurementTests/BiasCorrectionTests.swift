// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Calibration
import Datasets
import Diagnostics
import Measurement
import ONNXModel
import ONNXRuntime
import Quantization
import Tensors
import TestSupport
import Testing

@Suite("BiasCorrection", .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
struct BiasCorrectionTests {
  let space = TemporarySpace()

  /// Steps so coarse that rounding shifts the means.
  private func scales(_ model: Model, step: Float) throws -> ScaleTable {
    let layers = try OperatorRules.layers(of: model)
    var table = ScaleTable(
      model: try ContentDigest.of(model.encode()).hex, method: "test", tensors: [:],
      weights: try WeightQuantizer.scales(for: layers, in: model, plan: .perChannel))
    for layer in layers {
      table.tensors[layer.input] = TensorScale(
        min: 0, max: 1, count: 1, threshold: [-128, 127], scale: step, zeroPoint: 0,
        method: "test", clipped: 0)
    }
    return table
  }

  private func correct(
    _ model: Model, _ samples: [Sample], step: Float, threads: Int = 1
  ) throws -> BiasShifts {
    let scales = try scales(model, step: step)
    return try BiasCorrection.correct(
      model: model,
      config: CalibrationConfig.make(model: model, scales: scales, sensitivity: nil),
      scales: scales, samples: samples, preprocessing: Fixtures.plain(), scratch: space.path,
      threads: threads)
  }

  /// Mean of each output element over the samples.
  private func means(_ model: Model, _ samples: [Sample]) throws -> [Double] {
    let session = try Session(RuntimeLibrary.load(), model: model.encode())
    var sums: [Double] = []
    for sample in samples {
      let x = try SampleLoader.load(sample, Fixtures.plain())
      let z = try session.run(["x": x], outputs: [model.graph.outputs[0].name])[0].floats
      sums = sums.isEmpty ? z.map(Double.init) : zip(sums, z).map { $0 + Double($1) }
    }
    return sums.map { $0 / Double(samples.count) }
  }

  private func quantized(_ model: Model, step: Float) throws -> Model {
    let scales = try scales(model, step: step)
    let config = try CalibrationConfig.make(model: model, scales: scales, sensitivity: nil)
    return try QuantizeGraph.qdq(model, config: config, scales: scales)
  }

  @Test("the shift of one layer is the mean difference worked out by hand")
  func byHand() throws {
    // y = 127·x at step 1: 0.25 → 0, 2.75 → 3; 1.5 → 2, 0.5 → 0.
    let model = Fixtures.classifier([127, 0, 0, 127], softmax: false)
    let samples = Fixtures.samples(space, [[0.25, 1.5], [2.75, 0.5]], shape: [2])
    let shifts = try correct(model, samples, step: 1)
    #expect(shifts.layers.map(\.name) == ["fc"])
    #expect(shifts.layers[0].shift == [0, 0])
    let skewed = Fixtures.samples(space, [[0.25, 1.5], [0.25, 3.5]], shape: [2])
    #expect(try correct(model, skewed, step: 1).layers[0].shift == [31.75, -63.5])
  }

  @Test("layers in a row: the corrected network's mean output is the float network's")
  func sequence() throws {
    let model = Fixtures.network()
    let samples = Fixtures.samples(space, Fixtures.items(80, of: 4), shape: [1, 2, 2])
    let step: Float = 0.7
    let exact = try means(model, samples)
    let plain = try means(quantized(model, step: step), samples)
    let corrected = try correct(model, samples, step: step).applied(to: model)
    let repaired = try means(quantized(corrected, step: step), samples)
    for channel in exact.indices {
      // What is left is the rounding of the INT32 bias, half a step of 0.7 · 3/127.
      #expect(abs(repaired[channel] - exact[channel]) < 0.01)
    }
    #expect(zip(plain, exact).contains { abs($0 - $1) > 0.05 })
  }

  @Test("threads do not change a bit", arguments: [2, 4])
  func threads(count: Int) throws {
    let model = Fixtures.network()
    let samples = Fixtures.samples(space, Fixtures.items(33, of: 4), shape: [1, 2, 2])
    let one = try correct(model, samples, step: 0.3).layers.map(\.shift)
    #expect(try correct(model, samples, step: 0.3, threads: count).layers.map(\.shift) == one)
  }

  @Test("layers that share a bias each get their own; a layer without one gets one")
  func ownBias() throws {
    var model = Fixtures.network()
    // Two products of the same matrix and no bias behind the second.
    model.graph.nodes.append(Node("Relu", name: "last", inputs: ["z"], outputs: ["o"]))
    model.graph.nodes.append(Node("MatMul", name: "more", inputs: ["o", "s"], outputs: ["q"]))
    model.graph.initializers.append(
      Initializer("s", Tensor(floats: [1, 0, 0, 0, 1, 0, 0, 0, 1], shape: [3, 3])))
    model.graph.values.append(ValueInfo("o", .float32, shape: [1, 3]))
    model.graph.outputs = [ValueInfo("q", .float32, shape: [1, 3])]
    let samples = Fixtures.samples(space, Fixtures.items(20, of: 4), shape: [1, 2, 2])
    let corrected = try correct(model, samples, step: 0.7).applied(to: model)
    let layers = try OperatorRules.layers(of: corrected)
    #expect(layers.map(\.name) == ["conv", "fc", "more"])
    #expect(layers.allSatisfy { $0.bias == "\($0.name)/corrected_bias" })
    #expect(layers[2].biasNode == "more/bias" && layers[2].output == "q")
    #expect(corrected.graph.initializer("v") == nil)
    _ = try means(quantized(corrected, step: 0.7), samples)
  }

  @Test("a scratch directory that is not there is an error with the reason")
  func scratch() throws {
    let model = Fixtures.network()
    let samples = Fixtures.samples(space, Fixtures.items(2, of: 4), shape: [1, 2, 2])
    let scales = try scales(model, step: 1)
    let error = try #require(throws: QuenchError.self) {
      try BiasCorrection.correct(
        model: model,
        config: CalibrationConfig.make(model: model, scales: scales, sensitivity: nil),
        scales: scales, samples: samples, preprocessing: Fixtures.plain(),
        scratch: space.path("missing"))
    }
    #expect(error.kind == .work)
    #expect(error.message.contains("No such file or directory"))
  }
}
