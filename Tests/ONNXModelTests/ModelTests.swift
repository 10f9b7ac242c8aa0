// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import ONNXModel
import Tensors
import TestSupport
import Testing

@Suite("Model")
struct ModelTests {
  /// Every message of a file with a field that Quench does not know, in canonical order.
  static let strange = proto { model in
    model.varint(1, 8)
    model.text(2, "maker")
    model.message(7) { graph in
      graph.message(1) { node in
        node.text(1, "x")
        node.text(1, "w")
        node.text(2, "y")
        node.text(3, "sum")
        node.text(4, "Add")
        node.message(5) { attribute in
          attribute.text(1, "note")
          attribute.bytes(4, [0xFF, 0x00])
          attribute.varint(20, 3)
          attribute.text(21, "reference")
        }
        node.bytes(6, [0xC3, 0x28])
        node.text(8, "overload")
      }
      graph.text(2, "g")
      graph.message(5) { tensor in
        tensor.varint(1, 1)
        tensor.varint(2, 1)
        tensor.text(8, "w")
        tensor.bytes(9, [0, 0, 0x80, 0x3F])
        tensor.text(16, "metadata")
      }
      graph.message(11) { value in
        value.text(1, "x")
        value.message(2) { type in
          type.message(1) { tensor in
            tensor.varint(1, 1)
            tensor.message(2) { shape in
              shape.message(1) {
                $0.varint(1, 1)
                $0.text(3, "BATCH")
              }
            }
          }
          type.text(6, "IMAGE")
        }
        value.text(4, "metadata")
      }
      graph.message(12) { $0.text(1, "y") }
      graph.text(14, "quantization annotation")
    }
    model.message(8) {
      $0.text(1, "")
      $0.varint(2, 13)
    }
    model.message(20) { $0.text(1, "training") }
    model.varint(1000, 7)
  }

  @Test("a file with unknown fields comes back byte for byte")
  func roundTrip() throws {
    let model = try Model.decode(ModelTests.strange, path: "m.onnx")
    #expect(try model.encode() == ModelTests.strange)
    #expect(model.producer == "maker")
    #expect(model.opset == 13)
    #expect(try model.graph.initializer("w")?.tensor().floats == [1])
  }

  @Test("unknown fields survive an edit next to them")
  func editKeepsUnknown() throws {
    var model = try Model.decode(ModelTests.strange, path: "m.onnx")
    model.graph.nodes[0].name = "mus"
    var expected = ModelTests.strange
    let place = try #require(
      expected.indices.first { expected[$0...].starts(with: Array("sum".utf8)) })
    expected.replaceSubrange(place..<(place + 3), with: Array("mus".utf8))
    #expect(try model.encode() == expected)
  }

  @Test("what is set is what is read back")
  func writeAndRead() throws {
    let space = TemporarySpace()
    var model = normalizedConvolution()
    model.metadata = ["b": "2", "a": "1"]
    model.opsets["com.microsoft"] = 1
    model.producer = "tests"
    model.graph.nodes[0].set("pads", .ints([0, 0, 0, 0]))
    model.graph.nodes[0].set("auto_pad", .string("NOTSET"))
    try model.write(to: space.path("m.onnx"))
    let read = try Model.read(space.path("m.onnx"))
    #expect(read.metadata == model.metadata)
    #expect(read.opsets == model.opsets)
    #expect(read.producer == "tests")
    #expect(read.graph == model.graph)
    #expect(read.graph.nodes[0].ints("pads") == [0, 0, 0, 0])
    #expect(read.graph.nodes[0].string("auto_pad") == "NOTSET")
    #expect(read.graph.nodes[1].float("epsilon", default: 1) == 0)
    #expect(read.graph.nodes[1].int("epsilon", default: 9) == 9)
    #expect(try read.encode() == model.encode())
  }

  @Test("elements are read from typed lists as from raw data", arguments: [false, true])
  func typedData(_ isPacked: Bool) throws {
    let bytes = proto { model in
      model.varint(1, 8)
      model.message(7) { graph in
        graph.message(5) { tensor in
          tensor.varint(1, 3)
          tensor.varint(2, 3)  // int8, held in int32_data
          if isPacked {
            tensor.bytes(5, [5, 0, 1])
          } else {
            for value in [5, 0, 1] { tensor.varint(5, value) }
          }
          tensor.text(8, "t")
        }
      }
      model.message(8) { $0.varint(2, 13) }
    }
    let tensor = try Model.decode(bytes, path: "m.onnx").graph.initializer("t")?.tensor()
    #expect(tensor == Tensor(.int8, shape: [3], values: [5, 0, 1] as [Int8]))
  }

  @Test("a missing file is no input, named with the system's reason")
  func missing() {
    let error = failure { _ = try Model.read("/nowhere/m.onnx") }
    #expect(error?.kind == .noInput)
    #expect(error?.message.contains("No such file") == true)
  }

  @Test(
    "what is not an ONNX file is refused",
    arguments: [
      (Array("#!/bin/sh\necho hello\n".utf8), "the file is"),
      ([], "the file is empty"),
      ([0x08, 0x08], "the file is not an ONNX model"),
      ([0x80], "the file is"),
      ([0x3A, 0x05, 0x00], "the file is truncated or not an ONNX model"),
    ] as [([UInt8], String)])
  func notONNX(_ bytes: [UInt8], _ message: String) {
    let error = failure { _ = try Model.decode(bytes, path: "m.onnx") }
    #expect(error?.kind == .data)
    #expect(error?.message.hasPrefix(message) == true)
    #expect(error?.place == .file("m.onnx"))
  }
}
