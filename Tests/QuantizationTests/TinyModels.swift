// SPDX-License-Identifier: Apache-2.0
// Models small enough to be worked out by hand.

import Calibration
import Diagnostics
import ONNXModel
import ONNXRuntime
import Quantization
import Tensors

/// Whether tests that run models can.
let runtimeIsThere = RuntimeLibrary.find() != nil

enum TinyModels {
  /// Numbers that look random, are multiples of 1/32 in −1…1, and never change.
  static func numbers(_ count: Int, seed: Int) -> [Float] {
    (0..<count).map { Float((($0 + 1) * 7919 + seed * 104_729) % 65 - 32) / 32 }
  }

  static func constant(_ name: String, _ shape: [Int], seed: Int) -> Initializer {
    Initializer(
      name, Tensor(floats: numbers(shape.reduce(1, *), seed: seed), shape: shape))
  }

  /// x → conv1 → relu → dw (depthwise) → + relu → pool → flatten → fc → y.
  ///
  /// The Relu's result is read by an INT8 layer and by an Add, which stays float.
  static func network() -> Model {
    let pads = Attribute("pads", .ints([1, 1, 1, 1]))
    let graph = Graph(
      name: "tiny",
      nodes: [
        Node("Conv", name: "conv1", inputs: ["x", "w1", "b1"], outputs: ["c"], attributes: [pads]),
        Node("Relu", name: "relu", inputs: ["c"], outputs: ["r"]),
        Node(
          "Conv", name: "dw", inputs: ["r", "w2", "b2"], outputs: ["d"],
          attributes: [pads, Attribute("group", .int(6))]),
        Node("Add", name: "add", inputs: ["d", "r"], outputs: ["a"]),
        Node("GlobalAveragePool", name: "pool", inputs: ["a"], outputs: ["p"]),
        Node("Flatten", name: "flatten", inputs: ["p"], outputs: ["f"]),
        Node(
          "Gemm", name: "fc", inputs: ["f", "w3", "b3"], outputs: ["y"],
          attributes: [Attribute("transB", .int(1))]),
      ],
      initializers: [
        constant("w1", [6, 4, 3, 3], seed: 1), constant("b1", [6], seed: 2),
        constant("w2", [6, 1, 3, 3], seed: 3), constant("b2", [6], seed: 4),
        constant("w3", [5, 6], seed: 5), constant("b3", [5], seed: 6),
      ],
      inputs: [ValueInfo("x", .float32, shape: [1, 4, 6, 6])],
      outputs: [ValueInfo("y", .float32, shape: [1, 5])],
      values: [
        ValueInfo("c", .float32, shape: [1, 6, 6, 6]),
        ValueInfo("r", .float32, shape: [1, 6, 6, 6]),
        ValueInfo("d", .float32, shape: [1, 6, 6, 6]),
        ValueInfo("a", .float32, shape: [1, 6, 6, 6]),
        ValueInfo("p", .float32, shape: [1, 6, 1, 1]), ValueInfo("f", .float32, shape: [1, 6]),
      ])
    return Model(graph: graph, opset: 13)
  }

  /// x `[1, K]` → MatMul with w `[K, N]` → (Add of b) → y.
  static func matMul(weight: [Float], shape: [Int], bias: [Float]? = nil) -> Model {
    var nodes = [
      Node("MatMul", name: "mm", inputs: ["x", "w"], outputs: [bias == nil ? "y" : "m"])
    ]
    var constants = [Initializer("w", Tensor(floats: weight, shape: shape))]
    if let bias {
      nodes.append(Node("Add", name: "mm_add", inputs: ["b", "m"], outputs: ["y"]))
      constants.append(Initializer("b", Tensor(floats: bias, shape: [1, bias.count])))
    }
    let graph = Graph(
      name: "product", nodes: nodes, initializers: constants,
      inputs: [ValueInfo("x", .float32, shape: [1, shape[0]])],
      outputs: [ValueInfo("y", .float32, shape: [1, shape[1]])],
      values: bias == nil ? [] : [ValueInfo("m", .float32, shape: [1, shape[1]])])
    return Model(graph: graph, opset: 13)
  }

  /// A 1×1 Conv from `weight.count / bias.count` channels of one pixel to `bias.count`.
  static func pointwise(weight: [Float], bias: [Float]) -> Model {
    let inputs = weight.count / bias.count
    let graph = Graph(
      name: "pointwise",
      nodes: [Node("Conv", name: "conv", inputs: ["x", "w", "b"], outputs: ["y"])],
      initializers: [
        Initializer("w", Tensor(floats: weight, shape: [bias.count, inputs, 1, 1])),
        Initializer("b", Tensor(floats: bias, shape: [bias.count])),
      ],
      inputs: [ValueInfo("x", .float32, shape: [1, inputs, 1, 1])],
      outputs: [ValueInfo("y", .float32, shape: [1, bias.count, 1, 1])])
    return Model(graph: graph, opset: 13)
  }

  /// A ConvTranspose in two groups, from 4 channels of 3×3 to 6 of 6×6.
  static func upscaling() -> Model {
    let graph = Graph(
      name: "up",
      nodes: [
        Node(
          "ConvTranspose", name: "up", inputs: ["x", "w", "b"], outputs: ["y"],
          attributes: [Attribute("group", .int(2)), Attribute("strides", .ints([2, 2]))])
      ],
      initializers: [constant("w", [4, 3, 2, 2], seed: 1), constant("b", [6], seed: 2)],
      inputs: [ValueInfo("x", .float32, shape: [1, 4, 3, 3])],
      outputs: [ValueInfo("y", .float32, shape: [1, 6, 6, 6])])
    return Model(graph: graph, opset: 13)
  }

  /// The quantizers of `network()`: asymmetric at x and f, one-sided at r.
  static let networkTensors: [String: TensorScale] = [
    "x": tensor(scale: 0.015625, zeroPoint: 3, min: -2, max: 1.9),
    "r": tensor(scale: 0.03, zeroPoint: -128, min: 0, max: 7.6),
    "f": tensor(scale: 0.025, zeroPoint: -20, min: -2.7, max: 3.6),
  ]

  static func tensor(
    scale: Float, zeroPoint: Int32, min: Float = -1, max: Float = 1
  ) -> TensorScale {
    TensorScale(
      min: min, max: max, count: 100, threshold: [Double(min), Double(max)], scale: scale,
      zeroPoint: zeroPoint, method: "minmax", clipped: 0)
  }

  static func scales(
    of model: Model, _ tensors: [String: TensorScale], plan: WeightPlan = .target
  ) throws(QuenchError) -> ScaleTable {
    let layers = try OperatorRules.layers(of: model)
    return ScaleTable(
      model: "0123abcd", method: "minmax", tensors: tensors,
      weights: try WeightQuantizer.scales(for: layers, in: model, plan: plan))
  }

  /// Everything with default wishes: all layers INT8.
  static func quantized(
    _ model: Model, _ tensors: [String: TensorScale], plan: WeightPlan = .target
  ) throws(QuenchError) -> QuantizedModel {
    let scales = try scales(of: model, tensors, plan: plan)
    let config = try CalibrationConfig.make(model: model, scales: scales, sensitivity: nil)
    return try QuantizedModel.resolve(model, config: config, scales: scales)
  }

  static func run(_ model: Model, _ x: Tensor) throws(QuenchError) -> [Float] {
    let session = try Session(RuntimeLibrary.load(), model: model.encode())
    return try session.run(["x": x], outputs: ["y"])[0].floats
  }
}
