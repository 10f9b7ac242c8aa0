// SPDX-License-Identifier: Apache-2.0
// Small networks that show one operator each.

import ONNXModel
import Tensors
import Testing

@testable import Finetuning

/// A network of few nodes: everything that its operators compute reaches a parameter, since the
/// input is first multiplied by one of its own shape.
struct TapeCase: CustomTestStringConvertible, Sendable {
  let name: String
  let model: Model
  var testDescription: String { name }

  /// Numbers in −1...1 from a counter; the same for every run.
  static func numbers(_ count: Int, seed: UInt64, low: Double = -1, high: Double = 1) -> [Float] {
    (0..<count).map { index in
      var x = UInt64(index) &+ seed &* 0x9E37_79B9_7F4A_7C15
      x = (x ^ (x >> 30)) &* 0xBF58_476D_1CE4_E5B9
      x = (x ^ (x >> 27)) &* 0x94D0_49BB_1331_11EB
      x ^= x >> 31
      return Float(low + (high - low) * Double(x >> 11) * 0x1p-53)
    }
  }

  init(name: String, model: Model) {
    self.name = name
    self.model = model
  }

  /// - Parameters:
  ///   - input: the shape of the input, batch 1 first.
  ///   - weights: float constants by name and shape.
  ///   - integers: int64 constants.
  ///   - nodes: read "x", the scaled input, and make "y".
  init(
    _ name: String, input: [Int], output: [Int], weights: [(String, [Int])] = [],
    integers: [(String, [Int])] = [], scalars: [(String, Float)] = [], low: Double = -1,
    high: Double = 1, nodes: [Node]
  ) {
    self.name = name
    var initializers = [
      Initializer(
        "gain",
        Tensor(floats: Self.numbers(input.reduce(1, *), seed: 1, low: 0.5, high: 1.5), shape: input)
      )
    ]
    for (index, (weight, shape)) in weights.enumerated() {
      let values = Self.numbers(shape.reduce(1, *), seed: UInt64(index + 2), low: low, high: high)
      initializers.append(Initializer(weight, Tensor(floats: values, shape: shape)))
    }
    for (name, values) in integers {
      initializers.append(
        Initializer(name, Tensor(int64s: values.map { Int64($0) }, shape: [values.count])))
    }
    for (name, value) in scalars {
      initializers.append(Initializer(name, Tensor(floats: [value], shape: [])))
    }
    let first = Node("Mul", name: "gain", inputs: ["input", "gain"], outputs: ["x"])
    let graph = Graph(
      name: name, nodes: [first] + nodes, initializers: initializers,
      inputs: [ValueInfo("input", .float32, shape: input)],
      outputs: [ValueInfo("y", .float32, shape: output)])
    model = Model(graph: graph, opset: 17)
  }

  static func conv(
    _ name: String, input: [Int], weight: [Int], output: [Int], _ attributes: [Attribute],
    group: Int = 1
  ) -> TapeCase {
    TapeCase(
      "Conv \(name)", input: input, output: output, weights: [("w", weight), ("b", [weight[0]])],
      nodes: [
        Node(
          "Conv", name: "conv", inputs: ["x", "w", "b"], outputs: ["y"],
          attributes: attributes + [Attribute("group", .int(Int64(group)))])
      ])
  }

  static func unary(
    _ type: String, _ attributes: [Attribute] = [], inputs: [String] = ["x"],
    scalars: [(String, Float)] = [], low: Double = -1, positive: Bool = false
  ) -> TapeCase {
    // Squaring and adding one makes arguments positive.
    let shift = [
      Node("Mul", name: "square", inputs: ["x", "x"], outputs: ["s"]),
      Node("Add", name: "shift", inputs: ["s", "one"], outputs: ["p"]),
    ]
    return TapeCase(
      type, input: [1, 3, 5, 3], output: [1, 3, 5, 3],
      scalars: scalars + (positive ? [("one", 0.5)] : []),
      nodes: (positive ? shift : []) + [
        Node(
          type, name: "f", inputs: positive ? ["p"] + inputs.dropFirst() : inputs, outputs: ["y"],
          attributes: attributes)
      ])
  }
}

func ints(_ name: String, _ values: [Int]) -> Attribute {
  Attribute(name, .ints(values.map { Int64($0) }))
}

