// SPDX-License-Identifier: Apache-2.0

import Calibration
import Diagnostics
import ONNXModel
import ONNXRuntime
import Quantization
import Tensors
import Testing

@testable import Finetuning

private let runtimeIsThere = RuntimeLibrary.find() != nil

@Suite("Fake quantization of transposed convolutions and sequences")
struct FurtherLayerTests {
  private static let cases =
    TapeCase.transposed.filter { !$0.name.contains("dilated") }
    + [TapeCase.upscaling] + TapeCase.sequences

  private static func scales(_ model: Model, _ plan: WeightPlan) throws -> ScaleTable {
    let layers = try OperatorRules.layers(of: model)
    var tensors: [String: TensorScale] = [:]
    for layer in layers {
      let scale = Scale.affine(low: -1.5, high: 2)
      tensors[layer.input] = TensorScale(
        min: -1.5, max: 2, count: 1, threshold: [-1.5, 2], scale: scale.scale,
        zeroPoint: scale.zeroPoint, method: "test", clipped: 0)
    }
    return ScaleTable(
      model: "", method: "test", tensors: tensors,
      weights: try WeightQuantizer.scales(for: layers, in: model, plan: plan))
  }

  @Test(
    "such a layer computes what the QDQ model computes in ONNX Runtime",
    .enabled(if: runtimeIsThere, "ONNX Runtime was not found"), arguments: cases,
    [WeightPlan.perChannel, .perTensor])
  func forward(_ example: TapeCase, _ plan: WeightPlan) throws {
    let scales = try Self.scales(example.model, plan)
    let graph = try TrainableGraph(example.model, config: nil, scales: scales)
    // Each layer has a quantizer for its input and one for its weight.
    let layers = try OperatorRules.layers(of: example.model)
    #expect(graph.parameters.count { $0.kind == .weightScale } == layers.count)
    let batch = TapeCase.numbers(graph.inputCount * 2, seed: 21)
    let mine = try graph.forward(batch, count: 2, training: false)
    let qdq = try QuantizeGraph.qdq(
      example.model, config: #require(graph.config), scales: scales)
    let session = try Session(RuntimeLibrary.load(), model: qdq.summingCodes().encode())
    let shape = try #require(example.model.graph.inputs[0].fixedShape)
    for sample in 0..<2 {
      let part = Array(batch[(sample * graph.inputCount)..<((sample + 1) * graph.inputCount)])
      let expected = try session.run(
        ["input": Tensor(floats: part, shape: shape)], outputs: ["y"])[0].floats
      if example.isConvolutional {
        #expect(Array(mine[(sample * graph.classes)..<((sample + 1) * graph.classes)]) == expected)
      }
      for (index, value) in expected.enumerated() {
        let result = mine[sample * graph.classes + index]
        #expect(abs(result - value) <= 1e-6 * max(1, abs(value)), "\(index): \(result), \(value)")
      }
    }
  }

  /// Two Convs over a sequence, and what is between.
  private static func chain(_ limiter: String?) -> TapeCase {
    var nodes = [
      Node("Conv", name: "one", inputs: ["x", "w", "b"], outputs: [limiter == nil ? "r" : "c"]),
      Node("Conv", name: "two", inputs: ["r", "v"], outputs: ["y"]),
    ]
    if let limiter {
      let inputs = ["c"] + (limiter == "Clip" ? ["low", "high"] : [])
      nodes.insert(Node(limiter, name: "limiter", inputs: inputs, outputs: ["r"]), at: 1)
    }
    return TapeCase(
      "\(limiter ?? "nothing") between", input: [1, 2, 400], output: [1, 7, 400],
      weights: [("w", [9, 2, 1]), ("b", [9]), ("v", [7, 9, 1])],
      scalars: limiter == "Clip" ? [("low", 0), ("high", 1.9)] : [], nodes: nodes)
  }

  @Test(
    "between layers over sequences a sum goes to its code as in the QDQ model, ties included",
    .enabled(if: runtimeIsThere, "ONNX Runtime was not found"), arguments: [nil, "Relu", "Clip"])
  func ties(_ limiter: String?) throws {
    let example = Self.chain(limiter)
    var scales = try Self.scales(example.model, .perTensor)
    // One sum in 64 lies in the middle between two codes.
    let step = try #require(scales.tensors["x"]?.scale) * #require(scales.weights["w"]?.scales[0])
    scales.tensors["r"]?.scale = 64 * step
    scales.tensors["r"]?.zeroPoint = limiter == nil ? 0 : -128
    try #require(limiter != "Clip" || 255 * 64 * step < 1.9)
    let graph = try TrainableGraph(example.model, config: nil, scales: scales)
    let batch = TapeCase.numbers(graph.inputCount, seed: 31)
    let qdq = try QuantizeGraph.qdq(
      example.model, config: #require(graph.config), scales: scales)
    let session = try Session(RuntimeLibrary.load(), model: qdq.summingCodes().encode())
    let expected = try session.run(
      ["input": Tensor(floats: batch, shape: [1, 2, 400])], outputs: ["y"])[0].floats
    #expect(Set(expected).count > 1000)
    #expect(try graph.forward(batch, count: 1, training: false) == expected)
    // Training afterwards knows nothing of steps.
    let trained = try graph.forward(batch, count: 1, training: true)
    #expect(zip(trained, expected).allSatisfy { abs($0 - $1) < 0.05 })
  }

  @Test("all parameters of such a layer learn, and are exported", arguments: cases)
  func export(_ example: TapeCase) throws {
    let scales = try Self.scales(example.model, .perChannel)
    let graph = try TrainableGraph(example.model, config: nil, scales: scales)
    let batch = TapeCase.numbers(graph.inputCount, seed: 22)
    let logits = try graph.forward(batch, count: 1, training: true)
    graph.backward(TapeCase.numbers(logits.count, seed: 23))
    for parameter in graph.parameters {
      #expect(parameter.gradient.contains { $0 != 0 }, "\(parameter.name)")
      for index in parameter.values.indices {
        parameter.values[index] -= 1e-4 * parameter.gradient[index]
      }
    }
    let before = try graph.forward(batch, count: 1, training: false)
    #expect(before != logits)
    let exported = try graph.exported()
    let again = try TrainableGraph(
      exported.model, config: exported.config, scales: exported.scales)
    #expect(try again.forward(batch, count: 1, training: false) == before)
  }
}

extension TapeCase {
  /// No operator in it has sums but its layers.
  fileprivate var isConvolutional: Bool {
    model.graph.nodes.allSatisfy { ["Conv", "ConvTranspose", "Relu", "Mul"].contains($0.opType) }
  }

  /// Conv, Relu, ConvTranspose: what one layer makes goes in steps to the other.
  fileprivate static let upscaling = TapeCase(
    "Conv, Relu, ConvTranspose", input: [1, 3, 5, 4], output: [1, 5, 10, 8],
    weights: [("v", [6, 3, 1, 1]), ("c", [6]), ("w", [6, 5, 2, 2]), ("b", [5])],
    nodes: [
      Node("Conv", name: "down", inputs: ["x", "v", "c"], outputs: ["d"]),
      Node("Relu", name: "relu", inputs: ["d"], outputs: ["r"]),
      Node(
        "ConvTranspose", name: "up", inputs: ["r", "w", "b"], outputs: ["y"],
        attributes: [Attribute("strides", .ints([2, 2]))]),
    ])
}
