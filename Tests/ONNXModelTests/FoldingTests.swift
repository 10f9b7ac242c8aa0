// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import ONNXModel
import Tensors
import Testing

@Suite("Folding")
struct FoldingTests {
  @Test("batch normalisation goes into the convolution, which takes over its output")
  func normalization() throws {
    let folded = try Folding.fold(normalizedConvolution(), inputs: [:])
    #expect(folded.graph.nodes.map(\.name) == ["conv", "relu"])
    let conv = folded.graph.nodes[0]
    #expect(conv.outputs == ["n"])
    #expect(conv.inputs.prefix(2) == ["x", "w"])
    // a = gamma / sqrt(variance) = [1, 8]; w' = w · a; b' = beta − mean · a.
    #expect(try folded.graph.initializer("w")?.tensor().floats == [3, 40])
    #expect(try folded.graph.initializer(conv.inputs[2])?.tensor().floats == [-5, -5])
    #expect(folded.graph.initializers.count == 2)
    #expect(folded.graph.values.map(\.name) == ["n"])
    #expect(folded.graph.values.first?.fixedShape == [1, 2, 2, 2])
    #expect(folded.graph.outputs.first?.fixedShape == [1, 2, 2, 2])
  }

  @Test("folding rounds once, from double")
  func rounding() throws {
    var model = normalizedConvolution()
    model.graph.setInitializer(Initializer("w", floats([0.1, 0.3], [2, 1, 1, 1])))
    model.graph.setInitializer(Initializer("gamma", floats([0.7, 1.3])))
    model.graph.setInitializer(Initializer("variance", floats([0.9, 1.7])))
    model.graph.nodes[1].set("epsilon", .float(1e-3))
    let folded = try Folding.fold(model, inputs: [:])
    let expected = zip(
      [0.1, 0.3] as [Float], zip([0.7, 1.3] as [Float], [0.9, 1.7] as [Float])
    ).map { weight, pair in
      let scale = Double(pair.0) / (Double(pair.1) + Double(Float(1e-3))).squareRoot()
      return Float(Double(weight) * scale)
    }
    #expect(try folded.graph.initializer("w")?.tensor().floats == expected)
  }

  @Test("a bias that is there is taken in")
  func bias() throws {
    var model = normalizedConvolution()
    model.graph.nodes[0].inputs.append("b")
    model.graph.setInitializer(Initializer("b", floats([6, 1.5])))
    let folded = try Folding.fold(model, inputs: [:])
    // (b − mean) · a + beta = [(6 − 6) · 1 + 1, (1.5 − 0.5) · 8 − 1].
    #expect(try folded.graph.initializer("b")?.tensor().floats == [1, 7])
  }

  @Test("grouped deconvolution scales by output channel")
  func deconvolution() throws {
    var model = model(
      [
        Node(
          "ConvTranspose", name: "up", inputs: ["x", "w"], outputs: ["c"],
          attributes: [Attribute("group", .int(2))]),
        Node("Mul", name: "scale", inputs: ["c", "k"], outputs: ["y"]),
      ], input: [1, 4, 1, 1],
      constants: [
        // [Cin = 4, Cout / group = 2, 1, 1]: inputs 0 and 1 make channels 0 and 1, 2 and 3 the rest.
        ("w", floats([1, 1, 1, 1, 1, 1, 1, 1], [4, 2, 1, 1])),
        ("k", floats([2, 3, 5, 7], [1, 4, 1, 1])),
      ])
    model = try Folding.fold(model, inputs: [:])
    #expect(model.graph.nodes.map(\.name) == ["up"])
    #expect(model.graph.nodes[0].outputs == ["y"])
    #expect(try model.graph.initializer("w")?.tensor().floats == [2, 3, 2, 3, 5, 7, 5, 7])
  }

