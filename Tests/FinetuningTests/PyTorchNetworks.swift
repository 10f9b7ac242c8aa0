// SPDX-License-Identifier: Apache-2.0
// The three networks of `Golden/pytorch_losses.py` as ONNX graphs.

import ONNXModel
import Tensors

@testable import Finetuning

enum PyTorchNetworks {
  static func model(_ network: PyTorchLosses.Network, _ classes: Int) -> Model {
    var initializers = network.parameters.map { constant in
      let values = TapeCase.numbers(
        constant.shape.reduce(1, *), seed: constant.seed, low: constant.low, high: constant.high)
      return Initializer(constant.name, Tensor(floats: values, shape: constant.shape))
    }
    func integers(_ name: String, _ values: [Int64]) -> Initializer {
      Initializer(name, Tensor(int64s: values, shape: [values.count]))
    }
    func number(_ name: String, _ value: Float) -> Initializer {
      Initializer(name, Tensor(floats: [value], shape: []))
    }
    let nodes: [Node]
    switch network.name {
    case "residual": nodes = residual()
    case "mobile":
      nodes = mobile()
      initializers += [number("zero", 0), number("six", 6)]
    default:
      nodes = attention()
      initializers += [
        integers("to.tokens", [1, 12, 6]), integers("to.heads", [1, 6, 2, 6]),
        integers("from.heads", [1, 6, 12]), number("half", 0.5), number("one", 1),
        number("root", Float(2).squareRoot()),
      ]
    }
    return Model(
      graph: Graph(
        name: network.name, nodes: nodes, initializers: initializers,
        inputs: [ValueInfo("input", .float32, shape: [1] + network.picture)],
        outputs: [ValueInfo("logits", .float32, shape: [1, classes])]),
      opset: 17)
  }

  private static func node(
    _ type: String, _ inputs: [String], _ output: String, _ attributes: [Attribute] = []
  ) -> Node {
    Node(type, name: "make \(output)", inputs: inputs, outputs: [output], attributes: attributes)
  }

  private static func conv(
    _ input: String, _ key: String, pad: Int = 0, stride: Int = 1, group: Int = 1
  ) -> Node {
    node(
      "Conv", [input, "\(key).w", "\(key).b"], key,
      [
        ints("pads", [pad, pad, pad, pad]), ints("strides", [stride, stride]),
        Attribute("group", .int(Int64(group))),
      ])
  }

  private static func gemm(_ input: String) -> Node {
    node("Gemm", [input, "fc.w", "fc.b"], "logits", [Attribute("transB", .int(1))])
  }

  private static func residual() -> [Node] {
    [
      conv("input", "stem", pad: 1), node("Relu", ["stem"], "stem.r"),
      conv("stem.r", "a1", pad: 1, stride: 2), node("Relu", ["a1"], "a1.r"),
      conv("a1.r", "a2", pad: 1), conv("stem.r", "cut", stride: 2),
      node("Add", ["a2", "cut"], "a"), node("Relu", ["a"], "a.r"),
      conv("a.r", "b1", pad: 1), node("Relu", ["b1"], "b1.r"), conv("b1.r", "b2", pad: 1),
      node("Add", ["b2", "a.r"], "b"), node("Relu", ["b"], "b.r"),
      node("GlobalAveragePool", ["b.r"], "pool"), node("Flatten", ["pool"], "flat"),
      gemm("flat"),
    ]
  }

  private static func mobile() -> [Node] {
    // ReLU6 as exporters write it.
    func relu6(_ key: String) -> Node { node("Clip", [key, "zero", "six"], "\(key).r") }
    return [
      conv("input", "stem", pad: 1), relu6("stem"),
      node(
        "MaxPool", ["stem.r"], "stem.p", [ints("kernel_shape", [2, 2]), ints("strides", [2, 2])]),
      conv("stem.p", "d1", pad: 1, group: 8), relu6("d1"), conv("d1.r", "p1"), relu6("p1"),
      conv("p1.r", "d2", pad: 2, stride: 2, group: 19), relu6("d2"), conv("d2.r", "p2"),
      node(
        "AveragePool", ["p2"], "pool", [ints("kernel_shape", [3, 3]), ints("strides", [3, 3])]),
      node("Flatten", ["pool"], "flat"), gemm("flat"),
    ]
  }

  private static func attention() -> [Node] {
    func product(_ input: String, _ key: String) -> [Node] {
      [
        node("MatMul", [input, "\(key).w"], "\(key).m"),
        node("Add", ["\(key).m", "\(key).b"], key),
      ]
    }
    func split(_ key: String, _ order: [Int]) -> [Node] {
      product("n1", key) + [
        node("Reshape", [key, "to.heads"], "\(key).4"),
        node("Transpose", ["\(key).4"], "\(key).t", [ints("perm", order)]),
      ]
    }
    func normalized(_ input: String, _ key: String) -> Node {
      node("LayerNormalization", [input, "\(key).w", "\(key).b"], key)
    }
    var nodes = [
      conv("input", "patch", stride: 4), node("Reshape", ["patch", "to.tokens"], "rows"),
      node("Transpose", ["rows"], "columns", [ints("perm", [0, 2, 1])]),
      node("Add", ["columns", "place"], "x0"), normalized("x0", "n1"),
    ]
    nodes += split("q", [0, 2, 1, 3]) + split("k", [0, 2, 3, 1]) + split("v", [0, 2, 1, 3])
    nodes += [
      node("MatMul", ["q.t", "k.t"], "qk"), node("Mul", ["qk", "half"], "scores"),
      node("Softmax", ["scores"], "shares", [Attribute("axis", .int(-1))]),
      node("MatMul", ["shares", "v.t"], "mixed"),
      node("Transpose", ["mixed"], "mixed.t", [ints("perm", [0, 2, 1, 3])]),
      node("Reshape", ["mixed.t", "from.heads"], "heads"),
    ]
    nodes += product("heads", "o") + [node("Add", ["x0", "o"], "x1"), normalized("x1", "n2")]
    // GELU as exporters write it: x / 2 · (1 + erf(x / √2)).
    nodes +=
      product("n2", "up") + [
        node("Div", ["up", "root"], "up.d"), node("Erf", ["up.d"], "up.e"),
        node("Add", ["up.e", "one"], "up.f"), node("Mul", ["up", "up.f"], "up.g"),
        node("Mul", ["up.g", "half"], "gelu"),
      ]
    nodes +=
      product("gelu", "down") + [
        node("Add", ["x1", "down"], "x2"),
        node("ReduceMean", ["x2"], "mean", [ints("axes", [1]), Attribute("keepdims", .int(0))]),
        gemm("mean"),
      ]
    return nodes
  }
}
