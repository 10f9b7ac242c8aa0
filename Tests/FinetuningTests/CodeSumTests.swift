// SPDX-License-Identifier: Apache-2.0

import CKernels
import Calibration
import ONNXModel
import Quantization
import Tensors
import Testing

@testable import Finetuning

@Suite("Sums of codes in evaluation")
struct CodeSumTests {
  private static func graph(
    _ model: Model, _ precision: TapePrecision, threads: Int = 1
  ) throws -> TrainableGraph {
    try TrainableGraph(
      model, config: nil, scales: SharedNetworks.scales(model, plan: .perChannel),
      options: .init(threads: threads), precision: precision)
  }

  @Test(
    "a layer's result is the exact sum of integers times one scale, with every kernel",
    arguments: TapeCase.convolutions)
  func exact(_ example: TapeCase) throws {
    let exact = try Self.graph(example.model, .double)
    let batch = TapeCase.numbers(2 * exact.inputCount, seed: 71, low: -3, high: 3)
    // In float64 nothing is rounded: 24 bits times 24 bits.
    let expected = try exact.forward(batch, count: 2, training: false)
    for name in ["avx512", "avx2", "plain"] where ck_train_named(name) != nil {
      let graph = try Self.graph(example.model, .single(kernels: name), threads: 2)
      #expect(try graph.forward(batch, count: 2, training: false) == expected, "\(name)")
    }
  }

  @Test("evaluation between two steps of training changes nothing of the training")
  func apart() throws {
    let example = TapeCase.convolutions[1]
    let graph = try Self.graph(example.model, .single(kernels: nil))
    let batch = TapeCase.numbers(graph.inputCount, seed: 72, low: -3, high: 3)
    let before = try graph.forward(batch, count: 1, training: true)
    let evaluated = try graph.forward(batch, count: 1, training: false)
    #expect(try graph.forward(batch, count: 1, training: true) == before)
    // Training sums values that are rounded to float32, so the two are near but not the same.
    let step = (before.map(\.magnitude).max() ?? 0) * 1e-6
    #expect(evaluated != before)
    for (a, b) in zip(evaluated, before) { #expect(abs(a - b) < step) }
  }

  @Test("an activation's scale does not outgrow the Clip that made the activation")
  func ceiling() throws {
    let model = TapeCase.clipped
    let graph = try Self.graph(model, .single(kernels: nil))
    let scale = try #require(
      graph.parameters.first { $0.kind == .activationScale && $0.name == "r" })
    let start = scale.values[0]
    scale.values[0] = 1
    scale.applyBounds()
    #expect(scale.values[0] == max(start, 6 / 255))
    #expect(scale.values[0] < 1)
  }
}

extension TapeCase {
  /// Conv, Clip to 0...6, Conv.
  static var clipped: Model {
    let shape = [1, 4, 5, 5]
    func constant(_ name: String, _ shape: [Int], seed: UInt64) -> Initializer {
      let values = numbers(shape.reduce(1, *), seed: seed, low: -1, high: 1)
      return Initializer(name, .init(floats: values, shape: shape))
    }
    return Model(
      graph: Graph(
        name: "clipped",
        nodes: [
          Node("Conv", name: "first", inputs: ["x", "w1"], outputs: ["c"]),
          Node("Clip", name: "clip", inputs: ["c", "zero", "six"], outputs: ["r"]),
          Node("Conv", name: "second", inputs: ["r", "w2"], outputs: ["y"]),
        ],
        initializers: [
          constant("w1", [4, 4, 1, 1], seed: 81), constant("w2", [4, 4, 1, 1], seed: 82),
          Initializer("zero", .init(floats: [0], shape: [])),
          Initializer("six", .init(floats: [6], shape: [])),
        ],
        inputs: [ValueInfo("x", .float32, shape: shape)],
        outputs: [ValueInfo("y", .float32, shape: shape)]), opset: 13)
  }
}
