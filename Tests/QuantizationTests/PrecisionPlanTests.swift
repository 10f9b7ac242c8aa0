// SPDX-License-Identifier: Apache-2.0

import Calibration
import Diagnostics
import ONNXModel
import Quantization
import Tensors
import Testing

@Suite("Precision plan")
struct PrecisionPlanTests {
  let layers: [QuantizableLayer]

  init() throws {
    layers = (0..<5).map { index in
      QuantizableLayer(
        name: "/block.\(index)/conv", opType: "Conv", kind: .convolution, input: "t\(index)",
        weight: "w\(index)", bias: nil, biasNode: nil, output: "t\(index + 1)", channelAxis: 0,
        channels: 4, reductionLength: 9, macs: 100 * (index + 1), group: 1)
    }
  }

  func scales(_ values: [Float] = [0.1, 0.2, 0.3, 0.4, 0.5]) -> ScaleTable {
    var tensors: [String: TensorScale] = [:]
    for (index, value) in values.enumerated() {
      tensors["t\(index)"] = TinyModels.tensor(scale: value, zeroPoint: Int32(index))
    }
    return ScaleTable(model: "", method: "mse", tensors: tensors)
  }

  func sensitivity(_ errors: [Double]) -> SensitivityTable {
    SensitivityTable(
      threshold: 0.001, samples: 8,
      layers: zip(layers, errors).map { layer, error in
        LayerSensitivity(
          name: layer.name, type: "Conv", relativeError: error, sqnrDecibel: 0,
          fp16: error > 0.001, reason: nil, macs: layer.macs)
      })
  }

  func plan(
    _ options: PrecisionOptions = PrecisionOptions(), sensitivity: SensitivityTable? = nil,
    scales: ScaleTable? = nil
  ) throws -> PrecisionPlan {
    try PrecisionPlan.make(
      layers: layers, scales: scales ?? self.scales(), sensitivity: sensitivity, options: options)
  }

  func kept(_ plan: PrecisionPlan) -> [Int] {
    plan.decisions.indices.filter { plan.decisions[$0].precision == .fp16 }
  }

  @Test("without measurements and wishes every layer is INT8 with its tensor's quantizer")
  func plain() throws {
    let plan = try plan()
    #expect(kept(plan) == [])
    #expect(plan.decisions.map(\.scale) == [0.1, 0.2, 0.3, 0.4, 0.5])
    #expect(plan.decisions.map(\.zeroPoint) == [0, 1, 2, 3, 4])
    #expect(plan.fp16Share == 0)
    #expect(plan.int8Count == 5)
  }

