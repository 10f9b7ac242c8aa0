// SPDX-License-Identifier: Apache-2.0

import Calibration
import Diagnostics
import ONNXModel
import ONNXRuntime
import Quantization
import Tensors
import Testing

@Suite("Sums of codes in ONNX Runtime", .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
struct CodeSumFormTests {
  private static func run(
    _ model: Model, _ x: Tensor, level: Int32 = 0
  ) throws(QuenchError) -> [Float] {
    let session = try Session(
      RuntimeLibrary.load(), model: model.encode(),
      options: SessionOptions(optimizationLevel: level))
    return try session.run(["x": x], outputs: ["y"])[0].floats
  }

  private static func noise(_ count: Int, seed: UInt64, _ range: ClosedRange<Float>) -> [Float] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return range.lowerBound
        + Float(state >> 40) / Float(1 << 24) * (range.upperBound - range.lowerBound)
    }
  }

  /// One Conv over many channels: long sums.
  private static func wide() throws -> QuantizedModel {
    let shape = [16, 64, 3, 3]
    let graph = Graph(
      name: "wide",
      nodes: [
        Node(
          "Conv", name: "conv", inputs: ["x", "w", "b"], outputs: ["y"],
          attributes: [Attribute("pads", .ints([1, 1, 1, 1]))])
      ],
      initializers: [
        Initializer(
          "w", Tensor(floats: noise(shape.reduce(1, *), seed: 1, -1...1), shape: shape)),
        Initializer("b", Tensor(floats: noise(16, seed: 2, -1...1), shape: [16])),
      ],
      inputs: [ValueInfo("x", .float32, shape: [1, 64, 6, 6])],
      outputs: [ValueInfo("y", .float32, shape: [1, 16, 6, 6])])
    return try TinyModels.quantized(
      Model(graph: graph, opset: 13), ["x": TinyModels.tensor(scale: 0.0137, zeroPoint: 7)],
      plan: .perChannel)
  }

  @Test("a layer's result is the exact sum of integers times one scale, at every level")
  func exact() throws {
    let quantized = try Self.wide()
    let values = Self.noise(64 * 36, seed: 3, -1.8...1.6)
    let x = Tensor(floats: values, shape: [1, 64, 6, 6])
    let expected = Simulation(quantized, "conv").convolve(
      Map(values: values, shape: [64, 6, 6]), pad: 1)
    let form = quantized.qdq().summingCodes()
    for level: Int32 in [0, 1, 2, 99] {
      #expect(try Self.run(form, x, level: level) == expected.values, "level \(level)")
    }
    // The QDQ form rounds on the way, or this test would say nothing.
    #expect(try Self.run(quantized.qdq(), x) != expected.values)
  }

  @Test("layers, limits and tensors that float operators read too: as the integers say")
  func network() throws {
    for plan in [WeightPlan.target, .perChannel, .perTensor] {
      let quantized = try TinyModels.quantized(
        TinyModels.network(), TinyModels.networkTensors, plan: plan)
      let form = quantized.qdq().summingCodes()
      let expected = QDQRunTests.simulate(quantized)
      let results = try [Int32(0), 1, 2, 99].map {
        try Self.run(form, QDQRunTests.image, level: $0)
      }
      for result in results {
        #expect(result == results[0])
        for (a, b) in zip(result, expected) { #expect(abs(a - b) < 2e-6, "\(result) \(expected)") }
      }
    }
  }

  /// Conv, Relu or Clip or nothing, Conv; the second reads with the given quantizer.
  private static func chain(
    _ limiter: [Float]?, scale: Float, zeroPoint: Int32
  ) throws -> QuantizedModel {
    var nodes = [
      Node("Conv", name: "one", inputs: ["x", "w1", "b1"], outputs: ["c"]),
      Node("Conv", name: "two", inputs: [limiter == nil ? "c" : "r", "w2"], outputs: ["y"]),
    ]
    var constants = [
      TinyModels.constant("w1", [5, 4, 1, 1], seed: 1), TinyModels.constant("b1", [5], seed: 2),
      TinyModels.constant("w2", [3, 5, 1, 1], seed: 3),
    ]
    if let limiter, limiter.isEmpty {
      nodes.insert(Node("Relu", name: "relu", inputs: ["c"], outputs: ["r"]), at: 1)
    } else if let limiter {
      nodes.insert(Node("Clip", name: "clip", inputs: ["c", "low", "high"], outputs: ["r"]), at: 1)
      constants.append(Initializer("low", Tensor(floats: [limiter[0]], shape: [])))
      constants.append(Initializer("high", Tensor(floats: [limiter[1]], shape: [])))
    }
    let model = Model(
      graph: Graph(
        name: "chain", nodes: nodes, initializers: constants,
        inputs: [ValueInfo("x", .float32, shape: [1, 4, 6, 6])],
        outputs: [ValueInfo("y", .float32, shape: [1, 3, 6, 6])],
        values: [
          ValueInfo("c", .float32, shape: [1, 5, 6, 6]),
          ValueInfo("r", .float32, shape: [1, 5, 6, 6]),
        ]), opset: 13)
    let tensors = [
      "x": TinyModels.tensor(scale: 0.0157, zeroPoint: 3, min: -2, max: 1.9),
      limiter == nil ? "c" : "r": TinyModels.tensor(scale: scale, zeroPoint: zeroPoint),
    ]
    return try TinyModels.quantized(model, tensors)
  }

  @Test(
    "a result that is only quantized again gets there by one multiplication",
    arguments: [
      (nil, Float(0.03), Int32(-5), true), ([Float](), 0.03, -128, true),
      ([0, 6], 6 / 255, -128, true),
      // Limits that the quantizer does not have stay.
      ([], 0.03, -100, false), ([0, 1], 6 / 255, -128, false),
    ])
  func requantized(
    _ limiter: [Float]?, _ scale: Float, _ zeroPoint: Int32, _ isInSteps: Bool
  ) throws {
    let quantized = try Self.chain(limiter, scale: scale, zeroPoint: zeroPoint)
    let form = quantized.qdq().summingCodes()
    let names = form.graph.nodes.map(\.opType)
    let quantizer = try #require(form.graph.nodes.last { $0.opType == "QuantizeLinear" })
    let step = try #require(form.graph.initializer(quantizer.inputs[1])).tensor().floats
    #expect(step == [isInSteps ? 1 : scale])
    #expect(names.contains("Relu") == (limiter?.isEmpty == true && !isInSteps))
    #expect(names.contains("Clip") == (limiter?.isEmpty == false && !isInSteps))
    let results = try [Int32(0), 99].map { try Self.run(form, QDQRunTests.image, level: $0) }
    #expect(results[0] == results[1])
    // No sum of these few products lies near a tie, so the QDQ form has the same codes.
    let plain = try Self.run(quantized.qdq(), QDQRunTests.image)
    for (a, b) in zip(results[0], plain) { #expect(abs(a - b) < 1e-5) }
    #expect(Set(plain).count > 20)
  }

  @Test("a MatMul's Add comes before the scale; large biases, groups of a ConvTranspose too")
  func kinds() throws {
    let product = try TinyModels.quantized(
      TinyModels.matMul(
        weight: [127, -64, 3, 5, 127, -1], shape: [3, 2], bias: [0.5, -1.25]),
      ["x": TinyModels.tensor(scale: 0.25, zeroPoint: 5)])
    let form = product.qdq().summingCodes()
    #expect(form.graph.nodes.suffix(2).map(\.opType) == ["Add", "Mul"])
    let x = Tensor(floats: [0.125, -3.5, 100], shape: [1, 3])
    #expect(try Self.run(form, x) == [3863.5, -49.25])

    let pointwise = try TinyModels.quantized(
      TinyModels.pointwise(weight: [127, 1, 127e-3, 1e-3], bias: [1, 1000]),
      ["x": TinyModels.tensor(scale: 1e-4, zeroPoint: 0)])
    let y = try Self.run(
      pointwise.qdq().summingCodes(), Tensor(floats: [0.01, -0.01], shape: [1, 2, 1, 1]))
    #expect(abs(y[0] - 2.26) < 1e-4)
    #expect(abs(y[1] - 1000) < 2e-3)

    let deconvolution = try TinyModels.quantized(
      TinyModels.upscaling(), ["x": TinyModels.tensor(scale: 1 / 64, zeroPoint: -10)],
      plan: .perChannel)
    let input = Tensor(floats: TinyModels.numbers(36, seed: 3), shape: [1, 4, 3, 3])
    let sums = deconvolution.qdq().summingCodes()
    #expect(sums.graph.nodes.last?.opType == "Mul")
    for (a, b) in zip(try Self.run(sums, input), try Self.run(deconvolution.qdq(), input)) {
      #expect(abs(a - b) < 1e-6)
    }
  }

  /// A QDQ model of another tool: uint8 activations, a quantized MaxPool, an unusual bias.
  private static func foreign(biasScale: Float, alpha: Float = 1) -> Model {
    let pair = ["x_scale", "x_zero"]
    let graph = Graph(
      name: "foreign",
      nodes: [
        Node("QuantizeLinear", name: "q", inputs: ["x"] + pair, outputs: ["xq"]),
        Node("DequantizeLinear", name: "dq", inputs: ["xq"] + pair, outputs: ["xd"]),
        Node("DequantizeLinear", name: "wd", inputs: ["w", "w_scale"], outputs: ["wf"]),
        Node("DequantizeLinear", name: "bd", inputs: ["b", "b_scale"], outputs: ["bf"]),
        Node(
          "Gemm", name: "fc", inputs: ["xd", "wf", "bf"], outputs: ["g"],
          attributes: [Attribute("alpha", .float(alpha))]),
        Node("Add", name: "sum", inputs: ["g", "xd"], outputs: ["y"]),
      ],
      initializers: [
        Initializer("x_scale", Tensor(floats: [0.1], shape: [])),
        Initializer("x_zero", Tensor(.uint8, shape: [], values: [UInt8(131)])),
        Initializer("w", Tensor(.int8, shape: [2, 2], values: [Int8(7), -3, 100, 55])),
        Initializer("w_scale", Tensor(floats: [0.01], shape: [])),
        Initializer("b", Tensor(.int32, shape: [2], values: [Int32(500), -20])),
        Initializer("b_scale", Tensor(floats: [biasScale], shape: [])),
      ],
      inputs: [ValueInfo("x", .float32, shape: [1, 2])],
      outputs: [ValueInfo("y", .float32, shape: [1, 2])])
    return Model(graph: graph, opset: 13)
  }

  @Test("models of other tools: other readers keep the value, what does not fit stays as it is")
  func foreign() throws {
    let x = Tensor(floats: [2.5, -1.3], shape: [1, 2])
    let step = Float(0.1) * 0.01
    let fitting = Self.foreign(biasScale: step)
    let form = fitting.summingCodes()
    // Codes 25 and −13: 25·7 − 13·100 + 500 = −625 and 25·−3 − 13·55 − 20 = −810.
    let codes: [Float] = [-625, -810]
    let expected = zip(codes, [Float(25), -13]).map { $0 * step + $1 * 0.1 }
    #expect(try Self.run(form, x) == expected)
    #expect(form.graph.nodes.contains { $0.opType == "Mul" })
    for other in [Self.foreign(biasScale: 0.5), Self.foreign(biasScale: step, alpha: 2)] {
      #expect(other.summingCodes().graph == other.graph)
    }
  }

  /// A MatMul of 2 rows by 2 columns and an Add whose bias has two scales.
  private static func biased(shape: [Int], axis: Int64) -> Model {
    let steps = [Float(0.1) * 0.01, Float(0.1) * 0.5]
    let codes = Array([Int32(500), -20, 40, 1000].prefix(shape.reduce(1, *)))
    let pair = ["x_scale", "x_zero"]
    func along(_ axis: Int64) -> [Attribute] { [Attribute("axis", .int(axis))] }
    let graph = Graph(
      name: "biased",
      nodes: [
        Node("QuantizeLinear", name: "q", inputs: ["x"] + pair, outputs: ["xq"]),
        Node("DequantizeLinear", name: "dq", inputs: ["xq"] + pair, outputs: ["xd"]),
        Node(
          "DequantizeLinear", name: "wd", inputs: ["w", "w_scale"], outputs: ["wf"],
          attributes: along(-1)),
        Node(
          "DequantizeLinear", name: "bd", inputs: ["b", "b_scale"], outputs: ["bf"],
          attributes: along(axis)),
        Node("MatMul", name: "product", inputs: ["xd", "wf"], outputs: ["p"]),
        Node("Add", name: "sum", inputs: ["bf", "p"], outputs: ["y"]),
      ],
      initializers: [
        Initializer("x_scale", Tensor(floats: [0.1], shape: [])),
        Initializer("x_zero", Tensor(.int8, shape: [], values: [Int8(0)])),
        Initializer("w", Tensor(.int8, shape: [2, 2], values: [Int8(7), -3, 100, 55])),
        Initializer("w_scale", Tensor(floats: [0.01, 0.5], shape: [2])),
        Initializer("b", Tensor(.int32, shape: shape, values: codes)),
        Initializer("b_scale", Tensor(floats: steps, shape: [2])),
      ],
      inputs: [ValueInfo("x", .float32, shape: [2, 2])],
      outputs: [ValueInfo("y", .float32, shape: [2, 2])])
    return Model(graph: graph, opset: 13)
  }

  @Test(
    "a bias counts in the layer's steps along the channels only; axes count from the end too",
    arguments: [([2], 0, true), ([2], -1, true), ([2, 2], 1, true), ([2, 1], 0, false)])
  func biasAxis(_ shape: [Int], _ axis: Int64, _ isAmongCodes: Bool) throws {
    let model = Self.biased(shape: shape, axis: axis)
    let form = model.summingCodes()
    #expect(form.graph.nodes.last?.opType == (isAmongCodes ? "Mul" : "Add"))
    #expect(form.graph.nodes.count { $0.opType == "Mul" } == 1)
    let x = Tensor(floats: [2.5, -1.3, 4, 0.3], shape: [2, 2])
    for (a, b) in zip(try Self.run(form, x), try Self.run(model, x)) { #expect(abs(a - b) < 1e-5) }
  }

  @Test("constants that a file lists as inputs too need not be fed when they are gone")
  func listedConstants() throws {
    var model = Self.foreign(biasScale: Float(0.1) * 0.01)
    for constant in model.graph.initializers {
      model.graph.inputs.append(
        ValueInfo(constant.name, constant.elementType, shape: constant.shape))
    }
    let form = model.summingCodes()
    #expect(form.graph.freeInputs.map(\.name) == ["x"])
    let x = Tensor(floats: [2.5, -1.3], shape: [1, 2])
    #expect(try Self.run(form, x) == Self.run(Self.foreign(biasScale: 0.001).summingCodes(), x))
  }

  @Test("operator set 10, scales of shape [1]: no attribute that came later")
  func oldOperators() throws {
    var model = Self.foreign(biasScale: Float(0.1) * 0.01)
    model.opsets[""] = 10
    model.graph.setInitializer(Initializer("x_scale", Tensor(floats: [0.1], shape: [1])))
    model.graph.setInitializer(
      Initializer("x_zero", Tensor(.uint8, shape: [1], values: [UInt8(131)])))
    let form = model.summingCodes()
    #expect(form.graph.nodes.contains { $0.opType == "Mul" })
    let x = Tensor(floats: [2.5, -1.3], shape: [1, 2])
    #expect(try Self.run(form, x) == Self.run(Self.foreign(biasScale: 0.001).summingCodes(), x))
  }

  @Test("weights that the model itself quantizes are codes too")
  func quantizedWeights() throws {
    var model = Self.foreign(biasScale: Float(0.1) * 0.01)
    let expected = try Self.run(model.summingCodes(), Tensor(floats: [2.5, -1.3], shape: [1, 2]))
    model.graph.setInitializer(
      Initializer("w_float", Tensor(floats: [0.07, -0.03, 1, 0.55], shape: [2, 2])))
    model.graph.setInitializer(Initializer("w_zero", Tensor(.int8, shape: [], values: [Int8(0)])))
    model.graph.initializers.removeAll { $0.name == "w" }
    model.graph.nodes.insert(
      Node("QuantizeLinear", name: "wq", inputs: ["w_float", "w_scale", "w_zero"], outputs: ["w"]),
      at: 0)
    let form = model.summingCodes()
    #expect(form.graph.nodes.contains { $0.opType == "Mul" })
    #expect(try Self.run(form, Tensor(floats: [2.5, -1.3], shape: [1, 2])) == expected)
  }

  @Test("new tensors take no name of which the file states a type, made or not")
  func statedTypes() throws {
    var model = Self.foreign(biasScale: Float(0.1) * 0.01)
    model.graph.values = ["g_sums", "xq_floats", "g_factor"].map {
      ValueInfo($0, .int64, shape: [7, 7])
    }
    let x = Tensor(floats: [2.5, -1.3], shape: [1, 2])
    #expect(try Self.run(model.summingCodes(), x).count == 2)
  }

  @Test("a float model stays as it is; the form of a form is the form")
  func unchanged() throws {
    let model = TinyModels.network()
    #expect(model.summingCodes().graph == model.graph)
    let form = try Self.wide().qdq().summingCodes()
    let again = form.summingCodes()
    let x = Tensor(floats: Self.noise(64 * 36, seed: 5, -1...1), shape: [1, 64, 6, 6])
    #expect(try Self.run(again, x) == Self.run(form, x))
  }
}
