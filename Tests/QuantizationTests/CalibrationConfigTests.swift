// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import ONNXModel
import Quantization
import Tensors
import Testing

@Suite("Calibration configuration")
struct CalibrationConfigTests {
  static let sample = """
    # head of the file
    # layers: 4

    x:Input:SCALAR:0.0078125:0:0
    conv1:Convolution:SCALAR:0.0234:0:0
    conv2:Convolution:SCALAR:0.017700:-128:-128
      \t
    # weights by hand
    conv2:Convolution:VECTOR:0.001,2e-3,1.5E-05:0:0
    scope::a b:0:Deconvolution:SCALAR:1e-05:127:127
    fc:FullConnection:FP16:1.0:0:0
    mm:MatMul:FP16:1.0:0:0
    mm:MatMulB:FP16:1:0:0
    # the end
    unknown:Convolution:FP16:1.0:0:0

    """

  static func parse(_ text: String) throws(QuenchError) -> CalibrationConfig {
    try CalibrationConfig.parse(Array(text.utf8), path: "calibration.cfg")
  }

  @Test("what was read is written back byte for byte")
  func roundTrip() throws {
    let config = try Self.parse(Self.sample)
    #expect(config.encode() == Array(Self.sample.utf8))
    let windows = Self.sample.split(separator: "\n", omittingEmptySubsequences: false)
      .joined(separator: "\r\n")
    #expect(try Self.parse(windows).encode() == Array(windows.utf8))
    let open = String(Self.sample.dropLast())
    #expect(try Self.parse(open).encode() == Array(open.utf8))
  }

  @Test("fields are taken from the right, so a name may hold colons and spaces")
  func fields() throws {
    let entries = try Self.parse(Self.sample).entries
    #expect(entries.count == 9)
    #expect(entries[4].name == "scope::a b:0")
    #expect(entries[4].opType == .deconvolution)
    #expect(entries[4].value == .scalar(scale: 1e-5, zeroPoint: 127))
    #expect(entries[3].value == .vector([0.001, 0.002, 1.5e-5]))
    #expect(entries[2].value == .scalar(scale: 0.0177, zeroPoint: -128))
    #expect(entries[8].isFallback)
  }

  @Test("numbers are the shortest that read back to the same float32")
  func numbers() throws {
    for scale: Float in [0.1, 1 / 3, 4e-7, 1.1920929e-7, 12_345.678, 1, 3e20] {
      let entry = CalibrationConfig.Entry(
        name: "a", opType: .convolution, value: .scalar(scale: scale, zeroPoint: -5))
      let text = String(decoding: CalibrationConfig(lines: [.entry(entry)]).encode(), as: UTF8.self)
      #expect(try Self.parse(text).entries[0].value == entry.value)
    }
    let entry = CalibrationConfig.Entry(
      name: "a", opType: .convolution, value: .scalar(scale: 4e-7, zeroPoint: -5))
    #expect(entry.canonical == "a:Convolution:SCALAR:4e-07:-5:-5")
  }

  @Test("a changed line is written anew, all others stay as they were")
  func change() throws {
    var config = try Self.parse(Self.sample)
    config.set(
      .init(name: "conv2", opType: .convolution, value: .scalar(scale: 0.5, zeroPoint: 1)))
    let expected = Self.sample.replacing(
      "conv2:Convolution:SCALAR:0.017700:-128:-128", with: "conv2:Convolution:SCALAR:0.5:1:1")
    #expect(String(decoding: config.encode(), as: UTF8.self) == expected)
  }

