// SPDX-License-Identifier: Apache-2.0

import Calibration
import Diagnostics
import ONNXModel
import Quantization
import Tensors
import Testing

@testable import Finetuning

@Suite("Networks trained elsewhere")
struct ExternalResultTests {
  static func model(weights: [Float] = [1, -2, 3, 4, 5, -6], layer: String = "fc") -> Model {
    var graph = Graph(name: "net")
    graph.inputs = [ValueInfo("x", .float32, shape: [1, 2])]
    graph.outputs = [ValueInfo("y", .float32, shape: [1, 3])]
    graph.setInitializer(Initializer("w", Tensor(floats: weights, shape: [2, 3])))
    graph.nodes = [Node("Gemm", name: layer, inputs: ["x", "w"], outputs: ["y"])]
    return Model(graph: graph, opset: 13)
  }

  static func ptq(perChannel: Bool) throws -> QuantizableNetwork {
    let model = Self.model()
    let layers = try OperatorRules.layers(of: model)
    let scales = ScaleTable(
      model: "old", method: "mse",
      tensors: [
        "x": TensorScale(
          min: -1, max: 1, count: 1, threshold: [-1, 1], scale: 1 / 127, zeroPoint: 0,
          method: "mse", clipped: 0)
      ],
      weights: try WeightQuantizer.scales(
        for: layers, in: model, plan: perChannel ? .perChannel : .perTensor))
    let config = CalibrationConfig(lines: [
      .entry(
        CalibrationConfig.Entry(
          name: "fc", opType: .fullConnection, value: .scalar(scale: 1 / 127, zeroPoint: 0)))
    ])
    return QuantizableNetwork(model: model, config: config, scales: scales)
  }

  @Test(
    "the weights' scales are computed anew, of the kind that PTQ chose", arguments: [true, false])
  func adopted(perChannel: Bool) throws {
    let trained = Self.model(weights: [2, -2, 3, 4, 5, -12])
    let ptq = try Self.ptq(perChannel: perChannel)
    let (network, report) = try ExternalResult.adopt(trained, path: "t.onnx", for: ptq)
    #expect(network.scales.weights["w"]?.axis == (perChannel ? 1 : nil))
    let largest: [Float] = perChannel ? [4, 5, 12] : [12]
    #expect(network.scales.weights["w"]?.scales == largest.map { $0 / 127 })
    #expect(network.scales.tensors == ptq.scales.tensors)
    #expect(network.scales.model != "old")
    #expect(network.config == ptq.config)
    #expect(report.kind == "external" && report.verdict.keepsTuned)
    #expect(TrainingPlot.svg(report).hasSuffix("</svg>\n"))
  }

  @Test("another network is refused by the first layer that is missing")
  func otherNetwork() throws {
    let error = #expect(throws: QuenchError.self) {
      try ExternalResult.adopt(
        Self.model(layer: "fd"), path: "t.onnx", for: Self.ptq(perChannel: true))
    }
    #expect(error?.kind == .data)
    #expect(error?.message.contains("no layer \"fc\"") == true)
    #expect(error?.message.contains("did you mean \"fd\"") == true)
    #expect(error?.place == .file("t.onnx"))
  }
}
