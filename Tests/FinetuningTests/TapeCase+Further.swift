// SPDX-License-Identifier: Apache-2.0
// Networks of one operator each: strided and transposed convolutions, sequences, constants a channel, selection,
// padding.

import ONNXModel
import Tensors

@testable import Finetuning

extension TapeCase {
  private static func transposed(
    _ name: String, input: [Int], weight: [Int], output: [Int], _ attributes: [Attribute] = [],
    group: Int = 1, hasBias: Bool = true
  ) -> TapeCase {
    TapeCase(
      "ConvTranspose \(name)", input: input, output: output,
      weights: [("w", weight)] + (hasBias ? [("b", [weight[1] * group])] : []),
      nodes: [
        Node(
          "ConvTranspose", name: "up", inputs: ["x", "w"] + (hasBias ? ["b"] : []),
          outputs: ["y"], attributes: attributes + [Attribute("group", .int(Int64(group)))])
      ])
  }

  /// Convolutions whose inputs' gradients have phases of several kinds.
  static let phases: [TapeCase] = [
    conv(
      "2x2 stride 3, pixels that no window reads", input: [1, 7, 8, 10], weight: [5, 7, 2, 2],
      output: [1, 5, 3, 4], [ints("pads", [1, 1, 0, 1]), ints("strides", [3, 3])]),
    conv(
      "dilated, strided", input: [1, 6, 11, 12], weight: [9, 6, 3, 3], output: [1, 9, 5, 3],
      [ints("dilations", [2, 3]), ints("strides", [2, 4]), ints("pads", [1, 2, 2, 2])]),
    conv(
      "stride longer than the padding, 5x4", input: [1, 3, 9, 9], weight: [18, 3, 5, 4],
      output: [1, 18, 6, 2],
      [ints("pads", [3, 0, 3, 0]), ints("strides", [2, 3])]),
    conv(
      "many pixels of few channels", input: [1, 3, 40, 37], weight: [20, 3, 3, 3],
      output: [1, 20, 40, 37], [ints("pads", [1, 1, 1, 1])]),
  ]

  static let transposed: [TapeCase] = [
    transposed(
      "2x2 stride 2", input: [1, 5, 3, 4], weight: [5, 7, 2, 2], output: [1, 7, 6, 8],
      [ints("strides", [2, 2])]),
    transposed(
      "3x3 stride 2 with output padding", input: [1, 18, 4, 3], weight: [18, 19, 3, 3],
      output: [1, 19, 8, 6],
      [ints("strides", [2, 2]), ints("pads", [1, 1, 1, 1]), ints("output_padding", [1, 1])]),
    transposed(
      "3x3 stride 1, padded", input: [1, 33, 5, 4], weight: [33, 17, 3, 3],
      output: [1, 17, 5, 4], [ints("pads", [1, 1, 1, 1])]),
    transposed(
      "4x3 unsymmetric", input: [1, 3, 4, 5], weight: [3, 4, 4, 3], output: [1, 4, 7, 13],
      [ints("strides", [2, 3]), ints("pads", [1, 0, 2, 2])]),
    transposed(
      "dilated", input: [1, 4, 5, 4], weight: [4, 6, 3, 3], output: [1, 6, 9, 10],
      [ints("dilations", [2, 3])]),
    transposed(
      "in groups", input: [1, 12, 4, 3], weight: [12, 5, 3, 3], output: [1, 15, 9, 7],
      [ints("strides", [2, 2])], group: 3),
    transposed(
      "depthwise", input: [1, 17, 4, 3], weight: [17, 1, 4, 4], output: [1, 17, 8, 6],
      [ints("strides", [2, 2]), ints("pads", [1, 1, 1, 1])], group: 17, hasBias: false),
  ]

