// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import ONNXModel
import Tensors
import Testing

@Suite("GraphEdit")
struct GraphEditTests {
  @Test("a node put behind a tensor feeds its readers")
  func insertion() throws {
    var graph = normalizedConvolution().graph
    graph.insert(
      Node("Neg", name: "neg", inputs: ["c"], outputs: ["c2"]), after: "c", output: "c2")
    #expect(graph.nodes.map(\.name) == ["conv", "neg", "norm", "relu"])
    #expect(graph.nodes[1].inputs == ["c"])
    #expect(graph.nodes[2].inputs.first == "c2")
  }

  @Test("only the chosen readers are switched; a graph input gets the node at the front")
  func chosenReaders() {
    var graph = model(
      [
        Node("Neg", name: "a", inputs: ["x"], outputs: ["a"]),
        Node("Add", name: "b", inputs: ["x", "a"], outputs: ["y"]),
      ], input: [1]
    ).graph
    graph.insert(
      Node("Abs", name: "abs", inputs: ["x"], outputs: ["x2"]), after: "x", output: "x2",
      readers: [1])
    #expect(graph.nodes.map(\.inputs) == [["x"], ["x"], ["x2", "a"]])
  }

  @Test("renaming reaches producers, readers, bodies, outputs and constants")
  func renaming() {
    let body = Graph(
      name: "body", nodes: [Node("Add", name: "r", inputs: ["a", "local"], outputs: ["b"])],
      initializers: [Initializer("local", floats([1]))],
      outputs: [ValueInfo("b", .float32, shape: [1])])
    var graph = model(
      [
        Node("Add", name: "neg", inputs: ["x", "k"], outputs: ["a"]),
        Node(
          "If", name: "if", inputs: ["yes"], outputs: ["y"],
          attributes: [Attribute("then_branch", .graph(body))]),
      ], input: [1], constants: [("k", floats([1])), ("yes", floats([1]))]
    ).graph
    graph.renameTensors(["a": "a2", "y": "z", "k": "k2", "local": "never"])
    #expect(graph.nodes[0].inputs == ["x", "k2"])
    #expect(graph.nodes[0].outputs == ["a2"])
    #expect(graph.outputs[0].name == "z")
    #expect(graph.initializer("k2") != nil)
    #expect(graph.consumers()["a2"] == [1])
    guard case .graph(let renamed)? = graph.nodes[1][attribute: "then_branch"]?.value else {
      Issue.record("the body is gone")
      return
    }
    // The body's own constant is another tensor, whatever its name.
    #expect(renamed.nodes[0].inputs == ["a2", "local"])
  }

  @Test("what nothing needs is removed")
  func deadCode() {
    var graph = normalizedConvolution().graph
    graph.nodes.append(Node("Abs", name: "dead", inputs: ["n"], outputs: ["d"]))
    graph.nodes.append(Node("Abs", name: "deader", inputs: ["d"], outputs: ["e"]))
    graph.setInitializer(Initializer("unused", floats([1])))
    graph.values = [
      ValueInfo("d", .float32, shape: [1]), ValueInfo("c", .float32, shape: [1]),
    ]
    let inputs = graph.inputs
    graph.inputs.append(ValueInfo("unused", .float32, shape: [1]))
    graph.removeDead()
    #expect(graph.nodes.map(\.name) == ["conv", "norm", "relu"])
    #expect(graph.initializer("unused") == nil)
    #expect(graph.inputs == inputs)
    #expect(graph.initializers.count == 5)
    #expect(graph.values.map(\.name) == ["c"])
  }

  @Test("sorting restores the order and finds cycles")
  func sorting() throws {
    var graph = normalizedConvolution().graph
    graph.nodes.reverse()
    try graph.sortTopologically()
    #expect(graph.nodes.map(\.name) == ["conv", "norm", "relu"])
    graph.nodes[0].inputs[0] = "y"
    let error = failure { try graph.sortTopologically() }
    #expect(error?.place == .node("conv"))
  }

  @Test("a fresh name is not in use")
  func freshNames() {
    let graph = normalizedConvolution().graph
    #expect(graph.freshName("new") == "new")
    #expect(graph.freshName("w") == "w_1")
    #expect(graph.freshName("conv") == "conv_1")
  }
}
