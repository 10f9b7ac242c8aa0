// SPDX-License-Identifier: Apache-2.0
// Expected shapes follow from the formulas of the ONNX operator specification, by hand.

import Diagnostics
import ONNXModel
import Tensors
import Testing

@Suite("ShapeInference")
struct ShapeInferenceTests {
  struct Case: CustomTestStringConvertible {
    var opType: String
    var input: [Int]
    var constants: [(String, Tensor)] = []
    var attributes: [Attribute] = []
    var opset: Int64 = 13
    var expected: [Int]
    var testDescription: String { "\(opType) \(attributes.map(\.name)) of \(input)" }
  }

  static let cases: [Case] = [
    Case(
      opType: "Conv", input: [1, 3, 224, 224], constants: [("w", zeros([8, 3, 3, 3]))],
      attributes: [
        Attribute("strides", .ints([2, 2])), Attribute("pads", .ints([0, 0, 1, 1])),
      ], expected: [1, 8, 112, 112]),
    Case(
      opType: "Conv", input: [1, 4, 9, 9], constants: [("w", zeros([6, 2, 3, 3]))],
      attributes: [
        Attribute("group", .int(2)), Attribute("dilations", .ints([2, 2])),
        Attribute("auto_pad", .string("VALID")),
      ], expected: [1, 6, 5, 5]),
    Case(
      opType: "Conv", input: [1, 3, 7, 7], constants: [("w", zeros([1, 3, 3, 3]))],
      attributes: [
        Attribute("strides", .ints([2, 2])), Attribute("auto_pad", .string("SAME_UPPER")),
      ], expected: [1, 1, 4, 4]),
    Case(
      opType: "ConvTranspose", input: [1, 4, 5, 5], constants: [("w", zeros([4, 3, 2, 2]))],
      attributes: [
        Attribute("group", .int(2)), Attribute("strides", .ints([2, 2])),
        Attribute("output_padding", .ints([1, 0])),
      ], expected: [1, 6, 11, 10]),
    Case(
      opType: "MaxPool", input: [1, 2, 6, 6],
      attributes: [
        Attribute("kernel_shape", .ints([3, 3])), Attribute("strides", .ints([2, 2])),
        Attribute("ceil_mode", .int(1)),
      ], expected: [1, 2, 3, 3]),
    // The third window would start in the padding behind the input and is left out.
    Case(
      opType: "AveragePool", input: [1, 2, 3, 3],
      attributes: [
        Attribute("kernel_shape", .ints([1, 1])), Attribute("strides", .ints([2, 2])),
        Attribute("pads", .ints([0, 0, 1, 1])), Attribute("ceil_mode", .int(1)),
      ], expected: [1, 2, 2, 2]),
    Case(opType: "GlobalAveragePool", input: [2, 5, 7, 7], expected: [2, 5, 1, 1]),
    Case(
      opType: "Gemm", input: [4, 2], constants: [("w", zeros([3, 4]))],
      attributes: [Attribute("transA", .int(1)), Attribute("transB", .int(1))],
      expected: [2, 3]),
    Case(
      opType: "MatMul", input: [5, 1, 2, 3], constants: [("w", zeros([4, 3, 6]))],
      expected: [5, 4, 2, 6]),
    Case(opType: "MatMul", input: [2, 3], constants: [("w", zeros([3]))], expected: [2]),
    Case(
      opType: "Add", input: [2, 1, 3], constants: [("w", zeros([4, 1]))], expected: [2, 4, 3]),
    Case(opType: "Flatten", input: [2, 3, 4], expected: [2, 12]),
    Case(
      opType: "Flatten", input: [2, 3, 4], attributes: [Attribute("axis", .int(3))],
      expected: [24, 1]),
    Case(
      opType: "Reshape", input: [2, 3, 4], constants: [("s", ints([0, -1, 2]))],
      expected: [2, 6, 2]),
    Case(opType: "Transpose", input: [2, 3, 4], expected: [4, 3, 2]),
    Case(
      opType: "Concat", input: [1, 3, 2], constants: [("w", zeros([1, 3, 5]))],
      attributes: [Attribute("axis", .int(-1))], expected: [1, 3, 7]),
    Case(
      opType: "Split", input: [7, 2], constants: [("s", ints([3, 4]))], expected: [3, 2]),
    Case(
      opType: "Slice", input: [10, 10],
      constants: [
        ("s", ints([-1, 2])), ("e", ints([.min, 100])), ("a", ints([0, 1])), ("t", ints([-3, 4])),
      ], expected: [4, 2]),
    Case(
      opType: "Slice", input: [10, 10],
      attributes: [
        Attribute("starts", .ints([1])), Attribute("ends", .ints([-1])),
        Attribute("axes", .ints([1])),
      ], opset: 9, expected: [10, 8]),
    Case(opType: "Squeeze", input: [1, 3, 1], expected: [3]),
    Case(
      opType: "Squeeze", input: [1, 3, 1], attributes: [Attribute("axes", .ints([-1]))],
      opset: 11, expected: [1, 3]),
    Case(
      opType: "Unsqueeze", input: [3], constants: [("a", ints([0, -1]))], expected: [1, 3, 1]),
    Case(
      opType: "Gather", input: [4, 5], constants: [("i", ints([1, 2, 3]))],
      attributes: [Attribute("axis", .int(1))], expected: [4, 3]),
    Case(
      opType: "Pad", input: [2, 3], constants: [("p", ints([1, 0, 0, 2]))], expected: [3, 5]),
    Case(
      opType: "ReduceMean", input: [2, 3, 4],
      attributes: [Attribute("axes", .ints([-1])), Attribute("keepdims", .int(0))],
      expected: [2, 3]),
    Case(
      opType: "ReduceMean", input: [2, 3, 4], constants: [("a", ints([1]))], opset: 18,
      expected: [2, 1, 4]),
    Case(
      opType: "ArgMax", input: [2, 3], attributes: [Attribute("axis", .int(1))],
      expected: [2, 1]),
    Case(
      opType: "Resize", input: [1, 2, 5, 5],
      constants: [("r", zeros([0])), ("s", floats([1, 1, 2, 1.5]))], expected: [1, 2, 10, 7]),
    Case(
      opType: "Upsample", input: [1, 2, 5, 5],
      attributes: [Attribute("scales", .floats([1, 1, 2, 2]))], opset: 7,
      expected: [1, 2, 10, 10]),
    Case(
      opType: "Expand", input: [3, 1], constants: [("s", ints([2, 1, 4]))], expected: [2, 3, 4]),
    Case(opType: "Tile", input: [2, 3], constants: [("r", ints([2, 3]))], expected: [4, 9]),
    Case(
      opType: "DepthToSpace", input: [1, 8, 2, 3], attributes: [Attribute("blocksize", .int(2))],
      expected: [1, 2, 4, 6]),
    Case(opType: "TopK", input: [2, 9], constants: [("k", ints([5]))], expected: [2, 5]),
    Case(opType: "Softmax", input: [2, 9], expected: [2, 9]),
  ]

