// SPDX-License-Identifier: Apache-2.0
// What the ONNX operator specification says about versions 7 to 13.

import Diagnostics
import ONNXModel
import Tensors
import Testing

@Suite("OpsetRaise")
struct OpsetRaiseTests {
  private func fold(
    _ node: Node, input: [Int], constants: [(String, Tensor)] = [], opset: Int64
  ) throws -> Model {
    try Folding.fold(
      model([node], input: input, constants: constants, opset: opset), inputs: [:])
  }

  private func values(_ model: Model, _ input: Int) throws -> Tensor? {
    try model.graph.initializer(model.graph.nodes[0].inputs[input])?.tensor()
  }

  @Test("a model below 13 becomes one of 13, others keep their opset")
  func version() throws {
    let node = Node("Relu", name: "r", inputs: ["x"], outputs: ["y"])
    for (opset, expected) in [(7, 13), (12, 13), (13, 13), (17, 17)] as [(Int64, Int64)] {
      let folded = try fold(node, input: [1], opset: opset)
      #expect(folded.opset == expected)
      #expect(folded.irVersion >= 7)
    }
  }

  @Test("limits, pads, axes and slices become inputs")
  func attributes() throws {
    let clip = try fold(
      Node(
        "Clip", name: "n", inputs: ["x"], outputs: ["y"], attributes: [Attribute("max", .float(6))]),
      input: [1], opset: 10)
    #expect(clip.graph.nodes[0].attributes.isEmpty)
    #expect(clip.graph.nodes[0].inputs[1].isEmpty)
    #expect(try values(clip, 2) == Tensor(floats: [6], shape: []))

    let pad = try fold(
      Node(
        "Pad", name: "n", inputs: ["x"], outputs: ["y"],
        attributes: [Attribute("pads", .ints([1, 2])), Attribute("value", .float(3))]),
      input: [4], opset: 9)
    #expect(try values(pad, 1) == ints([1, 2]))
    #expect(try values(pad, 2) == Tensor(floats: [3], shape: []))
    #expect(pad.graph.outputs[0].fixedShape == [7])

    let squeeze = try fold(
      Node(
        "Squeeze", name: "n", inputs: ["x"], outputs: ["y"],
        attributes: [Attribute("axes", .ints([0]))]), input: [1, 4, 1], opset: 11)
    #expect(try values(squeeze, 1) == ints([0]))
    #expect(squeeze.graph.outputs[0].fixedShape == [4, 1])

    let slice = try fold(
      Node(
        "Slice", name: "n", inputs: ["x"], outputs: ["y"],
        attributes: [Attribute("starts", .ints([1])), Attribute("ends", .ints([3]))]),
      input: [4, 2], opset: 9)
    #expect(slice.graph.outputs[0].fixedShape == [2, 2])
    #expect(slice.graph.nodes[0].attributes.isEmpty)
  }

  @Test("softmax over several axes at once is kept by flattening")
  func softmax() throws {
    let node = Node("Softmax", name: "soft", inputs: ["x"], outputs: ["y"])
    let wide = try fold(node, input: [2, 3, 4], opset: 12)
    #expect(wide.graph.nodes.map(\.opType) == ["Reshape", "Softmax", "Reshape"])
    #expect(wide.graph.nodes[1].name == "soft")
    #expect(wide.graph.nodes[1].int("axis", default: 0) == -1)
    #expect(wide.graph.values.first?.fixedShape == [2, 12])
    #expect(wide.graph.outputs[0].fixedShape == [2, 3, 4])
    let narrow = try fold(node, input: [2, 3, 1, 1], opset: 12)
    #expect(narrow.graph.nodes.map(\.opType) == ["Softmax"])
    #expect(narrow.graph.nodes[0].int("axis", default: 0) == 1)
  }

  @Test("Upsample becomes the Resize that places samples alike")
  func upsample() throws {
    let folded = try fold(
      Node(
        "Upsample", name: "up", inputs: ["x"], outputs: ["y"],
        attributes: [
          Attribute("scales", .floats([1, 1, 2, 2])), Attribute("mode", .string("nearest")),
        ]), input: [1, 1, 2, 2], opset: 7)
    let node = folded.graph.nodes[0]
    #expect(node.opType == "Resize")
    #expect(node.name == "up")
    #expect(node.string("coordinate_transformation_mode") == "asymmetric")
    #expect(node.string("nearest_mode") == "floor")
    #expect(try values(folded, 2)?.floats == [1, 1, 2, 2])
    #expect(folded.graph.outputs[0].fixedShape == [1, 1, 4, 4])
  }

  @Test("what has no counterpart is refused by name")
  func refusals() {
    let node = Node("ImageScaler", name: "scaler", inputs: ["x"], outputs: ["y"])
    let error = failure { _ = try fold(node, input: [1], opset: 8) }
    #expect(error?.place == .node("scaler"))
    #expect(error?.message.contains("ImageScaler node \"scaler\" of opset 8") == true)
  }

  @Test("bodies are raised too")
  func bodies() throws {
    let body = Graph(
      name: "body",
      nodes: [
        Node(
          "Unsqueeze", name: "u", inputs: ["x"], outputs: ["b"],
          attributes: [Attribute("axes", .ints([0]))])
      ], outputs: [ValueInfo("b", .float32, shape: [1, 1])])
    let folded = try fold(
      Node(
        "If", name: "if", inputs: ["yes"], outputs: ["y"],
        attributes: [
          Attribute("then_branch", .graph(body)), Attribute("else_branch", .graph(body)),
        ]), input: [1],
      constants: [("yes", Tensor(.bool, shape: [], values: [1] as [UInt8]))], opset: 11)
    guard case .graph(let raised)? = folded.graph.nodes[0][attribute: "else_branch"]?.value else {
      Issue.record("the body is gone")
      return
    }
    #expect(raised.nodes[0].attributes.isEmpty)
    #expect(try raised.initializer(raised.nodes[0].inputs[1])?.tensor() == ints([0]))
  }
}
