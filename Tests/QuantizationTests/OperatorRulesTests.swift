// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import ONNXModel
import Quantization
import Tensors
import Testing

@Suite("Operator rules")
struct OperatorRulesTests {
  @Test("the layers of a network come in order, with their axes, sizes and work")
  func network() throws {
    let layers = try OperatorRules.layers(of: TinyModels.network())
    #expect(layers.map(\.name) == ["conv1", "dw", "fc"])
    #expect(layers.map(\.kind) == [.convolution, .convolution, .fullConnection])
    #expect(layers.map(\.input) == ["x", "r", "f"])
    #expect(layers.map(\.bias) == ["b1", "b2", "b3"])
    #expect(layers.map(\.channelAxis) == [0, 0, 0])
    #expect(layers.map(\.channels) == [6, 6, 5])
    #expect(layers.map(\.group) == [1, 6, 1])
    #expect(layers.map(\.reductionLength) == [36, 9, 6])
    // 6 maps of 6×6 of 4·9 products; 6 maps of 6×6 of 9; 5 sums of 6.
    #expect(layers.map(\.macs) == [7776, 1944, 30])
  }

  @Test("a MatMul with a constant and the Add of a constant vector are one layer")
  func matMul() throws {
    let weight = TinyModels.numbers(6, seed: 1)
    let alone = try OperatorRules.layers(of: TinyModels.matMul(weight: weight, shape: [2, 3]))
    #expect(alone.map(\.output) == ["y"])
    #expect(alone.map(\.bias) == [nil])
    let both = try OperatorRules.layers(
      of: TinyModels.matMul(weight: weight, shape: [2, 3], bias: [1, 2, 3]))
    #expect(both.map(\.name) == ["mm"])
    #expect(both.map(\.output) == ["y"])
    #expect(both.map(\.bias) == ["b"])
    #expect(both.map(\.biasNode) == ["mm_add"])
    #expect(both.map(\.channelAxis) == [1])
    #expect(both.map(\.macs) == [6])
  }

  @Test("an Add is its own operator when something else reads the product too")
  func sharedProduct() throws {
    var model = TinyModels.matMul(
      weight: TinyModels.numbers(6, seed: 1), shape: [2, 3], bias: [1, 2, 3])
    model.graph.outputs.append(ValueInfo("m", .float32, shape: [1, 3]))
    let layers = try OperatorRules.layers(of: model)
    #expect(layers.map(\.bias) == [nil])
    #expect(layers.map(\.output) == ["m"])
  }

  @Test("what the target cannot compute in INT8 is no layer")
  func excluded() throws {
    func layers(_ edit: (inout Node) -> Void) throws -> [String] {
      var model = TinyModels.network()
      edit(&model.graph.nodes[6])
      return try OperatorRules.layers(of: model).map(\.name)
    }
    #expect(try layers { $0.set("alpha", .float(0.5)) } == ["conv1", "dw"])
    #expect(try layers { $0.set("beta", .float(0.5)) } == ["conv1", "dw"])
    #expect(try layers { $0.set("transA", .int(1)) } == ["conv1", "dw"])
    #expect(try layers { $0.inputs[1] = "f" } == ["conv1", "dw"])
    #expect(try layers { $0.domain = "com.example" } == ["conv1", "dw"])
  }

  @Test("two layers of one name are refused")
  func duplicate() throws {
    var model = TinyModels.network()
    model.graph.nodes[2].name = "conv1"
    let error = try #require(throws: QuenchError.self) { try OperatorRules.layers(of: model) }
    #expect(error.message == "two layers are named \"conv1\"")
  }

  @Test("the tensor list names each tensor once and survives its file")
  func tensorList() throws {
    var model = TinyModels.network()
    // A second layer that reads the Relu's result.
    model.graph.nodes[3] = Node(
      "Conv", name: "again", inputs: ["r", "w2", "b2"], outputs: ["a"],
      attributes: model.graph.nodes[2].attributes)
    let list = try TensorList.make(for: model, digest: "abc")
    #expect(list.tensors == ["x", "r", "f"])
    #expect(list.layers.map(\.name) == ["conv1", "dw", "again", "fc"])
    #expect(list.model == "abc")
  }
}
