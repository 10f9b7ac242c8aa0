// SPDX-License-Identifier: Apache-2.0
// CompilationTests: a QDQ model into an OM file and back.

import Compilation
import Diagnostics
import ONNXModel
import Tensors
import Testing

@Suite("Host compiler")
struct HostCompilerTests {
  private func decoded(_ model: Model = TinyModels.model()) throws -> Model {
    let bytes = try TinyModels.host(model).encode()
    return try HostModel.decode(OMFile.decode(bytes, path: "tiny.om"))
  }

  private func tensor(_ model: Model, _ name: String) throws -> Tensor {
    try #require(model.graph.initializer(name)).tensor()
  }

  @Test("the file says in three places that it is host-built")
  func marks() throws {
    let bytes = try TinyModels.host().encode()
    let file = try OMFile.decode(bytes, path: "tiny.om")
    #expect(file.isHostBuilt)
    #expect(file.header.userInfo == "HOST-BUILT, NO DEVICE CODE")
    #expect(file.header.platformVersion == "quench-host-1")
    let summary = try OMSummary(file)
    #expect(summary.isHostBuilt)
    #expect(summary.text().hasPrefix("HOST-BUILT  made by quench without a compiler"))
    #expect(summary.soc == "Ascend310P3")
    var stripped = file
    stripped.header.userInfo = ""
    stripped.header.platformVersion = ""
    #expect(try OMFile.decode(stripped.encode(), path: "tiny.om").isHostBuilt)
  }