  static func zeros(_ shape: [Int]) -> Tensor {
    Tensor(floats: [Float](repeating: 0, count: shape.reduce(1, *)), shape: shape)
  }

  @Test("each operator gives the shape of its specification", arguments: cases)
  func rules(_ test: Case) throws {
    let outputs = test.opType == "Split" ? ["y", "rest"] : ["y"]
    let node = Node(
      test.opType, name: "n", inputs: ["x"] + test.constants.map(\.0), outputs: outputs,
      attributes: test.attributes)
    let model = model(
      [node], input: test.input, constants: test.constants, opset: test.opset)
    #expect(try shape(model, "y") == test.expected)
  }

  @Test("a chain of shape arithmetic comes out as numbers")
  func chain() throws {
    // Flatten as exporters write it: Reshape(x, Concat(Shape(x)[0:1], [-1])).
    let model = model(
      [
        Node("Shape", name: "s", inputs: ["x"], outputs: ["shape"]),
        Node("Gather", name: "g", inputs: ["shape", "zero"], outputs: ["batch"]),
        Node("Unsqueeze", name: "u", inputs: ["batch", "axis"], outputs: ["row"]),
        Node(
          "Concat", name: "c", inputs: ["row", "rest"], outputs: ["target"],
          attributes: [Attribute("axis", .int(0))]),
        Node("Reshape", name: "r", inputs: ["x", "target"], outputs: ["y"]),
      ], input: [3, 4, 5],
      constants: [
        ("zero", Tensor(int64s: [0], shape: [])), ("axis", ints([0])), ("rest", ints([-1])),
      ])
    #expect(try shape(model, "y") == [3, 20])
  }