  @Test("an added constant per channel becomes the bias, a scalar does not")
  func addition() throws {
    func chain(_ constant: Tensor) throws -> Model {
      try Folding.fold(
        model(
          [
            Node(
              "Gemm", name: "fc", inputs: ["x", "w", "b"], outputs: ["g"],
              attributes: [
                Attribute("alpha", .float(2)), Attribute("beta", .float(3)),
                Attribute("transB", .int(1)),
              ]),
            Node("Add", name: "add", inputs: ["k", "g"], outputs: ["y"]),
          ], input: [1, 1],
          constants: [("w", floats([1, 2], [2, 1])), ("b", floats([1, 1])), ("k", constant)]),
        inputs: [:])
    }
    let folded = try chain(floats([10, 20]))
    #expect(folded.graph.nodes.map(\.opType) == ["Gemm"])
    #expect(folded.graph.nodes[0].float("alpha", default: 1) == 1)
    #expect(folded.graph.nodes[0].float("beta", default: 1) == 1)
    #expect(try folded.graph.initializer("w")?.tensor().floats == [2, 4])
    #expect(try folded.graph.initializer("b")?.tensor().floats == [13, 23])
    #expect(try chain(floats([10])).graph.nodes.count == 2)
  }

  @Test("normalisation stays where the convolution's output is needed as it is")
  func sharedOutput() throws {
    var model = normalizedConvolution()
    model.graph.outputs.append(ValueInfo("c", .float32, shape: [1, 2, 2, 2]))
    #expect(try Folding.fold(model, inputs: [:]).graph.nodes.count == 3)
    model = normalizedConvolution()
    model.graph.nodes.append(Node("Neg", name: "also", inputs: ["c"], outputs: ["z"]))
    model.graph.outputs.append(ValueInfo("z", .float32, shape: [1, 2, 2, 2]))
    #expect(try Folding.fold(model, inputs: [:]).graph.nodes.count == 4)
  }

  @Test("a weight that two layers share is not changed for the other")
  func sharedWeight() throws {
    var model = normalizedConvolution()
    model.graph.nodes.append(Node("Conv", name: "other", inputs: ["x", "w"], outputs: ["z"]))
    model.graph.outputs.append(ValueInfo("z", .float32, shape: [1, 2, 2, 2]))
    let folded = try Folding.fold(model, inputs: [:])
    #expect(try folded.graph.initializer("w")?.tensor().floats == [3, 5])
    let weight = folded.graph.nodes[0].inputs[1]
    #expect(weight != "w")
    #expect(try folded.graph.initializer(weight)?.tensor().floats == [3, 40])
  }

