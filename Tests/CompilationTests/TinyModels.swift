// SPDX-License-Identifier: Apache-2.0
// CompilationTests: small QDQ models made in code.

import Compilation
import ONNXModel
import Tensors

enum TinyModels {
  /// x [1, 2, 3, 3] → INT8 Conv (per channel, with bias) → Relu → FP16 Conv → y.
  ///
  /// The weights are large enough that they leave the graph for the weights partition.
  static func model(biasScale: Float? = nil, opset: Int64 = 13) -> Model {
    let step: Float = 0.1
    let scales: [Float] = [0.02, 0.03, 0.07, 0.011]
    let weights = (0..<72).map { Int8($0 - 36) }
    let half = (0..<64).map { 0.1 + Float($0) * 0.01 }
    let graph = Graph(
      name: "tiny",
      nodes: [
        Node("QuantizeLinear", name: "x_q", inputs: ["x", "x_s", "x_z"], outputs: ["x_codes"]),
        Node(
          "DequantizeLinear", name: "x_dq", inputs: ["x_codes", "x_s", "x_z"], outputs: ["x_hat"]),
        Node(
          "DequantizeLinear", name: "w_dq", inputs: ["w", "w_s", "w_z"], outputs: ["w_hat"],
          attributes: [Attribute("axis", .int(0))]),
        Node(
          "DequantizeLinear", name: "b_dq", inputs: ["b", "b_s", "b_z"], outputs: ["b_hat"],
          attributes: [Attribute("axis", .int(0))]),
        Node(
          "Conv", name: "conv", inputs: ["x_hat", "w_hat", "b_hat"], outputs: ["c"],
          attributes: [Attribute("pads", .ints([1, 1, 1, 1]))]),
        Node("Relu", name: "relu", inputs: ["c"], outputs: ["r"]),
        Node("Conv", name: "last", inputs: ["r", "v"], outputs: ["y"]),
      ],
      initializers: [
        Initializer("x_s", Tensor(floats: [step], shape: [])),
        Initializer("x_z", Tensor(.int8, shape: [], values: [Int8(-3)])),
        Initializer("w", Tensor(.int8, shape: [4, 2, 3, 3], values: weights)),
        Initializer("w_s", Tensor(floats: scales, shape: [4])),
        Initializer("w_z", Tensor(.int8, shape: [4], values: [Int8](repeating: 0, count: 4))),
        Initializer("b", Tensor(.int32, shape: [4], values: [Int32(1), -2, 300, 4])),
        Initializer("b_s", Tensor(floats: scales.map { biasScale ?? $0 * step }, shape: [4])),
        Initializer("b_z", Tensor(.int32, shape: [4], values: [Int32](repeating: 0, count: 4))),
        Initializer("v", Tensor(floats: half, shape: [16, 4, 1, 1])),
      ],
      inputs: [ValueInfo("x", .float32, shape: [1, 2, 3, 3])],
      outputs: [ValueInfo("y", .float32, shape: [1, 16, 3, 3])],
      values: [ValueInfo("r", .float32, shape: [1, 4, 3, 3])])
    return Model(graph: graph, opset: opset)
  }

  static func host(soc: String = "Ascend310P3", _ model: Model = model()) throws -> OMFile {
    try HostCompiler.compile(qdq: model, soc: SoCTable.soc(named: soc), name: "tiny")
  }
}