  @Test("open extents are taken from the inputs, a first one is 1")
  func inputShapes() throws {
    var open = model([Node("Relu", name: "r", inputs: ["x"], outputs: ["y"])], input: [1, 1])
    open.graph.inputs = [ValueInfo("x", .float32, dimensions: [.named("N"), .fixed(4)])]
    #expect(try shape(open, "y") == [1, 4])
    #expect(try ShapeInference.infer(open, inputs: ["x": [7, 4]])["y"]?.shape == [7, 4])
    open.graph.inputs = [ValueInfo("x", .float32, dimensions: [.named("N"), .unknown])]
    let error = failure { _ = try ShapeInference.infer(open, inputs: [:]) }
    #expect(error?.message == "the model leaves the shape of input \"x\" open (Nx?)")
    #expect(error?.remedy?.contains("--input x=") == true)
  }

  @Test("input shapes that contradict the model are refused")
  func contradictions() {
    let fixed = model([Node("Relu", name: "r", inputs: ["x"], outputs: ["y"])], input: [1, 4])
    let wrong = failure { _ = try ShapeInference.infer(fixed, inputs: ["x": [1, 5]]) }
    #expect(
      wrong?.message
        == "the shape 1x5 for input \"x\" contradicts the model, which says 1x4")
    let misspelt = failure { _ = try ShapeInference.infer(fixed, inputs: ["X": [1, 4]]) }
    #expect(misspelt?.message == "the model has no input \"X\"; did you mean \"x\"?")
    let zero = failure { _ = try ShapeInference.infer(fixed, inputs: ["x": [0, 4]]) }
    #expect(zero?.kind == .data)
  }

  @Test("shapes that an operator cannot take are refused with its name")
  func refusals() {
    let model = model(
      [Node("Conv", name: "first", inputs: ["x", "w"], outputs: ["y"])], input: [1, 4, 8, 8],
      constants: [("w", Self.zeros([8, 3, 3, 3]))])
    let error = failure { _ = try ShapeInference.infer(model, inputs: [:]) }
    #expect(error?.kind == .data)
    #expect(error?.place == .node("first"))
    #expect(error?.message.hasPrefix("the Conv node \"first\" cannot be applied") == true)
  }

  @Test("an operator without a rule leaves a gap that is only an error where it matters")
  func gaps() throws {
    var gap = model(
      [
        Node("Unheard", name: "odd", inputs: ["x"], outputs: ["o"]),
        Node("Relu", name: "r", inputs: ["o"], outputs: ["p"]),
        Node("Neg", name: "n", inputs: ["x"], outputs: ["y"]),
      ], input: [2, 3])
    let types = try ShapeInference.infer(gap, inputs: [:])
    #expect(types["o"] == nil)
    #expect(types["p"] == nil)
    #expect(types["y"]?.shape == [2, 3])
    let error = ShapeInference.missing("p", in: gap, types: types)
    #expect(error.place == .node("odd"))
    #expect(error.message.contains("the Unheard node \"odd\""))
    gap.graph.values = [ValueInfo("o", .float32, dimensions: [.fixed(6)])]
    #expect(try shape(gap, "p") == [6])
  }

  @Test("element types follow the operators")
  func elementTypes() throws {
    let model = model(
      [
        Node("QuantizeLinear", name: "q", inputs: ["x", "s", "z"], outputs: ["q"]),
        Node("DequantizeLinear", name: "d", inputs: ["q", "s", "z"], outputs: ["d"]),
        Node(
          "Cast", name: "c", inputs: ["d"], outputs: ["c"], attributes: [Attribute("to", .int(10))]),
        Node("Equal", name: "e", inputs: ["d", "x"], outputs: ["e"]),
        Node("ArgMax", name: "a", inputs: ["x"], outputs: ["y"]),
      ], input: [2],
      constants: [
        ("s", Tensor(floats: [1], shape: [])),
        ("z", Tensor(.int8, shape: [], values: [0] as [Int8])),
      ])
    let types = try ShapeInference.infer(model, inputs: [:]).mapValues(\.elementType)
    #expect(types["q"] == .int8)
    #expect(types["d"] == .float32)
    #expect(types["c"] == .float16)
    #expect(types["e"] == .bool)
    #expect(types["y"] == .int64)
  }
}
