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
    let network = try ExternalResult.adopt(trained, path: "t.onnx", for: ptq)
    #expect(network.scales.weights["w"]?.axis == (perChannel ? 1 : nil))
    let largest: [Float] = perChannel ? [4, 5, 12] : [12]
    #expect(network.scales.weights["w"]?.scales == largest.map { $0 / 127 })
    #expect(network.scales.tensors == ptq.scales.tensors)
    #expect(network.scales.model != "old")
    #expect(network.config == ptq.config)
    // A copy of PTQ's scales that was left alone says nothing.
    let same = try ExternalResult.adopt(trained, path: "t.onnx", scales: ptq.scales, for: ptq)
    #expect(same.scales == network.scales)
  }

  @Test("another network is refused by the first difference, in words")
  func otherNetwork() throws {
    func refusal(_ change: (inout Model) -> Void) throws -> QuenchError {
      var model = Self.model()
      change(&model)
      return try #require(throws: QuenchError.self) {
        try ExternalResult.adopt(model, path: "t.onnx", for: Self.ptq(perChannel: true))
      }
    }
    let renamed = try refusal { $0.graph.nodes[0].name = "fd" }
    #expect(renamed.kind == .data)
    #expect(renamed.message.contains("no layer \"fc\""))
    #expect(renamed.message.contains("did you mean \"fd\""))
    #expect(renamed.place == .file("t.onnx"))
    #expect(renamed.remedy?.contains("QUENCH_MODEL") == true)

    let output = try refusal {
      $0.graph.outputs = [ValueInfo("z", .float32, shape: [1, 3])]
      $0.graph.nodes[0].outputs = ["z"]
    }
    #expect(output.message.hasPrefix("the trained model has no output \"y\""))
    let input = try refusal { $0.graph.inputs = [ValueInfo("x", .float32, shape: [1, 4])] }
    #expect(input.message.contains("input \"x\" of the trained model has shape [1, 4], not [1, 2]"))
    let wider = try refusal {
      $0.graph.setInitializer(
        Initializer("w", Tensor(floats: Array(repeating: 1, count: 8), shape: [2, 4])))
      $0.graph.outputs = [ValueInfo("y", .float32, shape: [1, 4])]
    }
    #expect(wider.message.contains("output \"y\" of the trained model has shape [1, 4]"))
    let more = try refusal {
      $0.graph.nodes[0].outputs = ["r"]
      $0.graph.nodes.append(Node("Relu", name: "relu", inputs: ["r"], outputs: ["y"]))
    }
    #expect(more.message.contains("\"y\" of the trained model is computed differently"))
    let second = try refusal {
      $0.graph.setInitializer(Initializer("v", Tensor(floats: [1, 2, 3, 4, 5, 6], shape: [2, 3])))
      $0.graph.nodes.append(Node("Gemm", name: "twin", inputs: ["x", "v"], outputs: ["u"]))
      $0.graph.outputs.append(ValueInfo("u", .float32, shape: [1, 3]))
    }
    #expect(second.message == "the trained model has one more output, \"u\"")
    let none = try refusal {
      $0.graph.setInitializer(
        Initializer("w", Tensor(floats: [1, .nan, 3, 4, 5, 6], shape: [2, 3])))
    }
    #expect(none.message == "\"w\" of the trained model holds NaN or an infinity")
  }

  @Test("scales that the command changed are taken, and calibration.cfg follows")
  func ownScales() throws {
    let ptq = try Self.ptq(perChannel: true)
    var scales = ptq.scales
    scales.tensors["x"]?.scale = 0.5
    scales.weights["w"]?.scales = [1, 2, 4]
    let network = try ExternalResult.adopt(
      Self.model(), path: "t.onnx", scales: scales, scalesPath: "s.json", for: ptq)
    #expect(network.scales.weights["w"]?.scales == [1, 2, 4])
    #expect(network.config.entries[0].value == .scalar(scale: 0.5, zeroPoint: 0))
    // A line that was edited stands where the command left the scale alone.
    var edited = ptq
    edited.config.set(
      .init(name: "fc", opType: .fullConnection, value: .scalar(scale: 0.25, zeroPoint: 3)))
    scales.tensors["x"]?.scale = 1 / 127
    let kept = try ExternalResult.adopt(
      Self.model(), path: "t.onnx", scales: scales, scalesPath: "s.json", for: edited)
    #expect(kept.config.entries[0].value == .scalar(scale: 0.25, zeroPoint: 3))

    func refusal(_ change: (inout ScaleTable) -> Void) throws -> QuenchError {
      var scales = ptq.scales
      change(&scales)
      return try #require(throws: QuenchError.self) {
        try ExternalResult.adopt(
          Self.model(), path: "t.onnx", scales: scales, scalesPath: "s.json", for: ptq)
      }
    }
    let negative = try refusal { $0.tensors["x"]?.scale = -1 }
    #expect(negative.message.contains("\"x\" is -1.0, not above 0"))
    #expect(negative.place == .file("s.json"))
    #expect(try refusal { $0.weights["w"]?.scales = [1, .infinity, 1] }.message.contains("\"w\""))
    #expect(try refusal { $0.weights["w"]?.scales = [1, 1] }.message.contains("2 scales"))
    #expect(try refusal { $0.weights["w"] = nil }.message.contains("\"w\" has no scale"))
    #expect(try refusal { $0.tensors["w2"] = $0.tensors["x"] }.message.contains("no tensor \"w2\""))
    #expect(try refusal { $0.tensors["x"]?.zeroPoint = 200 }.message.contains("zero point"))
  }

  @Test("the guard judges it like our own: no gain keeps PTQ, a gain keeps it")
  func judged() throws {
    // Ten samples of two classes; the float network is sure of the right one.
    let labels = (0..<10).map { $0 % 2 }
    func logits(_ margin: (Int) -> Float) -> [Float] {
      labels.indices.flatMap { labels[$0] == 0 ? [margin($0), 0] : [0, margin($0)] }
    }
    let float = logits { _ in 4 }
    let ptq = logits { Float($0) * 0.1 }
    let better = logits { Float($0) * 0.1 + 1 }
    func report(_ tuned: [Float], _ loss: TrainingLoss) throws -> TrainingReport {
      try ExternalResult.judge(
        answers: (float, ptq, tuned), classes: 2, labels: labels, trained: 50, loss: loss)
    }
    for loss in [TrainingLoss.crossEntropy, .distillation(temperature: 1)] {
      let gain = try report(better, loss)
      #expect(gain.verdict.keepsTuned)
      #expect(gain.kind == "external" && gain.trainedSamples == 50 && gain.heldBackSamples == 10)
      let (tuned, before) = (try #require(gain.tuned), try #require(gain.ptq))
      #expect(tuned.loss < before.loss)
      #expect(!(try report(ptq, loss).verdict.keepsTuned))
      #expect(!(try report(logits { Float($0) * 0.1 - 1 }, loss).verdict.keepsTuned))
      #expect(TrainingPlot.svg(gain).hasSuffix("</svg>\n"))
    }
    let unjudged = try ExternalResult.judge(
      answers: nil, classes: 1, labels: [], trained: 5, loss: .crossEntropy)
    #expect(unjudged.verdict.keepsTuned && unjudged.verdict.reason.contains("no classifier"))
    let odd = #expect(throws: QuenchError.self) {
      try ExternalResult.judge(
        answers: ([1, 2], [1, 2], [1, 2]), classes: 2, labels: [2], trained: 1, loss: .crossEntropy)
    }
    #expect(odd?.message.contains("label 2") == true)
  }
}