  static let sequences: [TapeCase] = [
    TapeCase(
      "Conv over a sequence, stride 2", input: [1, 5, 11], output: [1, 18, 6],
      weights: [("w", [18, 5, 3]), ("b", [18])],
      nodes: [
        Node(
          "Conv", name: "conv", inputs: ["x", "w", "b"], outputs: ["y"],
          attributes: [ints("pads", [1, 1]), ints("strides", [2])])
      ]),
    TapeCase(
      "Convs over a sequence: dilated, depthwise, in groups", input: [1, 6, 13],
      output: [1, 9, 9], weights: [("w", [6, 6, 3]), ("v", [6, 1, 3]), ("u", [9, 2, 1])],
      nodes: [
        Node(
          "Conv", name: "a", inputs: ["x", "w"], outputs: ["a"],
          attributes: [ints("dilations", [2])]),
        Node("Relu", name: "r", inputs: ["a"], outputs: ["r"]),
        Node(
          "Conv", name: "b", inputs: ["r", "v"], outputs: ["b"],
          attributes: [
            Attribute("auto_pad", .string("SAME_UPPER")), Attribute("group", .int(6)),
          ]),
        Node(
          "Conv", name: "c", inputs: ["b", "u"], outputs: ["c"],
          attributes: [Attribute("group", .int(3))]),
        // The sequence itself is read, too.
        Node("Mul", name: "m", inputs: ["c", "c"], outputs: ["y"]),
      ]),
    TapeCase(
      "pooling over a sequence", input: [1, 6, 13], output: [1, 6, 1],
      weights: [("w", [6, 6, 1])],
      nodes: [
        Node("Conv", name: "a", inputs: ["x", "w"], outputs: ["a"]),
        Node(
          "MaxPool", name: "p", inputs: ["a"], outputs: ["p"],
          attributes: [ints("kernel_shape", [3]), ints("strides", [2]), ints("pads", [1, 1])]),
        Node(
          "AveragePool", name: "q", inputs: ["p"], outputs: ["q"],
          attributes: [ints("kernel_shape", [2])]),
        Node("GlobalAveragePool", name: "g", inputs: ["q"], outputs: ["g"]),
        Node("GlobalMaxPool", name: "h", inputs: ["q"], outputs: ["h"]),
        Node("Add", name: "s", inputs: ["g", "h"], outputs: ["y"]),
      ]),
  ]

