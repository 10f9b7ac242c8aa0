// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Calibration
import Datasets
import Diagnostics
import ONNXModel
import Quantization
import Tensors
import TestSupport
import Testing

@testable import Measurement

@Suite("LayerProbe", .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
struct LayerProbeTests {
  let space = TemporarySpace()

  /// Step 1 for the input, as for weights of 127: every rounding error is that of the input.
  private func scales(_ model: Model) throws -> ScaleTable {
    let unit = TensorScale(
      min: 0, max: 4, count: 1, threshold: [-128, 127], scale: 1, zeroPoint: 0, method: "test",
      clipped: 0)
    return ScaleTable(
      model: try ContentDigest.of(model.encode()).hex, method: "test",
      tensors: ["x": unit, "f": unit],
      weights: try WeightQuantizer.scales(
        for: OperatorRules.layers(of: model), in: model, plan: .perChannel))
  }

  private func assess(
    _ model: Model, _ samples: [Sample], threshold: Double = 0.001, threads: Int = 1
  ) throws -> SensitivityTable {
    try LayerProbe.assess(
      model: model, scales: scales(model), samples: samples, preprocessing: Fixtures.plain(),
      threshold: threshold, threads: threads)
  }

  @Test("error and SQNR are those worked out by hand, and the threshold decides")
  func byHand() throws {
    // y = 127·x. Codes of 0.5, 1.5, 2.5, 3.5 at step 1 are 0, 2, 2, 4 (half to even).
    // Σ(y − ŷ)² = 127²·1; Σ(y − mean)² = 127²·5; Σy² = 127²·21.
    var model = Fixtures.classifier([127, 0, 0, 0, 0, 127, 0, 0, 0, 0, 127, 0, 0, 0, 0, 127])
    model.graph.nodes[0].name = "layer"
    let samples = Fixtures.samples(space, [[0.5, 1.5, 2.5, 3.5]], shape: [4])
    let table = try assess(model, samples, threshold: 0.19)
    let layer = try #require(table.layers.first)
    #expect(table.layers.count == 1 && table.samples == 1)
    #expect(layer.name == "layer" && layer.type == "Gemm" && layer.macs == 16)
    #expect(abs(layer.relativeError - 0.2) < 1e-12)
    // 10·log10(21)
    #expect(abs(layer.sqnrDecibel - 13.2221929) < 1e-6)
    #expect(layer.fp16)
    #expect(layer.reason?.contains("is above 0.19") == true)
    #expect(try assess(model, samples, threshold: 0.21).fp16Layers.isEmpty)
  }

  @Test("errors are pooled over the samples")
  func pooled() throws {
    let model = Fixtures.classifier([127, 0, 0, 127])
    // Errors² 0.25 and 0; values 0.5, 0 and 2, 4: mean 1.625.
    let samples = Fixtures.samples(space, [[0.5, 0], [2, 4]], shape: [2])
    let layer = try #require(try assess(model, samples).layers.first)
    let variance = 1.125 * 1.125 + 1.625 * 1.625 + 0.375 * 0.375 + 2.375 * 2.375
    #expect(abs(layer.relativeError - 0.25 / variance) < 1e-12)
  }

  @Test("layers are judged alone: an exact layer behind a bad one has no error")
  func alone() throws {
    // f holds integers of at most 127 for these samples, so `fc` reads exact codes.
    let samples = Fixtures.samples(space, [[1, 0, 1, 0], [0.5, 1, 0, 0]], shape: [1, 2, 2])
    var model = Fixtures.network()
    model.graph.setInitializer(Initializer("w", Tensor(floats: [2, -2], shape: [2, 1, 1, 1])))
    model.graph.setInitializer(
      Initializer("m", Tensor(floats: [Float](repeating: 127, count: 24), shape: [8, 3])))
    let table = try assess(model, samples)
    #expect(table.layers.map(\.name) == ["conv", "fc"])
    #expect(table.layers[0].relativeError > 0)
    #expect(table.layers[1].relativeError == 0)
  }

  @Test("neither threads nor the cut into parts changes a bit")
  func reproducible() throws {
    let model = Fixtures.network()
    let samples = Fixtures.samples(space, Fixtures.items(23, of: 4), shape: [1, 2, 2])
    let one = try ArtifactJSON.encode(assess(model, samples))
    for threads in [2, 4] {
      #expect(try ArtifactJSON.encode(assess(model, samples, threads: threads)) == one)
    }
    let layers = try OperatorRules.layers(of: model)
    #expect(try ProbeModel.parts(of: layers, in: model, limit: 1).count == 2)
    #expect(try ProbeModel.parts(of: layers, in: model).count == 1)
    let cut = try LayerProbe.assess(
      model: model, scales: scales(model), samples: samples, preprocessing: Fixtures.plain(),
      threshold: 0.001, outputLimit: 1)
    #expect(try ArtifactJSON.encode(cut) == one)
  }

  @Test("scales of another model and missing scales are refused")
  func wrongScales() throws {
    let model = Fixtures.network()
    let samples = Fixtures.samples(space, Fixtures.items(1, of: 4), shape: [1, 2, 2])
    func message(_ change: (inout ScaleTable) -> Void) throws -> String {
      var table = try scales(model)
      change(&table)
      let error = try #require(throws: QuenchError.self) {
        try LayerProbe.assess(
          model: model, scales: table, samples: samples, preprocessing: Fixtures.plain(),
          threshold: 0.1)
      }
      #expect(error.kind == .data)
      return error.message
    }
    #expect(try message { $0.model = "00" }.contains("belong to the model 00"))
    #expect(try message { $0.tensors["f"] = nil } == "tensor \"f\" has no scale")
    #expect(try message { $0.weights["m"] = nil } == "the weight \"m\" has no scale")
  }
}