  @Test("the operator map names what runs in INT8 and what in FP16")
  func operators() throws {
    let summary = try OMSummary(TinyModels.host()).models[0]
    let map = summary.operators.map { "\($0.name) \($0.type) \($0.precision ?? "-")" }
    #expect(
      map == [
        "x Data -", "x_q AscendQuant -", "x_dq AscendAntiQuant -", "conv Conv2D INT8",
        "relu Relu FP16", "last Conv2D FP16", "NetOutput NetOutput -",
      ])
    #expect(summary.inputs.map(\.shape) == [[1, 2, 3, 3]])
    #expect(summary.outputs.map(\.name) == ["y"])
    // 72 weights; 4 biases; 64 float16 weights; 4 step sizes (those of the biases follow).
    #expect(summary.constants.bytes == ["INT8": 72, "INT32": 16, "FLOAT16": 128, "FLOAT": 16])
  }

  @Test("the model comes back with the same numbers")
  func same() throws {
    let source = TinyModels.model()
    let back = try decoded(source)
    #expect(
      back.graph.nodes.map(\.opType) == [
        "QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "DequantizeLinear", "Conv",
        "Relu", "Cast", "Conv",
      ])
    #expect(back.graph.inputs.map(\.name) == ["x"])
    #expect(back.graph.outputs.first?.fixedShape == [1, 16, 3, 3])
    #expect(back.opsets == source.opsets)
    for (new, old) in [
      ("x_q_scale", "x_s"), ("x_q_zero_point", "x_z"), ("w_hat_quantized", "w"),
      ("w_hat_scale", "w_s"), ("b_hat_quantized", "b"), ("b_hat_scale", "b_s"),
    ] {
      #expect(try tensor(back, new) == tensor(source, old), "\(new)")
    }
    let conv = try #require(back.graph.nodes.first { $0.name == "conv" })
    #expect(conv.inputs == ["x_hat", "w_hat", "b_hat"])
    #expect(conv.ints("pads") == [1, 1, 1, 1])
  }

  @Test("weights of FP16 layers are rounded to float16, once")
  func halves() throws {
    let codes = try tensor(decoded(), "v_float16")
    #expect(codes.elementType == .float16)
    // 0.1 in binary16 is 0x2E66 (IEEE 754, round to nearest even), 0.11 is 0x2F0A.
    #expect(Array(codes.values(as: UInt16.self)[0..<2]) == [0x2E66, 0x2F0A])
  }

  @Test("a weight beyond float16 is clipped as atc clips it, and one that is not finite is refused")
  func extremes() throws {
    var model = TinyModels.model()
    var values = try tensor(model, "v").floats
    values[0] = 1e6
    model.graph.setInitializer(Initializer("v", Tensor(floats: values, shape: [16, 4, 1, 1])))
    // 0x7BFF is 65504, the largest finite binary16.
    #expect(try tensor(decoded(model), "v_float16").values(as: UInt16.self)[0] == 0x7BFF)
    values[0] = .nan
    model.graph.setInitializer(Initializer("v", Tensor(floats: values, shape: [16, 4, 1, 1])))
    let error = #expect(throws: QuenchError.self) { try TinyModels.host(model) }
    #expect(error?.place == .tensor("v"))
  }

  @Test("a bias whose step sizes are not the product keeps its own")
  func ownBiasScale() throws {
    let back = try decoded(TinyModels.model(biasScale: 0.5))
    #expect(try tensor(back, "b_hat_scale").floats == [0.5, 0.5, 0.5, 0.5])
  }

  @Test("equal models give equal bytes")
  func deterministic() throws {
    #expect(try TinyModels.host().encode() == TinyModels.host().encode())
  }

  @Test("compiling what came back gives the same layers")
  func fixedPoint() throws {
    // The Cast of the float16 weights is a node the second time; all else is alike.
    let again = try OMSummary(TinyModels.host(decoded())).models[0]
    let map = again.operators.filter { $0.type == "Conv2D" }.map { $0.precision ?? "-" }
    #expect(map == ["INT8", "FP16"])
  }

  @Test("names shared by nodes and tensors stay apart")
  func names() throws {
    var model = TinyModels.model()
    model.graph.nodes[4].outputs = ["conv"]
    model.graph.nodes[5].inputs = ["conv"]
    model.graph.nodes[5].name = "conv"
    let back = try decoded(model)
    let relu = try #require(back.graph.nodes.first { $0.opType == "Relu" })
    #expect(relu.inputs == ["conv"])
    #expect(Set(back.graph.nodes.map(\.name)).count == back.graph.nodes.count)
  }

  @Test("control flow is refused by name")
  func controlFlow() throws {
    var model = TinyModels.model()
    model.graph.nodes[5].set("body", .graph(Graph(name: "g")))
    let error = #expect(throws: QuenchError.self) { try TinyModels.host(model) }
    #expect(error?.kind == .data)
    #expect(error?.place == .node("relu"))
  }

  @Test("every truncation of a host-built file is an error")
  func truncated() throws {
    let bytes = try TinyModels.host().encode()
    for length in 0..<bytes.count
    where (try? OMFile.decode(Array(bytes[..<length]), path: "tiny.om")) != nil {
      Issue.record("\(length) of \(bytes.count) bytes were taken for a file")
    }
  }

  @Test("flipped bytes of a host-built file never crash the reader")
  func flipped() throws {
    let bytes = try TinyModels.host().encode()
    for position in bytes.indices {
      var broken = bytes
      broken[position] ^= 0x81
      guard let file = try? OMFile.decode(broken, path: "tiny.om") else { continue }
      _ = try? HostModel.decode(file)
      _ = try? OMSummary(file)
    }
  }

  @Test("a device's file is not executed", .enabled(if: Samples.areThere, OMFileTests.noSamples))
  func device() throws {
    let file = try OMFile.decode(Samples.bytes("hiai_ir_conv_weights.om"), path: "a.om")
    let error = #expect(throws: QuenchError.self) { try HostModel.decode(file) }
    #expect(error?.message.contains("compiled for a device") == true)
  }

  @Test(
    "a file is compared with a chip as the loader does it",
    arguments: [
      ("Ascend310P3", OMCompatibility.same),
      ("Ascend310P1", .sameArchitecture(compiled: "Ascend310P3")),
      ("Ascend910B1", .different(compiled: "Ascend310P3")),
      ("Ascend310", .different(compiled: "Ascend310P3")),
      ("BS9SX1AA", .unknown(compiled: "Ascend310P3")),
    ])
  func compatibility(name: String, expected: OMCompatibility) throws {
    let soc = try SoCTable.soc(named: name)
    #expect(try OMCompatibility.check(TinyModels.host(), for: soc) == expected)
  }
}