  static let channels: [TapeCase] = [
    TapeCase(
      "BatchNormalization behind no layer", input: [1, 19, 3, 5], output: [1, 19, 3, 5],
      weights: [
        ("scale", [19]), ("shift", [19]), ("mean", [19]), ("variance", [19]),
        ("w", [19, 19, 1, 1]),
      ], low: 0.5, high: 1.5,
      nodes: [
        Node("Relu", name: "r", inputs: ["x"], outputs: ["r"]),
        Node(
          "BatchNormalization", name: "n",
          inputs: ["r", "scale", "shift", "mean", "variance"], outputs: ["n"],
          attributes: [Attribute("epsilon", .float(1e-3))]),
        Node("Conv", name: "c", inputs: ["n", "w"], outputs: ["y"]),
      ]),
    TapeCase(
      "BatchNormalization of a vector", input: [1, 7], output: [1, 7],
      weights: [("scale", [7]), ("shift", [7]), ("mean", [7]), ("variance", [7])], low: 0.5,
      high: 1.5,
      nodes: [
        Node(
          "BatchNormalization", name: "n",
          inputs: ["x", "scale", "shift", "mean", "variance"], outputs: ["y"])
      ]),
    TapeCase(
      "InstanceNormalization", input: [1, 5, 4, 7], output: [1, 5, 4, 7],
      weights: [("scale", [5]), ("shift", [5])],
      nodes: [
        Node("InstanceNormalization", name: "n", inputs: ["x", "scale", "shift"], outputs: ["y"])
      ]),
    TapeCase(
      "InstanceNormalization of a sequence", input: [1, 3, 17], output: [1, 3, 17],
      weights: [("scale", [3]), ("shift", [3])],
      nodes: [
        Node(
          "InstanceNormalization", name: "n", inputs: ["x", "scale", "shift"], outputs: ["y"],
          attributes: [Attribute("epsilon", .float(1e-2))])
      ]),
    TapeCase(
      "PRelu, a slope a channel", input: [1, 18, 3, 4], output: [1, 18, 3, 4],
      weights: [("w", [18, 18, 1, 1]), ("slope", [18, 1, 1])],
      nodes: [
        Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["c"]),
        Node("PRelu", name: "p", inputs: ["c", "slope"], outputs: ["y"]),
      ]),
    TapeCase(
      "PRelu, one slope", input: [1, 4, 5], output: [1, 4, 5], weights: [("slope", [1])],
      nodes: [Node("PRelu", name: "p", inputs: ["x", "slope"], outputs: ["y"])]),
  ]

  /// The case with a constant of booleans, every third of them false, called "condition".
  private func withCondition(_ shape: [Int]) -> TapeCase {
    var graph = model.graph
    let flags = (0..<shape.reduce(1, *)).map { $0 % 3 != 1 }
    graph.initializers.append(
      Initializer("condition", Tensor(.bool, shape: shape, values: flags.map { UInt8($0 ? 1 : 0) }))
    )
    return TapeCase(name: name, model: Model(graph: graph, opset: 17))
  }

  static let selections: [TapeCase] = [
    TapeCase(
      "Where of two computed tensors", input: [1, 6, 4, 5], output: [1, 6, 4, 5],
      weights: [("w", [6, 6, 1, 1])],
      nodes: [
        Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["c"]),
        Node("Where", name: "s", inputs: ["condition", "c", "x"], outputs: ["y"]),
      ]
    ).withCondition([6, 1, 5]),
    TapeCase(
      "Where as attention masks", input: [1, 2, 4, 3], output: [1, 2, 4, 5],
      weights: [("w", [3, 5])], scalars: [("never", -.infinity)],
      nodes: [
        Node("Where", name: "s", inputs: ["condition", "x", "never"], outputs: ["m"]),
        Node("Softmax", name: "t", inputs: ["m"], outputs: ["t"]),
        Node("MatMul", name: "v", inputs: ["t", "w"], outputs: ["y"]),
      ]
    ).withCondition([4, 3]),
    TapeCase(
      "Where with a constant first, broadcast", input: [1, 1, 4, 3], output: [1, 2, 4, 3],
      weights: [("w", [2, 1, 3])],
      nodes: [Node("Where", name: "s", inputs: ["condition", "w", "x"], outputs: ["y"])]
    ).withCondition([4, 1]),
    TapeCase(
      "Sum of three", input: [1, 5, 3, 4], output: [1, 5, 3, 4], weights: [("w", [5, 5, 1, 1])],
      nodes: [
        Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["c"]),
        Node("GlobalAveragePool", name: "g", inputs: ["c"], outputs: ["g"]),
        Node("Sum", name: "s", inputs: ["g", "c", "x"], outputs: ["y"]),
      ]),
    TapeCase(
      "Gather from a table", input: [1, 4, 3], output: [1, 4, 3], weights: [("table", [5, 3])],
      integers: [("index", [4, 1, -1, 4])],
      nodes: [
        Node("Gather", name: "g", inputs: ["table", "index"], outputs: ["g"]),
        Node("Mul", name: "m", inputs: ["x", "g"], outputs: ["y"]),
      ]),
  ]

  private static func pad(
    _ mode: String, _ pads: [Int], output: [Int], first: [Node] = []
  ) -> TapeCase {
    TapeCase(
      "Pad \(mode)", input: [1, 5, 4, 6], output: output, weights: [("w", [5, 5, 1, 1])],
      integers: [("pads", pads)],
      nodes: [
        Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["c"]),
        Node(
          "Pad", name: "p", inputs: ["c", "pads"], outputs: ["y"],
          attributes: [Attribute("mode", .string(mode))]),
      ])
  }

  private static func blocks(_ type: String, _ mode: String?, output: [Int]) -> TapeCase {
    TapeCase(
      "\(type) \(mode ?? "")", input: [1, 12, 4, 6], output: output,
      weights: [("w", [12, 12, 1, 1])],
      nodes: [
        Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["c"]),
        Node(
          type, name: "d", inputs: ["c"], outputs: ["y"],
          attributes: [Attribute("blocksize", .int(2))]
            + (mode.map { [Attribute("mode", .string($0))] } ?? [])),
      ])
  }

  static let paddings: [TapeCase] = [
    pad("reflect", [0, 0, 2, 3, 0, 0, 1, 2], output: [1, 5, 7, 11]),
    pad("edge", [0, 1, 2, 0, 0, 2, 0, 3], output: [1, 8, 6, 9]),
    blocks("DepthToSpace", "DCR", output: [1, 3, 8, 12]),
    blocks("DepthToSpace", "CRD", output: [1, 3, 8, 12]),
    blocks("SpaceToDepth", nil, output: [1, 48, 2, 3]),
  ]

  static let further = phases + transposed + sequences + channels + selections + paddings
}