extension TapeCase {
  static let convolutions: [TapeCase] = [
    conv("1x1", input: [1, 5, 3, 7], weight: [7, 5, 1, 1], output: [1, 7, 3, 7], []),
    conv(
      "3x3 padded", input: [1, 3, 7, 5], weight: [37, 3, 3, 3], output: [1, 37, 7, 5],
      [ints("pads", [1, 1, 1, 1])]),
    conv(
      "3x3 wide", input: [1, 33, 5, 4], weight: [17, 33, 3, 3], output: [1, 17, 3, 2], []),
    conv(
      "5x3 unsymmetric", input: [1, 4, 8, 7], weight: [6, 4, 5, 3], output: [1, 6, 4, 4],
      [ints("pads", [2, 0, 1, 2]), ints("strides", [2, 2])]),
    conv(
      "3x3 stride 2", input: [1, 18, 7, 9], weight: [19, 18, 3, 3], output: [1, 19, 4, 5],
      [ints("pads", [1, 1, 1, 1]), ints("strides", [2, 2])]),
    conv(
      "1x1 stride 2", input: [1, 17, 5, 6], weight: [9, 17, 1, 1], output: [1, 9, 3, 3],
      [ints("strides", [2, 2])]),
    conv(
      "dilated", input: [1, 6, 9, 8], weight: [5, 6, 3, 3], output: [1, 5, 7, 4],
      [ints("dilations", [2, 3]), ints("pads", [1, 1, 1, 1])]),
    conv(
      "dilated without padding", input: [1, 16, 9, 8], weight: [5, 16, 3, 2],
      output: [1, 5, 5, 6], [ints("dilations", [2, 2])]),
    conv(
      "padding beyond the kernel", input: [1, 2, 3, 3], weight: [3, 2, 2, 2],
      output: [1, 3, 8, 7], [ints("pads", [3, 2, 3, 3])]),
    conv(
      "in groups", input: [1, 12, 6, 5], weight: [9, 4, 3, 3], output: [1, 9, 6, 5],
      [ints("pads", [1, 1, 1, 1])], group: 3),
    conv(
      "in groups, stride 2", input: [1, 8, 7, 5], weight: [4, 4, 3, 3], output: [1, 4, 4, 3],
      [ints("pads", [1, 1, 1, 1]), ints("strides", [2, 2])], group: 2),
    conv(
      "depthwise", input: [1, 19, 6, 7], weight: [19, 1, 3, 3], output: [1, 19, 6, 7],
      [ints("pads", [1, 1, 1, 1])], group: 19),
    conv(
      "depthwise, stride 2, unsymmetric", input: [1, 35, 8, 6], weight: [35, 1, 3, 3],
      output: [1, 35, 4, 3], [ints("pads", [0, 0, 1, 1]), ints("strides", [2, 2])], group: 35),
    conv(
      "depthwise 5x5, dilated", input: [1, 16, 11, 10], weight: [16, 1, 5, 5],
      output: [1, 16, 7, 6], [ints("pads", [2, 2, 2, 2]), ints("dilations", [2, 2])], group: 16),
    conv(
      "depthwise with two filters a channel", input: [1, 6, 5, 5], weight: [12, 1, 3, 3],
      output: [1, 12, 5, 5], [ints("pads", [1, 1, 1, 1])], group: 6),
    conv(
      "SAME_LOWER", input: [1, 3, 6, 5], weight: [4, 3, 4, 2], output: [1, 4, 3, 3],
      [Attribute("auto_pad", .string("SAME_LOWER")), ints("strides", [2, 2])]),
  ]

