// SPDX-License-Identifier: Apache-2.0

import Calibration
import ONNXModel
import Quantization
import Tensors
import Testing

@Suite("Deploy model")
struct DeployModelTests {
  @Test("AscendQuant stands before and AscendDequant after each INT8 layer, under its name")
  func placement() throws {
    let model = try TinyModels.quantized(TinyModels.network(), TinyModels.networkTensors).deploy()
    #expect(
      QDQModelTests.listing(model) == [
        "AscendQuant conv1.quant: x -> conv1.quant.output0",
        "Conv conv1: conv1.quant.output0,w1,b1 -> conv1.output0",
        "AscendDequant conv1.dequant: conv1.output0,conv1.dequant.param -> c",
        "Relu relu: c -> r",
        "AscendQuant dw.quant: r -> dw.quant.output0",
        "Conv dw: dw.quant.output0,w2,b2 -> dw.output0",
        "AscendDequant dw.dequant: dw.output0,dw.dequant.param -> d",
        "Add add: d,r -> a",
        "GlobalAveragePool pool: a -> p",
        "Flatten flatten: p -> f",
        "AscendQuant fc.quant: f -> fc.quant.output0",
        "Gemm fc: fc.quant.output0,w3,b3 -> fc.output0",
        "AscendDequant fc.dequant: fc.output0,fc.dequant.param -> y",
      ])
  }

  @Test("attributes and constants are those that Ascend's tools read")
  func details() throws {
    let quantized = try TinyModels.quantized(TinyModels.network(), TinyModels.networkTensors)
    let model = quantized.deploy()
    let quant = model.graph.nodes[0]
    #expect(quant.attributes.map(\.name) == ["scale", "offset", "dst_type"])
    // The reciprocal of 0.015625.
    #expect(quant.attributes.map(\.value) == [.float(64), .float(3), .string("INT8")])
    #expect(model.graph.nodes[2].attributes == [Attribute("dtype", .int(0))])
    func constant(_ name: String) throws -> Tensor {
      try #require(model.graph.initializer(name)).tensor()
    }
    #expect(try constant("w1").elementType == .int8)
    #expect(try constant("w1").shape == [6, 4, 3, 3])
    #expect(try constant("b1").elementType == .int32)
    let parameter = try constant("conv1.dequant.param")
    #expect(parameter.elementType == .uint64)
    #expect(parameter.shape == [6])
    #expect(
      parameter.values(as: UInt64.self)
        == quantized.layers[0].outputScales.map { UInt64($0.bitPattern) })
    #expect(try constant("fc.dequant.param").shape == [1])
    #expect(model.graph.initializers.count == 9)
  }

  @Test("integers are those of the QDQ model")
  func sameIntegers() throws {
    let quantized = try TinyModels.quantized(TinyModels.network(), TinyModels.networkTensors)
    let (qdq, deploy) = (quantized.qdq().graph, quantized.deploy().graph)
    for (ours, theirs) in [
      ("w1_quantized", "w1"), ("w3_quantized", "w3"), ("conv1_bias_quantized", "b1"),
      ("fc_bias_quantized", "b3"),
    ] {
      #expect(try qdq.initializer(ours)?.tensor() == deploy.initializer(theirs)?.tensor())
    }
  }

  @Test("a MatMul and its Add are dequantized after the Add, whose vector becomes INT32")
  func matMul() throws {
    let model = try TinyModels.quantized(
      TinyModels.matMul(weight: [127, 0, 0, 127], shape: [2, 2], bias: [1, -2]),
      ["x": TinyModels.tensor(scale: 0.5, zeroPoint: -1)]
    ).deploy()
    #expect(
      QDQModelTests.listing(model) == [
        "AscendQuant mm.quant: x -> mm.quant.output0",
        "MatMul mm: mm.quant.output0,w -> m",
        "Add mm_add: b,m -> mm.output0",
        "AscendDequant mm.dequant: mm.output0,mm.dequant.param -> y",
      ])
    let bias = try #require(model.graph.initializer("b")).tensor()
    #expect(bias.values(as: Int32.self) == [2, -4])
    #expect(bias.shape == [1, 2])
    #expect(model.graph.values.first { $0.name == "m" }?.elementType == .int32)
  }

  @Test("weights and biases that others read are copied, not replaced")
  func sharing() throws {
    let model = QDQModelTests.twins()
    let both = try TinyModels.quantized(model, TinyModels.networkTensors).deploy()
    #expect(
      QDQModelTests.listing(both).contains(
        "Conv twin: twin.quant.output0,w2,twin.bias -> twin.output0"))
    let scales = try TinyModels.scales(of: model, TinyModels.networkTensors)
    let config = try CalibrationConfig.make(
      model: model, scales: scales, sensitivity: nil,
      overrides: PrecisionOptions(keepFP16: ["twin"]))
    let mixed = try QuantizeGraph.deploy(model, config: config, scales: scales)
    let listing = QDQModelTests.listing(mixed)
    #expect(listing.contains("Conv dw: dw.quant.output0,dw.weight,dw.bias -> dw.output0"))
    #expect(listing.contains("Conv twin: r,w2,b2 -> e"))
    #expect(try mixed.graph.initializer("w2")?.tensor().elementType == .float32)
  }

  @Test("a grouped ConvTranspose has one parameter for every output channel")
  func groups() throws {
    let quantized = try TinyModels.quantized(
      TinyModels.upscaling(), ["x": TinyModels.tensor(scale: 0.5, zeroPoint: 0)])
    #expect(quantized.weights[0].scale.axis == 1)
    #expect(quantized.weights[0].scale.scales.count == 3)
    let parameters = try #require(
      quantized.deploy().graph.initializer("up.dequant.param")
    ).tensor().values(as: UInt64.self)
    #expect(parameters.count == 6)
    #expect(Array(parameters[0..<3]) == Array(parameters[3..<6]))
    // 4·9 inputs, each spread to 3 channels by 2·2 weights.
    #expect(quantized.layers[0].layer.macs == 4 * 9 * 3 * 4)
    #expect(
      String(decoding: RecordFile.encode(quantized), as: UTF8.self)
        .split(separator: "\n").count { $0.contains("scale_w") } == 6)
  }

  @Test("the record file holds each INT8 layer's factors as protobuf text")
  func record() throws {
    var model = TinyModels.matMul(weight: [127, 0, 0, 254], shape: [2, 2])
    model.graph.nodes[0].name = "a\"b\\é"
    let quantized = try TinyModels.quantized(
      model, ["x": TinyModels.tensor(scale: 1e-05, zeroPoint: -12)])
    #expect(
      String(decoding: RecordFile.encode(quantized), as: UTF8.self) == #"""
        record {
          key: "a\"b\\\303\251"
          value {
            scale_d: 1e-05
            offset_d: -12
            scale_w: 2.0
            offset_w: 0
            skip_fusion: false
          }
        }

        """#)
  }
}