  @Test("layers that the sensitivity table marks stay FP16 with the reason")
  func sensitive() throws {
    let plan = try plan(sensitivity: sensitivity([0, 0.002, 0, 0.5, 0]))
    #expect(kept(plan) == [1, 3])
    #expect(
      plan.decisions[1].reason == "sensitive: relative error 0.002 is over 0.001")
    #expect(plan.fp16Share == 600.0 / 1500)
  }

  @Test("under a limit the most error is removed that the budget buys")
  func limit() throws {
    // Of 1,500 multiply-accumulates 30 % are 450: layers 0 and 2 (400) hold 0.9, more than layer 3
    // (400, 0.8) or 4 (500, over the limit).
    let plan = try plan(
      PrecisionOptions(maxFP16Share: 0.3), sensitivity: sensitivity([0.4, 0, 0.5, 0.8, 2]))
    #expect(kept(plan) == [0, 2])
    #expect(
      plan.decisions[3].reason
        == "INT8 though sensitive (relative error 0.8 is over 0.001): maxFP16Share 0.3 is used up")
    #expect(plan.decisions[1].reason == nil)
    #expect(
      kept(
        try self.plan(
          PrecisionOptions(maxFP16Share: 0), sensitivity: sensitivity([1, 1, 1, 1, 1]))) == [])
    #expect(
      kept(
        try self.plan(
          PrecisionOptions(maxFP16Share: 1), sensitivity: sensitivity([1, 1, 1, 1, 1])))
        == [0, 1, 2, 3, 4])
  }

  @Test("an infinite error counts most and leaves room for others")
  func infinite() throws {
    let plan = try plan(
      PrecisionOptions(maxFP16Share: 0.3), sensitivity: sensitivity([0.4, 0, .infinity, 0.8, 0]))
    #expect(kept(plan) == [0, 2])
  }

  @Test("keepFP16 takes patterns, counts into the share, and reports those that fit nothing")
  func patterns() throws {
    let plan = try plan(
      PrecisionOptions(keepFP16: ["/block.4/*", "*/nothing?"], maxFP16Share: 0.35),
      sensitivity: sensitivity([0.4, 0, 0.5, 0, 0]))
    // 500 of 525 are gone: nothing else fits.
    #expect(kept(plan) == [4])
    #expect(plan.decisions[4].reason == "keepFP16: /block.4/*")
    #expect(plan.notes == ["keepFP16: \"*/nothing?\" fits no layer"])
  }

  @Test("an override wins over patterns and measurements, with its own scale")
  func overrides() throws {
    let plan = try plan(
      PrecisionOptions(
        keepFP16: ["*"],
        overrides: [
          "/block.0/conv": LayerOverride(precision: .int8),
          "/block.1/conv": LayerOverride(precision: .int8, scale: 0.7, zeroPoint: -9),
        ]), sensitivity: sensitivity([1, 1, 1, 1, 1]))
    #expect(kept(plan) == [2, 3, 4])
    #expect(plan.decisions[1].scale == 0.7)
    #expect(plan.decisions[1].zeroPoint == -9)
  }

  @Test("allINT8 overrules measurements and patterns, not an override")
  func allINT8() throws {
    let plan = try plan(
      PrecisionOptions(
        keepFP16: ["*"], allINT8: true,
        overrides: ["/block.3/conv": LayerOverride(precision: .fp16)]),
      sensitivity: sensitivity([1, 1, 1, 1, 1]))
    #expect(kept(plan) == [3])
    #expect(plan.decisions[3].reason == "override: fp16")
  }

  @Test("a scale that Ascend's tools would replace keeps its layer FP16, whatever is wished")
  func underflow() throws {
    let plan = try plan(
      PrecisionOptions(allINT8: true),
      scales: scales([1e-7, 0x1p-23, 0x1p23, 0x1.1p23, 1]))
    #expect(kept(plan) == [0, 3])
    #expect(plan.decisions[0].reason == "scale-underflow: 1e-07 is outside 2^-23...2^23")
  }

  @Test("an override of no layer and a tensor without scale are errors that name them")
  func errors() throws {
    let override = try #require(throws: QuenchError.self) {
      try plan(PrecisionOptions(overrides: ["/block.1/con": LayerOverride()]))
    }
    #expect(
      override.message == "an override names \"/block.1/con\", which is no layer of the model; "
        + "did you mean \"/block.1/conv\"?")
    let missing = try #require(throws: QuenchError.self) { try plan(scales: scales([1, 1, 1, 1])) }
    let negative = try #require(throws: QuenchError.self) {
      try plan(scales: scales([1, 1, -1, 1, 1]))
    }
    #expect(
      negative.message == "tensor \"t2\" has the scale -1.0 and the zero point 2, "
        + "which no INT8 quantizer can have")
    #expect(
      missing.message == "tensor \"t4\" has no scale, needed by layer \"/block.4/conv\"")
  }

  @Test("overrides.json is read with defaults for what is absent, numbers are checked")
  func decoding() throws {
    func decode(_ text: String) throws(QuenchError) -> PrecisionOptions {
      try PrecisionOptions.decode(Array(text.utf8), path: "overrides.json")
    }
    #expect(try decode("{}") == PrecisionOptions())
    #expect(
      try decode(
        """
        {"keepFP16": ["a*"], "maxFP16Share": 0.04, "allINT8": true,
         "overrides": {"/b": {"precision": "int8", "scale": 0.5, "zeroPoint": -3}}}
        """)
        == PrecisionOptions(
          keepFP16: ["a*"], maxFP16Share: 0.04, allINT8: true,
          overrides: ["/b": LayerOverride(precision: .int8, scale: 0.5, zeroPoint: -3)]))
    for (text, message) in [
      ("{\"maxFP16Share\": 4}", "maxFP16Share is 4.0, not a fraction in 0...1"),
      (
        "{\"overrides\": {\"a\": {\"scale\": 0}}}",
        "the override of \"a\" has the scale 0.0, not a number greater than 0"
      ),
      (
        "{\"overrides\": {\"a\": {\"scale\": 1, \"zeroPoint\": 128}}}",
        "the override of \"a\" has the zero point 128, outside -128...127"
      ),
      (
        "{\"overrides\": {\"a\": {\"zeroPoint\": 1}}}",
        "the override of \"a\" has a zero point and no scale"
      ),
    ] {
      let error = try #require(throws: QuenchError.self) { try decode(text) }
      #expect(error.message == message)
    }
  }

  @Test(
    "patterns match whole names, a star crosses slashes",
    arguments: [
      ("*", "", true), ("*", "a/b", true), ("/classifier/*", "/classifier/1/Gemm", true),
      ("/classifier/*", "/classifier", false), ("a?c", "abc", true), ("a?c", "ac", false),
      ("*.conv*", "b.conv1", true), ("a*b*c", "aXbYbZc", true), ("a*b*c", "aXbYbZ", false),
      ("", "", true), ("", "a", false), ("conv", "conv1", false),
    ])
  func globs(pattern: String, name: String, expected: Bool) {
    #expect(GlobPattern(pattern).matches(name) == expected)
  }
}