  @Test("constant expressions are computed")
  func constants() throws {
    let model = model(
      [
        Node(
          "Constant", name: "", inputs: [], outputs: ["two"],
          attributes: [Attribute("value", .tensor(ints([2])))]),
        Node("Shape", name: "", inputs: ["x"], outputs: ["s"]),
        Node(
          "Slice", name: "", inputs: ["s", "from", "to"], outputs: ["tail"]),
        Node("Mul", name: "", inputs: ["tail", "two"], outputs: ["twice"]),
        Node(
          "Cast", name: "", inputs: ["twice"], outputs: ["f"],
          attributes: [Attribute("to", .int(1))]
        ),
        Node("Div", name: "", inputs: ["f", "four"], outputs: ["q"]),
        Node("Floor", name: "", inputs: ["q"], outputs: ["k"]),
        Node("Transpose", name: "", inputs: ["m"], outputs: ["t"]),
        Node("MatMul", name: "", inputs: ["x", "t"], outputs: ["p"]),
        Node("Add", name: "", inputs: ["p", "k"], outputs: ["y"]),
      ], input: [1, 3],
      constants: [
        ("from", ints([1])), ("to", ints([2])), ("four", floats([4])),
        ("m", floats([1, 2, 3, 4, 5, 6], [2, 3])),
      ])
    let folded = try Folding.fold(model, inputs: [:])
    #expect(folded.graph.nodes.map(\.name) == ["MatMul_8", "Add_9"])
    // floor(2 · 3 / 4) = 1.
    #expect(try folded.graph.initializer("k")?.tensor() == floats([1]))
    #expect(
      try folded.graph.initializer("t")?.tensor() == floats([1, 4, 2, 5, 3, 6], [3, 2]))
  }

  struct Expression: CustomTestStringConvertible {
    var opType: String
    var inputs: [Tensor]
    var attributes: [Attribute] = []
    var expected: Tensor
    var testDescription: String { opType }
  }

  static let expressions: [Expression] = [
    Expression(opType: "Div", inputs: [ints([-7, 7]), ints([2, -2])], expected: ints([-3, -3])),
    Expression(opType: "Mod", inputs: [ints([-7, 7]), ints([3, -3])], expected: ints([2, -2])),
    Expression(
      opType: "Range",
      inputs: [scalar(5), scalar(-1), scalar(-2)], expected: ints([5, 3, 1])),
    Expression(
      opType: "ConstantOfShape", inputs: [ints([2])],
      attributes: [Attribute("value", .tensor(ints([7])))], expected: ints([7, 7])),
    Expression(opType: "Expand", inputs: [ints([1, 2]), ints([2, 1])], expected: grid),
    Expression(opType: "Tile", inputs: [ints([1, 2]), ints([2])], expected: ints([1, 2, 1, 2])),
    Expression(
      opType: "Gather", inputs: [ints([4, 5, 6]), ints([-1, 0])], expected: ints([6, 4])),
    Expression(
      opType: "Concat", inputs: [ints([1]), ints([2, 3])],
      attributes: [Attribute("axis", .int(0))], expected: ints([1, 2, 3])),
    Expression(
      opType: "Slice",
      inputs: [ints([0, 1, 2, 3]), ints([-1]), ints([-100]), ints([0]), ints([-2])],
      expected: ints([3, 1])),
    Expression(
      opType: "Where",
      inputs: [Tensor(.bool, shape: [2], values: [1, 0] as [UInt8]), ints([1, 2]), ints([9])],
      expected: ints([1, 9])),
    Expression(opType: "Equal", inputs: [ints([1, 2]), ints([1, 1])], expected: flags([1, 0])),
    Expression(
      opType: "Less", inputs: [floats([1, .nan]), floats([2, 2])], expected: flags([1, 0])),
    Expression(opType: "ReduceProd", inputs: [ints([2, 3, 4])], expected: ints([24])),
    Expression(opType: "Round", inputs: [floats([0.5, 1.5, -2.5])], expected: floats([0, 2, -2])),
    Expression(opType: "Sqrt", inputs: [floats([9])], expected: floats([3])),
    Expression(
      opType: "Cast", inputs: [floats([-1.9, 2.9])], attributes: [Attribute("to", .int(7))],
      expected: ints([-1, 2])),
    Expression(
      opType: "Add", inputs: [ints([.max]), ints([1])], expected: ints([.min])),
  ]

  static let grid = Tensor(int64s: [1, 2, 1, 2], shape: [2, 2])
  static func scalar(_ value: Int64) -> Tensor { Tensor(int64s: [value], shape: []) }
  static func flags(_ values: [UInt8]) -> Tensor {
    Tensor(.bool, shape: [values.count], values: values)
  }

  @Test("each operator computes what its specification says", arguments: expressions)
  func expression(_ test: Expression) throws {
    let names = test.inputs.indices.map { "i\($0)" }
    let model = model(
      [
        Node(
          test.opType, name: "n", inputs: names, outputs: ["value"], attributes: test.attributes),
        Node("Keep", name: "keep", inputs: ["x", "value"], outputs: ["y"]),
      ], input: [1], constants: Array(zip(names, test.inputs)))
    let folded = try Folding.fold(model, inputs: [:])
    #expect(folded.graph.nodes.map(\.name) == ["keep"])
    #expect(try folded.graph.initializer("value")?.tensor() == test.expected)
  }

  @Test("an integer division by zero is an error, not a crash")
  func division() {
    let model = model(
      [
        Node("Div", name: "bad", inputs: ["a", "b"], outputs: ["c"]),
        Node("Keep", name: "keep", inputs: ["x", "c"], outputs: ["y"]),
      ], input: [1], constants: [("a", ints([1])), ("b", ints([0]))])
    #expect(failure { _ = try Folding.fold(model, inputs: [:]) }?.place == .node("bad"))
  }

  @Test("identities and dropout go, names of inputs and outputs stay")
  func identities() throws {
    let model = model(
      [
        Node("Identity", name: "i", inputs: ["x"], outputs: ["a"]),
        Node("Dropout", name: "d", inputs: ["a"], outputs: ["b", "mask"]),
        Node("Neg", name: "n", inputs: ["b"], outputs: ["c"]),
        Node("Identity", name: "j", inputs: ["c"], outputs: ["y"]),
      ], input: [1, 2])
    let folded = try Folding.fold(model, inputs: [:])
    #expect(folded.graph.nodes.map(\.name) == ["n"])
    #expect(folded.graph.nodes[0].inputs == ["x"])
    #expect(folded.graph.nodes[0].outputs == ["y"])
  }

  @Test("an identity between input and output stays")
  func bareIdentity() throws {
    let bare = model([Node("Identity", name: "i", inputs: ["x"], outputs: ["y"])], input: [1])
    #expect(try Folding.fold(bare, inputs: [:]).graph.nodes.count == 1)
  }

  @Test("nameless and twin nodes get names of their own")
  func names() throws {
    let model = model(
      [
        Node("Neg", name: "", inputs: ["x"], outputs: ["a"]),
        Node("Abs", name: "twin", inputs: ["a"], outputs: ["b"]),
        Node("Neg", name: "twin", inputs: ["b"], outputs: ["Neg_3"]),
        Node("Neg", name: "", inputs: ["Neg_3"], outputs: ["y"]),
      ], input: [1])
    let folded = try Folding.fold(model, inputs: [:])
    #expect(folded.graph.nodes.map(\.name) == ["Neg_0", "twin", "twin_2", "Neg_3_1"])
  }

  @Test("a model without an output is refused")
  func noOutput() {
    var model = normalizedConvolution()
    model.graph.outputs = []
    #expect(failure { _ = try Folding.fold(model, inputs: [:]) }?.kind == .data)
  }

  @Test("constants that a file of IR version 3 lists as inputs are no inputs afterwards")
  func listedConstants() throws {
    var model = normalizedConvolution()
    model.irVersion = 3
    for constant in model.graph.initializers {
      model.graph.inputs.append(ValueInfo(constant.name, .float32, shape: constant.shape))
    }
    let folded = try Folding.fold(model, inputs: [:])
    #expect(folded.graph.inputs.map(\.name) == ["x"])
    #expect(folded.irVersion >= 4)
    #expect(folded.graph.nodes.map(\.name) == ["conv", "relu"])
  }

  @Test("input shapes are fixed and folding twice changes nothing more")
  func fixedPoint() throws {
    var open = normalizedConvolution()
    open.graph.inputs[0].dimensions = [.named("N"), .fixed(1), .unknown, .unknown]
    let folded = try Folding.fold(open, inputs: ["x": [1, 1, 6, 5]])
    #expect(folded.graph.inputs[0].fixedShape == [1, 1, 6, 5])
    #expect(folded.graph.outputs[0].fixedShape == [1, 2, 6, 5])
    let bytes = try folded.encode()
    #expect(try Folding.fold(folded, inputs: [:]).encode() == bytes)
    #expect(try Folding.fold(open, inputs: ["x": [1, 1, 6, 5]]).encode() == bytes)
  }
}