  static let products: [TapeCase] = [
    TapeCase(
      "Gemm, transposed", input: [1, 13], output: [1, 35],
      weights: [("w", [35, 13]), ("b", [35])],
      nodes: [
        Node(
          "Gemm", name: "fc", inputs: ["x", "w", "b"], outputs: ["y"],
          attributes: [Attribute("transB", .int(1))])
      ]),
    TapeCase(
      "Gemm", input: [1, 33], output: [1, 7], weights: [("w", [33, 7])],
      nodes: [Node("Gemm", name: "fc", inputs: ["x", "w"], outputs: ["y"])]),
    TapeCase(
      "MatMul with a constant and Add", input: [1, 5, 9], output: [1, 5, 18],
      weights: [("w", [9, 18]), ("b", [18])],
      nodes: [
        Node("MatMul", name: "fc", inputs: ["x", "w"], outputs: ["m"]),
        Node("Add", name: "add", inputs: ["m", "b"], outputs: ["y"]),
      ]),
    TapeCase(
      "MatMul of computed matrices", input: [1, 2, 5, 7], output: [1, 2, 5, 5],
      weights: [("w", [7, 7])],
      nodes: [
        Node("MatMul", name: "q", inputs: ["x", "w"], outputs: ["q"]),
        Node(
          "Transpose", name: "t", inputs: ["x"], outputs: ["t"],
          attributes: [ints("perm", [0, 1, 3, 2])]),
        Node("MatMul", name: "qk", inputs: ["q", "t"], outputs: ["y"]),
      ]),
  ]

