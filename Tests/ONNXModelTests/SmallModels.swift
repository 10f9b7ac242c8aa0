// SPDX-License-Identifier: Apache-2.0
// Small models for the tests, and short ways to look at them.

import Diagnostics
import ONNXModel
import Tensors

/// A model around nodes, with one float input `x` and the last node's first output.
func model(
  _ nodes: [Node], input: [Int], constants: [(String, Tensor)] = [], opset: Int64 = 13,
  output: [Dimension] = []
) -> Model {
  let result = nodes.last?.outputs.first ?? "x"
  return Model(
    graph: Graph(
      name: "test", nodes: nodes,
      initializers: constants.map { Initializer($0.0, $0.1) },
      inputs: [ValueInfo("x", .float32, shape: input)],
      outputs: [ValueInfo(result, .float32, dimensions: output)]),
    opset: opset)
}

/// The shape of tensor `name`.
func shape(_ model: Model, _ name: String) throws -> [Int]? {
  try ShapeInference.infer(model, inputs: [:])[name]?.shape
}

/// The error that `body` throws.
func failure(_ body: () throws -> Void) -> QuenchError? {
  do {
    try body()
    return nil
  } catch {
    return error as? QuenchError
  }
}

func floats(_ values: [Float], _ shape: [Int]? = nil) -> Tensor {
  Tensor(floats: values, shape: shape ?? [values.count])
}

func ints(_ values: [Int64]) -> Tensor { Tensor(int64s: values, shape: [values.count]) }

/// Conv of one input channel, two output channels, 1x1; batch normalisation; Relu.
func normalizedConvolution() -> Model {
  model(
    [
      Node("Conv", name: "conv", inputs: ["x", "w"], outputs: ["c"]),
      Node(
        "BatchNormalization", name: "norm", inputs: ["c", "gamma", "beta", "mean", "variance"],
        outputs: ["n"], attributes: [Attribute("epsilon", .float(0))]),
      Node("Relu", name: "relu", inputs: ["n"], outputs: ["y"]),
    ],
    input: [1, 1, 2, 2],
    constants: [
      ("w", floats([3, 5], [2, 1, 1, 1])), ("gamma", floats([2, 4])), ("beta", floats([1, -1])),
      ("mean", floats([6, 0.5])), ("variance", floats([4, 0.25])),
    ])
}
