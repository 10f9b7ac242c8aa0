// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import ONNXModel
import Tensors
import Testing

@Suite("ModelCheck")
struct ModelCheckTests {
  private func refusal(_ edit: (inout Model) -> Void) throws -> QuenchError? {
    var model = normalizedConvolution()
    edit(&model)
    let bytes = try model.encode()
    return failure { _ = try Model.decode(bytes, path: "m.onnx") }
  }

  @Test("operator sets 7 to 22 are read, others refused by number")
  func opsets() throws {
    for opset in [7, 13, 22] as [Int64] {
      #expect(try refusal { $0.opsets[""] = opset } == nil)
    }
    for opset in [0, 6, 23] as [Int64] {
      let error = try refusal { $0.opsets[""] = opset }
      #expect(error?.kind == .data)
      #expect(error?.message.contains("operator set \(opset) is not supported") == true)
    }
    #expect(
      try refusal { $0.opsets = [:] }?.message.contains("does not say which operator set") == true)
  }

  @Test("a domain must be imported and known")
  func domains() throws {
    let absent = try refusal { $0.graph.nodes[2].domain = "com.microsoft" }
    #expect(absent?.message.contains("which the model does not import") == true)
    let unknown = try refusal {
      $0.graph.nodes[2].domain = "com.micrsoft"
      $0.opsets["com.micrsoft"] = 1
    }
    #expect(unknown?.message.hasSuffix("did you mean \"com.microsoft\"?") == true)
    #expect(unknown?.place == .node("relu"))
    let known = try refusal {
      $0.graph.nodes[2].domain = "com.microsoft"
      $0.opsets["com.microsoft"] = 1
    }
    #expect(known == nil)
  }

  @Test("a tensor that nothing makes is named with the nearest that exists")
  func inputs() throws {
    let error = try refusal { $0.graph.nodes[1].inputs[1] = "gama" }
    #expect(
      error?.message
        == "the BatchNormalization node \"norm\" reads \"gama\", which nothing makes; "
        + "did you mean \"gamma\"?")
    let output = try refusal { $0.graph.outputs[0].name = "z" }
    #expect(output?.message.hasPrefix("no node makes the graph's output \"z\"") == true)
  }

  @Test("nodes out of order are refused")
  func order() throws {
    let error = try refusal { $0.graph.nodes.swapAt(1, 2) }
    #expect(error?.message.contains("before it is made") == true)
    #expect(error?.place == .node("relu"))
  }

  @Test("a tensor made twice is refused")
  func duplicates() throws {
    let node = try refusal { $0.graph.nodes[2].outputs = ["n"] }
    #expect(node?.message.contains("\"n\" is made twice") == true)
    let constant = try refusal { $0.graph.initializers.append($0.graph.initializers[0]) }
    #expect(constant?.message == "the constant \"w\" is there twice")
  }

  @Test("all faults are told at once")
  func together() throws {
    let error = try refusal {
      $0.opsets[""] = 99
      $0.graph.nodes[1].inputs[1] = "gama"
    }
    #expect(error?.message.hasPrefix("the model has 2 faults: ") == true)
    #expect(error?.place == .file("m.onnx"))
  }

  @Test("data that does not fill its shape is refused")
  func dataLength() {
    let bytes = proto { model in
      model.varint(1, 8)
      model.message(7) { graph in
        graph.message(5) { tensor in
          tensor.varint(1, 1 << 40)
          tensor.varint(1, 1 << 40)
          tensor.varint(2, 1)
          tensor.text(8, "huge")
          tensor.bytes(9, [0, 0, 0, 0])
        }
        graph.message(5) { tensor in
          tensor.varint(1, -1)
          tensor.varint(2, 1)
          tensor.text(8, "negative")
        }
        graph.message(5) { tensor in
          tensor.varint(1, 2)
          tensor.varint(2, 1)
          tensor.text(8, "short")
          tensor.bytes(9, [0, 0, 0, 0])
        }
      }
      model.message(8) { $0.varint(2, 13) }
    }
    let message = failure { _ = try Model.decode(bytes, path: "m.onnx") }?.message ?? ""
    #expect(message.contains("the model has 3 faults"))
    #expect(message.contains("constant \"huge\": shape [1099511627776, 1099511627776]"))
    #expect(message.contains("constant \"negative\": shape [-1] is not possible"))
    #expect(message.contains("constant \"short\": 4 bytes of data do not fill"))
  }

  @Test("a body may read the graph around it, but not what comes later")
  func bodies() throws {
    func conditional(_ read: String) -> Model {
      let body = Graph(
        name: "body", nodes: [Node("Relu", name: "r", inputs: [read], outputs: ["b"])],
        outputs: [ValueInfo("b", .float32, shape: [1])])
      return model(
        [
          Node("Neg", name: "neg", inputs: ["x"], outputs: ["a"]),
          Node(
            "If", name: "if", inputs: ["yes"], outputs: ["i"],
            attributes: [
              Attribute("then_branch", .graph(body)), Attribute("else_branch", .graph(body)),
            ]),
          Node("Neg", name: "late", inputs: ["i"], outputs: ["y"]),
        ], input: [1], constants: [("yes", Tensor(.bool, shape: [], values: [1] as [UInt8]))])
    }
    let good = try Model.decode(conditional("a").encode(), path: "m.onnx")
    #expect(good.graph.consumers()["a"] == [1])
    let bytes = try conditional("y").encode()
    #expect(failure { _ = try Model.decode(bytes, path: "m") }?.message.contains("\"y\"") == true)
  }
}