  static let elementwise: [TapeCase] = [
    unary("Relu"),
    unary("Clip", inputs: ["x", "lo", "hi"], scalars: [("lo", -0.4), ("hi", 0.6)]),
    unary("LeakyRelu", [Attribute("alpha", .float(0.1))]), unary("Sigmoid"),
    unary("HardSigmoid"), unary("HardSwish"), unary("Tanh"), unary("Erf"), unary("Exp"),
    unary("Neg"), unary("Abs"), unary("Sqrt", positive: true), unary("Reciprocal", positive: true),
    unary("Pow", inputs: ["x", "e"], scalars: [("e", 3)]),
    unary("Pow", inputs: ["x", "e"], scalars: [("e", -1.5)], positive: true),
    unary("Max", inputs: ["x", "e"], scalars: [("e", 0.25)]),
    TapeCase(
      "Add, Sub, Mul, Div with broadcasting", input: [1, 6, 4, 3], output: [1, 6, 4, 3],
      weights: [
        ("channel", [6, 1, 1]), ("row", [4, 1]), ("whole", [1, 6, 4, 3]), ("last", [3]),
      ], low: 0.5, high: 1.5,
      nodes: [
        Node("Add", name: "a", inputs: ["x", "channel"], outputs: ["a"]),
        Node("Sub", name: "s", inputs: ["row", "a"], outputs: ["s"]),
        Node("Mul", name: "m", inputs: ["s", "whole"], outputs: ["m"]),
        Node("Div", name: "d", inputs: ["m", "last"], outputs: ["d"]),
        Node("Div", name: "e", inputs: ["channel", "last"], outputs: ["ignored"]),
        Node("Mul", name: "square", inputs: ["d", "d"], outputs: ["q"]),
        Node("Add", name: "again", inputs: ["q", "x"], outputs: ["y"]),
      ].filter { $0.name != "e" }),
    TapeCase(
      "squeeze and excite: a computed factor a channel", input: [1, 20, 3, 4],
      output: [1, 20, 3, 4], weights: [("w", [20, 20, 1, 1])],
      nodes: [
        Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["c"]),
        Node("GlobalAveragePool", name: "g", inputs: ["c"], outputs: ["g"]),
        Node("Sigmoid", name: "s", inputs: ["g"], outputs: ["s"]),
        Node("Mul", name: "m", inputs: ["c", "s"], outputs: ["m"]),
        Node("Div", name: "d", inputs: ["m", "s"], outputs: ["d"]),
        Node("Sub", name: "u", inputs: ["d", "m"], outputs: ["y"]),
      ]),
    TapeCase(
      "a residual block", input: [1, 6, 5, 4], output: [1, 6, 5, 4],
      weights: [("w", [6, 6, 3, 3]), ("v", [6, 6, 1, 1]), ("b", [6])],
      nodes: [
        Node(
          "Conv", name: "c", inputs: ["x", "w", "b"], outputs: ["c"],
          attributes: [ints("pads", [1, 1, 1, 1])]),
        Node("Relu", name: "r", inputs: ["c"], outputs: ["r"]),
        Node("Conv", name: "d", inputs: ["r", "v"], outputs: ["d"]),
        Node("Add", name: "a", inputs: ["d", "x"], outputs: ["a"]),
        Node("Relu", name: "s", inputs: ["a"], outputs: ["s"]),
        Node("Add", name: "e", inputs: ["s", "r"], outputs: ["y"]),
      ]),
    TapeCase(
      "Softmax within", input: [1, 4, 9], output: [1, 4, 9], weights: [("w", [9])],
      nodes: [
        Node("Softmax", name: "s", inputs: ["x"], outputs: ["s"]),
        Node(
          "Softmax", name: "t", inputs: ["s"], outputs: ["t"],
          attributes: [Attribute("axis", .int(1))]),
        Node("Mul", name: "m", inputs: ["t", "w"], outputs: ["y"]),
      ]),
    TapeCase(
      "LayerNormalization", input: [1, 4, 9], output: [1, 4, 9],
      weights: [("w", [9]), ("b", [9])],
      nodes: [
        Node("LayerNormalization", name: "n", inputs: ["x", "w", "b"], outputs: ["y"])
      ]),
  ]

  static let windows: [TapeCase] = [
    TapeCase(
      "MaxPool", input: [1, 5, 7, 6], output: [1, 5, 4, 3],
      nodes: [
        Node(
          "MaxPool", name: "p", inputs: ["x"], outputs: ["y"],
          attributes: [
            ints("kernel_shape", [3, 3]), ints("strides", [2, 2]), ints("pads", [1, 1, 1, 1]),
          ])
      ]),
    TapeCase(
      "AveragePool without padding in the count", input: [1, 5, 7, 6], output: [1, 5, 4, 3],
      nodes: [
        Node(
          "AveragePool", name: "p", inputs: ["x"], outputs: ["y"],
          attributes: [
            ints("kernel_shape", [3, 3]), ints("strides", [2, 2]), ints("pads", [1, 1, 1, 1]),
          ])
      ]),
    TapeCase(
      "AveragePool with padding in the count", input: [1, 17, 4, 6], output: [1, 17, 5, 4],
      nodes: [
        Node(
          "AveragePool", name: "p", inputs: ["x"], outputs: ["y"],
          attributes: [
            ints("kernel_shape", [2, 3]), ints("strides", [1, 2]), ints("pads", [1, 1, 1, 1]),
            Attribute("count_include_pad", .int(1)),
          ])
      ]),
    TapeCase(
      "GlobalAveragePool", input: [1, 18, 3, 5], output: [1, 18, 1, 1],
      nodes: [Node("GlobalAveragePool", name: "p", inputs: ["x"], outputs: ["y"])]),
    TapeCase(
      "GlobalMaxPool", input: [1, 18, 3, 5], output: [1, 18, 1, 1],
      nodes: [Node("GlobalMaxPool", name: "p", inputs: ["x"], outputs: ["y"])]),
    TapeCase(
      "ReduceMean over space", input: [1, 7, 3, 5], output: [1, 7],
      nodes: [
        Node(
          "ReduceMean", name: "p", inputs: ["x"], outputs: ["y"],
          attributes: [ints("axes", [2, 3]), Attribute("keepdims", .int(0))])
      ]),
    TapeCase(
      "ReduceMean over the last axis", input: [1, 7, 40], output: [1, 7, 1],
      nodes: [
        Node(
          "ReduceMean", name: "p", inputs: ["x"], outputs: ["y"], attributes: [ints("axes", [-1])])
      ]),
    TapeCase(
      "ReduceSum over the middle", input: [1, 7, 6, 5], output: [1, 6, 5],
      integers: [("axes", [1])],
      nodes: [
        Node(
          "ReduceSum", name: "p", inputs: ["x", "axes"], outputs: ["y"],
          attributes: [Attribute("keepdims", .int(0))])
      ]),
  ]

  static let movements: [TapeCase] = [
    TapeCase(
      "Flatten and Reshape", input: [1, 4, 3, 5], output: [1, 15, 4],
      weights: [("w", [4, 4, 1, 1])],
      integers: [("shape", [0, 15, 4])],
      nodes: [
        Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["c"]),
        Node("Flatten", name: "f", inputs: ["c"], outputs: ["f"]),
        Node("Reshape", name: "r", inputs: ["f", "shape"], outputs: ["y"]),
      ]),
    TapeCase(
      "a shortcut by Slice and Pad, as in ResNet on CIFAR", input: [1, 4, 6, 7],
      output: [1, 8, 3, 4], weights: [("w", [4, 4, 1, 1])],
      integers: [
        ("starts", [0, 0]), ("ends", [9, 9]), ("axes", [2, 3]), ("steps", [2, 2]),
        ("pads", [0, 2, 0, 0, 0, 2, 0, 0]),
      ],
      nodes: [
        Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["c"]),
        Node("Slice", name: "s", inputs: ["c", "starts", "ends", "axes", "steps"], outputs: ["s"]),
        Node("Pad", name: "p", inputs: ["s", "pads"], outputs: ["y"]),
      ]),
    TapeCase(
      "Slice backwards and cropping Pad", input: [1, 4, 6, 7], output: [1, 4, 6, 6],
      integers: [
        ("starts", [-1]), ("ends", [-100]), ("axes", [3]), ("steps", [-1]),
        ("pads", [0, 0, 1, -2, 0, 0, -1, 1]),
      ], scalars: [("value", 0.5)],
      nodes: [
        Node("Slice", name: "s", inputs: ["x", "starts", "ends", "axes", "steps"], outputs: ["s"]),
        Node("Pad", name: "p", inputs: ["s", "pads", "value"], outputs: ["y"]),
      ]),
    TapeCase(
      "Concat and Split", input: [1, 6, 3, 4], output: [1, 13, 3, 4],
      weights: [("w", [5, 6, 1, 1]), ("v", [6, 6, 1, 1])], integers: [("split", [2, 4])],
      nodes: [
        Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["c"]),
        Node("Conv", name: "d", inputs: ["x", "v"], outputs: ["d"]),
        Node(
          "Split", name: "s", inputs: ["d", "split"], outputs: ["d0", "d1"],
          attributes: [Attribute("axis", .int(1))]),
        Node(
          "Concat", name: "k", inputs: ["d1", "c", "d0", "d0"], outputs: ["y"],
          attributes: [Attribute("axis", .int(1))]),
      ]),
    TapeCase(
      "Transpose, Squeeze, Unsqueeze", input: [1, 3, 5, 2], output: [2, 1, 3, 5],
      integers: [("axes", [0]), ("axes1", [1])],
      nodes: [
        Node("Squeeze", name: "s", inputs: ["x", "axes"], outputs: ["s"]),
        Node(
          "Transpose", name: "t", inputs: ["s"], outputs: ["t"],
          attributes: [ints("perm", [2, 0, 1])]),
        Node("Unsqueeze", name: "u", inputs: ["t", "axes1"], outputs: ["y"]),
      ]),
    TapeCase(
      "Gather and Expand", input: [1, 5, 4], output: [1, 3, 2, 4],
      integers: [("index", [4, 0, 4]), ("shape", [1, 3, 2, 4]), ("axes", [2])],
      nodes: [
        Node(
          "Gather", name: "g", inputs: ["x", "index"], outputs: ["g"],
          attributes: [Attribute("axis", .int(1))]),
        Node("Unsqueeze", name: "u", inputs: ["g", "axes"], outputs: ["u"]),
        Node("Expand", name: "e", inputs: ["u", "shape"], outputs: ["y"]),
      ]),
  ]

  static func resize(
    _ name: String, sizes: [Int], _ attributes: [Attribute]
  ) -> TapeCase {
    TapeCase(
      "Resize \(name)", input: [1, 5, 4, 6], output: [1, 5] + sizes,
      integers: [("sizes", [1, 5] + sizes)],
      nodes: [
        Node(
          "Resize", name: "r", inputs: ["x", "", "", "sizes"], outputs: ["y"],
          attributes: attributes)
      ])
  }

  static let resizes: [TapeCase] = [
    resize(
      "nearest", sizes: [8, 12],
      [
        Attribute("coordinate_transformation_mode", .string("asymmetric")),
        Attribute("nearest_mode", .string("floor")),
      ]),
    resize("nearest, half pixel", sizes: [7, 9], []),
    resize("linear", sizes: [8, 12], [Attribute("mode", .string("linear"))]),
    resize(
      "linear, corners aligned", sizes: [7, 11],
      [
        Attribute("mode", .string("linear")),
        Attribute("coordinate_transformation_mode", .string("align_corners")),
      ]),
    resize("linear, smaller", sizes: [2, 3], [Attribute("mode", .string("linear"))]),
  ]

  static let all = resizes + convolutions + products + elementwise + windows + movements + further
}
