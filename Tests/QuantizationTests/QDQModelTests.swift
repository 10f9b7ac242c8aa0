// SPDX-License-Identifier: Apache-2.0

import Calibration
import Diagnostics
import ONNXModel
import Quantization
import Tensors
import Testing

@Suite("QDQ model")
struct QDQModelTests {
  /// One line a node: operator, inputs, outputs.
  static func listing(_ model: Model) -> [String] {
    model.graph.nodes.map { node in
      "\(node.opType) \(node.name): \(node.inputs.joined(separator: ",")) -> "
        + node.outputs.joined(separator: ",")
    }
  }

  static func qdq(
    _ lines: String, model: Model = TinyModels.network(), plan: WeightPlan = .target,
    tensors: [String: TensorScale] = TinyModels.networkTensors
  ) throws -> Model {
    let config = try CalibrationConfig.parse(
      Array((lines + "\nunknown:Convolution:FP16:1.0:0:0\n").utf8), path: "calibration.cfg")
    return try QuantizeGraph.qdq(
      model, config: config, scales: TinyModels.scales(of: model, tensors, plan: plan))
  }

  @Test("only inputs of INT8 layers are quantized, float readers keep the float tensor")
  func placement() throws {
    let model = try TinyModels.quantized(TinyModels.network(), TinyModels.networkTensors).qdq()
    #expect(
      Self.listing(model) == [
        "QuantizeLinear x_QuantizeLinear: x,x_scale,x_zero_point -> x_quantized",
        "DequantizeLinear x_DequantizeLinear: x_quantized,x_scale,x_zero_point -> x_dequantized",
        "DequantizeLinear w1_DequantizeLinear: w1_quantized,w1_scale,w1_zero_point"
          + " -> w1_dequantized",
        "DequantizeLinear conv1_bias_DequantizeLinear: conv1_bias_quantized,conv1_bias_scale"
          + " -> conv1_bias_dequantized",
        "Conv conv1: x_dequantized,w1_dequantized,conv1_bias_dequantized -> c",
        "Relu relu: c -> r",
        "QuantizeLinear r_QuantizeLinear: r,r_scale,r_zero_point -> r_quantized",
        "DequantizeLinear r_DequantizeLinear: r_quantized,r_scale,r_zero_point -> r_dequantized",
        "DequantizeLinear w2_DequantizeLinear: w2_quantized,w2_scale,w2_zero_point"
          + " -> w2_dequantized",
        "DequantizeLinear dw_bias_DequantizeLinear: dw_bias_quantized,dw_bias_scale"
          + " -> dw_bias_dequantized",
        "Conv dw: r_dequantized,w2_dequantized,dw_bias_dequantized -> d",
        "Add add: d,r -> a",
        "GlobalAveragePool pool: a -> p",
        "Flatten flatten: p -> f",
        "QuantizeLinear f_QuantizeLinear: f,f_scale,f_zero_point -> f_quantized",
        "DequantizeLinear f_DequantizeLinear: f_quantized,f_scale,f_zero_point -> f_dequantized",
        "DequantizeLinear w3_DequantizeLinear: w3_quantized,w3_scale,w3_zero_point"
          + " -> w3_dequantized",
        "DequantizeLinear fc_bias_DequantizeLinear: fc_bias_quantized,fc_bias_scale"
          + " -> fc_bias_dequantized",
        "Gemm fc: f_dequantized,w3_dequantized,fc_bias_dequantized -> y",
      ])
    let names = Set(model.graph.initializers.map(\.name))
    #expect(names.isDisjoint(with: ["w1", "b1", "w2", "b2", "w3", "b3"]))
  }

  @Test("weights are INT8 with one scale a channel for convolutions, biases INT32 at s_x·s_w")
  func constants() throws {
    let model = try TinyModels.quantized(TinyModels.network(), TinyModels.networkTensors).qdq()
    func constant(_ name: String) throws -> Tensor {
      try #require(model.graph.initializer(name)).tensor()
    }
    #expect(try constant("w1_quantized").elementType == .int8)
    #expect(try constant("w1_quantized").shape == [6, 4, 3, 3])
    #expect(try constant("w1_scale").shape == [6])
    #expect(try constant("w3_scale").shape == [])
    #expect(try constant("x_zero_point").values(as: Int8.self) == [3])
    let weightScales = try constant("w1_scale").floats
    let steps = try constant("conv1_bias_scale").floats
    #expect(steps == weightScales.map { $0 * 0.015625 })
    let integers = try constant("conv1_bias_quantized").values(as: Int32.self)
    let bias = TinyModels.numbers(6, seed: 2)
    for channel in 0..<6 {
      #expect(abs(Float(integers[channel]) * steps[channel] - bias[channel]) <= steps[channel] / 2)
    }
    for node in model.graph.nodes where node.opType == "DequantizeLinear" {
      let isPerChannel = try model.graph.initializer(node.inputs[1])?.tensor().shape.count == 1
      #expect((node[attribute: "axis"] != nil) == isPerChannel)
    }
  }

  @Test("a layer that is kept FP16 reads the float tensor and float weights")
  func fp16() throws {
    let model = try Self.qdq("conv1:Convolution:SCALAR:0.015625:3:3\ndw:Convolution:FP16:1.0:0:0")
    let listing = Self.listing(model)
    #expect(listing.contains("Conv dw: r,w2,b2 -> d"))
    #expect(listing.contains("Gemm fc: f,w3,b3 -> y"))
    #expect(model.graph.nodes.count { $0.opType == "QuantizeLinear" } == 1)
    #expect(try model.graph.initializer("w2")?.tensor().elementType == .float32)
  }

  @Test("with nothing INT8 the model stays as it is")
  func nothing() throws {
    let model = TinyModels.network()
    #expect(try Self.qdq("", model: model).encode() == model.encode())
  }

  @Test("an edited scale is the graph's scale")
  func edit() throws {
    let model = try Self.qdq("conv1:Convolution:SCALAR:0.0171:-7:-7")
    #expect(try model.graph.initializer("x_scale")?.tensor().floats == [0.0171])
    #expect(try model.graph.initializer("x_zero_point")?.tensor().values(as: Int8.self) == [-7])
  }

  @Test("a VECTOR line overrides the weight scales")
  func vector() throws {
    let model = try Self.qdq(
      """
      dw:Convolution:SCALAR:0.5:0:0
      dw:Convolution:VECTOR:1,2,3,4,5,6:0:0
      fc:FullConnection:SCALAR:0.5:0:0
      fc:FullConnection:VECTOR:0.25:0:0
      """)
    #expect(try model.graph.initializer("w2_scale")?.tensor().floats == [1, 2, 3, 4, 5, 6])
    #expect(
      try model.graph.initializer("dw_bias_scale")?.tensor().floats == [0.5, 1, 1.5, 2, 2.5, 3])
    #expect(try model.graph.initializer("w3_scale")?.tensor().floats == [0.25])
  }

  @Test("an Input line stands in for layers without a line of their own")
  func inputLine() throws {
    let model = try Self.qdq("x:Input:SCALAR:0.5:4:4")
    #expect(try model.graph.initializer("x_scale")?.tensor().floats == [0.5])
    let own = try Self.qdq("x:Input:SCALAR:0.5:4:4\nconv1:Convolution:FP16:1:0:0")
    #expect(own.graph.nodes.count == TinyModels.network().graph.nodes.count)
  }

  /// Two convolutions of one tensor that share weight and bias.
  static func twins() -> Model {
    var model = TinyModels.network()
    let first = model.graph.nodes[2]
    model.graph.nodes[3] = Node(
      "Conv", name: "twin", inputs: first.inputs, outputs: ["e"], attributes: first.attributes)
    model.graph.nodes.insert(
      Node("Add", name: "add", inputs: ["d", "e"], outputs: ["a"]), at: 4)
    model.graph.values.append(ValueInfo("e", .float32, shape: [1, 6, 6, 6]))
    return model
  }

  @Test("layers that read one tensor share its quantizer and shared weights, never the bias")
  func sharing() throws {
    let model = try TinyModels.quantized(Self.twins(), TinyModels.networkTensors).qdq()
    let listing = Self.listing(model)
    #expect(listing.count { $0.hasPrefix("QuantizeLinear r_") } == 1)
    #expect(listing.count { $0.hasPrefix("DequantizeLinear w2_") } == 1)
    #expect(listing.contains("Conv dw: r_dequantized,w2_dequantized,dw_bias_dequantized -> d"))
    #expect(listing.contains("Conv twin: r_dequantized,w2_dequantized,twin_bias_dequantized -> e"))
  }

  @Test("lines that disagree about one tensor make two quantizers with names of their own")
  func disagreement() throws {
    let model = try Self.qdq(
      "dw:Convolution:SCALAR:0.5:0:0\ntwin:Convolution:SCALAR:0.25:0:0", model: Self.twins())
    let listing = Self.listing(model)
    #expect(listing.contains("Conv dw: r_dequantized,w2_dequantized,dw_bias_dequantized -> d"))
    #expect(
      listing.contains("Conv twin: r_dequantized_2,w2_dequantized,twin_bias_dequantized -> e"))
    #expect(try model.graph.initializer("r_scale_2")?.tensor().floats == [0.25])
  }

  @Test("a weight that an FP16 layer reads too stays beside its INT8 copy")
  func halfShared() throws {
    let model = try Self.qdq(
      "dw:Convolution:SCALAR:0.5:0:0\ntwin:Convolution:FP16:1:0:0", model: Self.twins())
    #expect(Self.listing(model).contains("Conv twin: r,w2,b2 -> e"))
    #expect(model.graph.initializer("w2") != nil)
    #expect(model.graph.initializer("w2_quantized") != nil)
  }

  @Test("names that the model has already are not taken again")
  func collisions() throws {
    var model = TinyModels.network()
    model.graph.nodes[1].name = "x_QuantizeLinear"
    model.graph.nodes[1].outputs = ["x_quantized"]
    model.graph.nodes[2].inputs[0] = "x_quantized"
    model.graph.nodes[3].inputs[1] = "x_quantized"
    var tensors = TinyModels.networkTensors
    tensors["x_quantized"] = tensors["r"]
    model.graph.values.append(ValueInfo("x_quantized", .float32, shape: [1, 6, 6, 6]))
    let names = try TinyModels.quantized(model, tensors).qdq().graph.nodes
    #expect(Set(names.map(\.name)).count == names.count)
    let outputs = names.flatMap(\.outputs)
    #expect(Set(outputs).count == outputs.count)
  }

  @Test("the same inputs give the same bytes")
  func deterministic() throws {
    let quantized = try TinyModels.quantized(TinyModels.network(), TinyModels.networkTensors)
    let again = try TinyModels.quantized(TinyModels.network(), TinyModels.networkTensors)
    #expect(try quantized.qdq().encode() == again.qdq().encode())
    #expect(try quantized.deploy().encode() == again.deploy().encode())
    #expect(RecordFile.encode(quantized) == RecordFile.encode(again))
  }

  @Test("a model below opset 13 and a weight without scales are refused with the way out")
  func errors() throws {
    var old = TinyModels.network()
    old.opsets = ["": 12]
    let opset = try #require(throws: QuenchError.self) { try Self.qdq("", model: old) }
    #expect(opset.message == "the model has opset 12, quantizing needs 13 or newer")
    let model = TinyModels.network()
    let scales = try TinyModels.scales(of: model, TinyModels.networkTensors)
    let config = try CalibrationConfig.make(model: model, scales: scales, sensitivity: nil)
    var lacking = scales
    lacking.weights["w2"] = nil
    let missing = try #require(throws: QuenchError.self) {
      try QuantizeGraph.qdq(model, config: config, scales: lacking)
    }
    #expect(missing.message == "the weight \"w2\" of layer \"dw\" has no scales")
    var wrong = scales
    wrong.weights["w2"]?.scales.removeLast()
    let misfit = try #require(throws: QuenchError.self) {
      try QuantizeGraph.qdq(model, config: config, scales: wrong)
    }
    #expect(
      misfit.message
        == "the weight \"w2\" of shape [6, 1, 3, 3] has 5 scales along axis 0, which do not fit it")
  }
}
