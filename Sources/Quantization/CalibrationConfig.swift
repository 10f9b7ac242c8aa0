// SPDX-License-Identifier: Apache-2.0
// Quantization: calibration.cfg, the text in which people read and change what is INT8.

/// `calibration.cfg`: one line an operator, `name:OpType:quant_type:scale:zero_point:offset`.
///
/// Fields are taken from the right, so a name may hold colons. A line that starts with `#` is a
/// comment. What was read is written back byte for byte, except the entries that were changed.
///
/// ```
/// conv1:Convolution:SCALAR:0.0234:-128:-128     the activation that conv1 reads
/// conv1:Convolution:VECTOR:0.001,0.002:0:0      weight scales of conv1, override scales.json
/// fc:FullConnection:FP16:1.0:0:0                fc is not quantized
/// unknown:Convolution:FP16:1.0:0:0              always last: all that is not named
/// ```
///
/// Source of the line format: the reference article's calibration.cfg.
public struct CalibrationConfig: Sendable, Equatable {
  /// Operators and comments, in file order, without line ends.
  public var lines: [Line]
  /// Where the text came from, for messages; nil when it was made in memory.
  public var path: String?
  /// Whether the last line ends with a newline, as it should.
  var endsWithNewline = true

  /// Makes a configuration from lines. The fallback line is written even when `lines` lacks it.
  public init(lines: [Line]) {
    self.lines = lines
    if case .entry(let last)? = lines.last, last.isFallback { return }
    self.lines.append(.entry(.fallback))
  }

  init(parsed lines: [Line], path: String, endsWithNewline: Bool) {
    self.lines = lines
    self.path = path
    self.endsWithNewline = endsWithNewline
  }

  /// A line of the file.
  public enum Line: Sendable, Equatable {
    /// A comment or an empty line, kept as it is.
    case remark(String)
    /// An operator's line.
    case entry(Entry)
  }

  /// What the second field says.
  public enum OperatorType: String, Sendable, CaseIterable {
    /// A network input: stands in for layers that read it and have no line of their own.
    case input = "Input"
    /// Conv, depthwise too.
    case convolution = "Convolution"
    /// ConvTranspose.
    case deconvolution = "Deconvolution"
    /// Gemm, and MatMul with a constant matrix.
    case fullConnection = "FullConnection"
    /// The first input of a MatMul of two computed tensors.
    case matMul = "MatMul"
    /// The second input of a MatMul of two computed tensors.
    case matMulB = "MatMulB"
  }

  /// What the last four fields say.
  public enum Value: Sendable, Equatable {
    /// The activation that the operator reads: step in tensor units, INT8 code of zero.
    case scalar(scale: Float, zeroPoint: Int32)
    /// Weight scales, one per output channel, or one for all.
    case vector([Float])
    /// The operator stays FP16.
    case fp16
  }

  /// An operator's line.
  public struct Entry: Sendable, Equatable {
    /// The node's name; for `Input` the network input's.
    public let name: String
    /// The kind of operator.
    public let opType: OperatorType
    /// What is asked for; a change makes the line be written anew.
    public var value: Value { didSet { if value != oldValue { text = nil } } }
    /// The line as it was read; nil when it was made or changed here.
    public private(set) var text: String?
    /// The line number in the file, from 1; nil when it was made here.
    public private(set) var lineNumber: Int?

    /// Makes a line.
    public init(name: String, opType: OperatorType, value: Value) {
      self.init(name: name, opType: opType, value: value, text: nil, lineNumber: nil)
    }

    init(name: String, opType: OperatorType, value: Value, text: String?, lineNumber: Int?) {
      self.name = name
      self.opType = opType
      self.value = value
      self.text = text
      self.lineNumber = lineNumber
    }

    /// The line that stands for every operator without one.
    public static let fallback = Entry(name: "unknown", opType: .convolution, value: .fp16)

    /// Whether this is the fallback line, if it stands last.
    public var isFallback: Bool { name == "unknown" && opType == .convolution && value == .fp16 }

    /// The line in its canonical form: shortest numbers that read back to the same float32.
    public var canonical: String {
      switch value {
      case .scalar(let scale, let zeroPoint):
        "\(name):\(opType.rawValue):SCALAR:\(scale):\(zeroPoint):\(zeroPoint)"
      case .vector(let scales):
        "\(name):\(opType.rawValue):VECTOR:"
          + scales.map(\.description).joined(separator: ",") + ":0:0"
      case .fp16:
        "\(name):\(opType.rawValue):FP16:1.0:0:0"
      }
    }

    /// Whether the line speaks of weights, not of the activation. An operator may have one of each.
    var isWeights: Bool { if case .vector = value { true } else { false } }
  }
}

extension CalibrationConfig {
  /// All operators' lines in file order, the fallback last.
  public var entries: [Entry] {
    lines.compactMap { line in if case .entry(let entry) = line { entry } else { nil } }
  }

  /// Replaces the line of the same name, type and subject (activation or weights), or adds one
  /// before the fallback. Comments and blank lines stay.
  public mutating func set(_ entry: Entry) {
    for index in lines.indices {
      guard case .entry(var old) = lines[index], old.name == entry.name,
        old.opType == entry.opType, old.isWeights == entry.isWeights,
        index != lines.count - 1 || !old.isFallback
      else { continue }
      old.value = entry.value
      lines[index] = .entry(old)
      return
    }
    let end = lines.lastIndex { line in
      if case .entry(let last) = line { last.isFallback } else { false }
    }
    lines.insert(.entry(entry), at: end ?? lines.count)
  }

  /// The file's bytes.
  public func encode() -> [UInt8] {
    var text = lines.map { line in
      switch line {
      case .remark(let text): text
      case .entry(let entry): entry.text ?? entry.canonical
      }
    }.joined(separator: "\n")
    if endsWithNewline { text += "\n" }
    return Array(text.utf8)
  }
}