  @Test("a new line goes before the fallback, which stays last")
  func addition() throws {
    var config = try Self.parse("a:Convolution:FP16:1.0:0:0\n# end\nunknown:Convolution:FP16:1:0:0")
    config.set(.init(name: "b", opType: .fullConnection, value: .fp16))
    config.set(.init(name: "unknown", opType: .convolution, value: .fp16))
    #expect(
      String(decoding: config.encode(), as: UTF8.self) == """
        a:Convolution:FP16:1.0:0:0
        # end
        b:FullConnection:FP16:1.0:0:0
        unknown:Convolution:FP16:1.0:0:0
        unknown:Convolution:FP16:1:0:0
        """)
  }

  @Test("a rewrite keeps comments and places, drops what is gone and adds what is new")
  func rewrite() throws {
    let old = try Self.parse(
      """
      # mine
      a:Convolution:SCALAR:0.25:0:0

      # gone
      b:Convolution:FP16:1.0:0:0
      unknown:Convolution:FP16:1.0:0:0

      """)
    let fresh = try Self.parse(
      """
      c:FullConnection:SCALAR:2.0:0:0
      a:Convolution:SCALAR:0.5:3:3
      unknown:Convolution:FP16:1.0:0:0
      """)
    #expect(
      String(decoding: old.rewritten(with: fresh).encode(), as: UTF8.self) == """
        # mine
        a:Convolution:SCALAR:0.5:3:3

        # gone
        c:FullConnection:SCALAR:2.0:0:0
        unknown:Convolution:FP16:1.0:0:0

        """)
  }

  // MARK: Errors

  static let fallback = "\nunknown:Convolution:FP16:1.0:0:0\n"

  @Test(
    "each malformed line is told with line, column and what is expected",
    arguments: [
      (
        "# c\nconv1:Convolution:0.1:0:0",
        """
        this line has 5 fields, not the six of name:OpType:quant_type:scale:zero_point:offset
           at  calibration.cfg:2:1
          2 | conv1:Convolution:0.1:0:0
            | ^
        """
      ),
      (
        "conv1:Convolutoin:SCALAR:0.1:0:0",
        """
        unknown operator type "Convolutoin"; did you mean "Convolution"?
           at  calibration.cfg:1:7
          1 | conv1:Convolutoin:SCALAR:0.1:0:0
            |       ^
          try  one of Input, Convolution, Deconvolution, FullConnection, MatMul, MatMulB
        """
      ),
      (
        "conv1:Convolution:SCALER:0.1:0:0",
        """
        unknown quantization type "SCALER"; did you mean "SCALAR"?
           at  calibration.cfg:1:19
          1 | conv1:Convolution:SCALER:0.1:0:0
            |                   ^
          try  one of SCALAR, VECTOR, FP16
        """
      ),
      (
        "conv1:Convolution:SCALAR:0:0:0",
        """
        "0" is not a scale, a number greater than 0
           at  calibration.cfg:1:26
          1 | conv1:Convolution:SCALAR:0:0:0
            |                          ^
        """
      ),
      (
        "é:a:Convolution:SCALAR:0.1:128:0",
        """
        the zero point "128" is not a whole number in -128...127
           at  calibration.cfg:1:28
          1 | é:a:Convolution:SCALAR:0.1:128:0
            |                            ^
        """
      ),
      (
        "a:Convolution:SCALAR:0.1:0:0.5",
        """
        the offset "0.5" is not a whole number in -128...127
           at  calibration.cfg:1:28
          1 | a:Convolution:SCALAR:0.1:0:0.5
            |                            ^
        """
      ),
      (
        "a:Convolution:SCALAR:0.1:-3:3",
        """
        the offset 3 differs from the zero point -3: both are the code of zero
           at  calibration.cfg:1:29
          1 | a:Convolution:SCALAR:0.1:-3:3
            |                             ^
        """
      ),
      (
        "a:Convolution:VECTOR:0.1,,0.2:0:0",
        """
        "" is not a scale, a number greater than 0
           at  calibration.cfg:1:26
          1 | a:Convolution:VECTOR:0.1,,0.2:0:0
            |                          ^
        """
      ),
      (
        "a:Convolution:VECTOR:0.1:2:2",
        """
        weights have the zero point 0
           at  calibration.cfg:1:26
          1 | a:Convolution:VECTOR:0.1:2:2
            |                          ^
        """
      ),
      (
        ":Convolution:SCALAR:0.1:0:0",
        """
        the name is empty
           at  calibration.cfg:1:1
          1 | :Convolution:SCALAR:0.1:0:0
            | ^
        """
      ),
      (
        "a:Convolution:SCALAR:0.1:0:0\na:Convolution:FP16:1.0:0:0",
        """
        "a" has a second SCALAR or FP16 line, its first is line 1
           at  calibration.cfg:2:1
          2 | a:Convolution:FP16:1.0:0:0
            | ^
        """
      ),
      (
        "a:Convolution:VECTOR:1:0:0\n\na:Convolution:VECTOR:2:0:0",
        """
        "a" has a second VECTOR line, its first is line 1
           at  calibration.cfg:3:1
          3 | a:Convolution:VECTOR:2:0:0
            | ^
        """
      ),
    ])
  func malformed(line: String, message: String) throws {
    let error = try #require(throws: QuenchError.self) { try Self.parse(line + Self.fallback) }
    #expect(error.kind == .data)
    #expect(error.description == message)
  }

  @Test(
    "numbers that are no scale are refused",
    arguments: ["nan", "inf", "-1", "1e-60", "1e-39", "1e60", "0x1p3", "", " 1", "1,5", "0.0"])
  func scales(text: String) throws {
    let error = try #require(throws: QuenchError.self) {
      try Self.parse("a:Convolution:SCALAR:\(text):0:0" + Self.fallback)
    }
    #expect(error.message == "\"\(text)\" is not a scale, a number greater than 0")
  }

  @Test(
    "the fallback line is there, last and FP16",
    arguments: [
      ("", "the fallback line is missing"),
      ("# only words\n", "the fallback line is missing"),
      ("a:Convolution:FP16:1:0:0", "the fallback line is missing after this line"),
      (
        "unknown:Convolution:FP16:1:0:0\na:Convolution:FP16:1:0:0",
        "the fallback line must be the last line"
      ),
      ("unknown:Convolution:SCALAR:0.1:0:0", "the fallback line must say FP16"),
    ])
  func missingFallback(text: String, message: String) throws {
    let error = try #require(throws: QuenchError.self) { try Self.parse(text) }
    #expect(error.message == message)
  }

  @Test("bytes that are not UTF-8 are refused with their line")
  func encoding() throws {
    let error = try #require(throws: QuenchError.self) {
      try CalibrationConfig.parse([0x23, 0x0a, 0xff, 0x0a], path: "c.cfg")
    }
    #expect(error.message == "this line is not valid UTF-8")
    guard case .line(_, let line, _, _) = error.place else {
      Issue.record("no line in \(error)")
      return
    }
    #expect(line == 2)
  }

  // MARK: Against a model

  @Test(
    "a line that the model has no use for is told with the nearest name",
    arguments: [
      (
        "conv2:Convolution:FP16:1:0:0", "the model has no layer \"conv2\"; did you mean \"conv1\"?",
        1
      ),
      ("relu:Convolution:FP16:1:0:0", "\"relu\" is a Relu that has no INT8 form", 1),
      (
        "fc:Convolution:FP16:1:0:0", "\"fc\" is a Gemm, which is called FullConnection here", 4
      ),
      ("y:Input:SCALAR:1:0:0", "the model has no input \"y\"; did you mean \"x\"?", 1),
      (
        "dw:Convolution:SCALAR:1:0:0\ndw:Convolution:VECTOR:1,2:0:0",
        "2 weight scales for the 6 channels of \"dw\"", 23
      ),
      (
        "dw:Convolution:VECTOR:1:0:0",
        "the weight scales of \"dw\" have no use: its activation has no SCALAR line", 1
      ),
      (
        "mm:MatMul:FP16:1:0:0", "the model has no MatMul of two computed tensors named \"mm\"", 1
      ),
    ])
  func model(line: String, message: String, column: Int) throws {
    let config = try Self.parse(line + Self.fallback)
    let error = try #require(throws: QuenchError.self) {
      try config.check(against: TinyModels.network())
    }
    #expect(error.message == message)
    guard case .line("calibration.cfg", _, let found, _) = error.place else {
      Issue.record("no line in \(error)")
      return
    }
    #expect(found == column)
  }

  @Test("a file made for a model has head, reasons and one line a layer")
  func made() throws {
    let model = TinyModels.network()
    let scales = try TinyModels.scales(of: model, TinyModels.networkTensors)
    let options = PrecisionOptions(overrides: ["dw": LayerOverride(precision: .fp16)])
    let config = try CalibrationConfig.make(
      model: model, scales: scales, sensitivity: nil, overrides: options)
    #expect(
      String(decoding: config.encode(), as: UTF8.self) == """
        # What is INT8 in model "tiny", folded file SHA-256 0123abcd
        # method: minmax
        # layers: 3, INT8 2, FP16 1 (19.94 % of the multiply-accumulates)
        #
        # name:OpType:quant_type:scale:zero_point:offset
        # SCALAR: the activation that the layer reads; VECTOR: its weight scales; FP16: not INT8

        conv1:Convolution:SCALAR:0.015625:3:3
        # override: fp16
        dw:Convolution:FP16:1.0:0:0
        fc:FullConnection:SCALAR:0.025:-20:-20

        unknown:Convolution:FP16:1.0:0:0

        """)
    try config.check(against: model)
    #expect(
      try Self.parse(String(decoding: config.encode(), as: UTF8.self)).encode() == config.encode())
  }

  @Test("a layer called unknown has a line of its own before the fallback")
  func layerCalledUnknown() throws {
    var model = TinyModels.network()
    model.graph.nodes[0].name = "unknown"
    let scales = try TinyModels.scales(of: model, TinyModels.networkTensors)
    let made = try CalibrationConfig.make(
      model: model, scales: scales, sensitivity: nil,
      overrides: PrecisionOptions(overrides: ["unknown": LayerOverride(precision: .fp16)]))
    let read = try CalibrationConfig.parse(made.encode(), path: "c.cfg")
    let quantized = try QuantizedModel.resolve(model, config: read, scales: scales)
    #expect(quantized.fp16Layers.map(\.name) == ["unknown"])
    #expect(quantized.layers.map(\.layer.name) == ["dw", "fc"])
  }
}
