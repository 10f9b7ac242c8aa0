// SPDX-License-Identifier: Apache-2.0
// Quantization: reading calibration.cfg, with line and column for every fault.

public import Diagnostics

extension CalibrationConfig {
  /// Reads the text of a `calibration.cfg`.
  ///
  /// Names are not looked up here: `check(against:)` does that.
  /// - Parameters:
  ///   - text: the file's bytes, UTF-8.
  ///   - path: the file, for messages.
  /// - Throws: `.data` with line and column for the first fault: a field missing or malformed, an
  ///   unknown type, a scale that is not greater than 0, a zero point outside −128…127, a
  ///   second line for the same operator and subject, a fallback line that is missing or not last.
  public static func parse(_ text: [UInt8], path: String) throws(QuenchError) -> CalibrationConfig {
    var pieces = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    let endsWithNewline = pieces.last?.isEmpty == true
    if endsWithNewline { pieces.removeLast() }
    var lines: [Line] = []
    lines.reserveCapacity(pieces.count)
    for (index, piece) in pieces.enumerated() {
      guard let line = String(validating: piece, as: UTF8.self) else {
        throw QuenchError(
          .data, "this line is not valid UTF-8",
          at: .line(
            file: path, line: index + 1, column: 1, text: String(decoding: piece, as: UTF8.self)))
      }
      lines.append(try LineReader(text: line, number: index + 1, path: path).read())
    }
    let config = CalibrationConfig(parsed: lines, path: path, endsWithNewline: endsWithNewline)
    try config.checkFallback()
    try config.checkDuplicates()
    return config
  }

  /// An error at a column of an entry's line, or at its node when there is no file.
  func fault(
    _ message: String, at entry: Entry, column: Int = 1, try remedy: String? = nil
  ) -> QuenchError {
    guard let path, let number = entry.lineNumber else {
      return QuenchError(.data, message, at: .node(entry.name), try: remedy)
    }
    let text = entry.text ?? entry.canonical
    return QuenchError(
      .data, message, at: .line(file: path, line: number, column: column, text: text), try: remedy)
  }

  private func checkFallback() throws(QuenchError) {
    let remedy = "\"\(Entry.fallback.canonical)\" as the last line"
    let entries = entries
    guard let last = entries.last else {
      throw QuenchError(
        .data, "the fallback line is missing", at: path.map { .file($0) }, try: remedy)
    }
    guard !last.isFallback else { return }
    if last.name == Entry.fallback.name, last.opType == .convolution {
      throw fault("the fallback line must say FP16", at: last, try: remedy)
    }
    if let early = entries.first(where: \.isFallback) {
      throw fault("the fallback line must be the last line", at: early)
    }
    throw fault("the fallback line is missing after this line", at: last, try: remedy)
  }

  private func checkDuplicates() throws(QuenchError) {
    struct Key: Hashable {
      var name: String
      var type: OperatorType
      var isWeights: Bool
    }
    var seen: [Key: Int] = [:]
    // The fallback is no layer's line: a layer may be called "unknown".
    for entry in entries.dropLast() {
      let key = Key(name: entry.name, type: entry.opType, isWeights: entry.isWeights)
      if let first = seen[key] {
        let subject = entry.isWeights ? "VECTOR line" : "SCALAR or FP16 line"
        throw fault(
          "\"\(entry.name)\" has a second \(subject), its first is line \(first)", at: entry)
      }
      seen[key] = entry.lineNumber ?? 0
    }
  }
}

/// Reads one line.
private struct LineReader {
  var text: String
  var number: Int
  var path: String

  func read() throws(QuenchError) -> CalibrationConfig.Line {
    // An editor's carriage return is no part of the last field, yet is kept.
    let content = text.hasSuffix("\r") ? text.dropLast() : text[...]
    if content.hasPrefix("#") || content.allSatisfy({ $0 == " " || $0 == "\t" }) {
      return .remark(text)
    }
    let fields = try fields(of: content)
    guard !fields[0].isEmpty else { throw fault("the name is empty", at: fields[0]) }
    guard let type = CalibrationConfig.OperatorType(rawValue: String(fields[1])) else {
      throw unknown(
        "operator type", fields[1], CalibrationConfig.OperatorType.allCases.map(\.rawValue))
    }
    let value = try value(fields)
    return .entry(
      CalibrationConfig.Entry(
        name: String(fields[0]), opType: type, value: value, text: text, lineNumber: number))
  }

  /// The six fields, split at the last five colons.
  private func fields(of content: Substring) throws(QuenchError) -> [Substring] {
    var fields: [Substring] = []
    var rest = content
    while fields.count < 5, let colon = rest.lastIndex(of: ":") {
      fields.append(rest[rest.index(after: colon)...])
      rest = rest[..<colon]
    }
    fields.append(rest)
    guard fields.count == 6 else {
      throw fault(
        "this line has \(fields.count) field\(fields.count == 1 ? "" : "s"), "
          + "not the six of name:OpType:quant_type:scale:zero_point:offset", at: content)
    }
    return fields.reversed()
  }

  private func value(_ fields: [Substring]) throws(QuenchError) -> CalibrationConfig.Value {
    let zeroPoint = try code(fields[4], "zero point")
    let offset = try code(fields[5], "offset")
    guard zeroPoint == offset else {
      throw fault(
        "the offset \(offset) differs from the zero point \(zeroPoint): both are the code of zero",
        at: fields[5])
    }
    switch fields[2] {
    case "SCALAR":
      return .scalar(scale: try scale(fields[3]), zeroPoint: zeroPoint)
    case "FP16":
      // The numbers mean nothing here, so a SCALAR line can be switched by its one word.
      _ = try scale(fields[3])
      return .fp16
    case "VECTOR":
      guard zeroPoint == 0 else {
        throw fault("weights have the zero point 0", at: fields[4])
      }
      var scales: [Float] = []
      for part in fields[3].split(separator: ",", omittingEmptySubsequences: false) {
        scales.append(try scale(part))
      }
      return .vector(scales)
    default:
      throw unknown("quantization type", fields[2], ["SCALAR", "VECTOR", "FP16"])
    }
  }

  private func scale(_ field: Substring) throws(QuenchError) -> Float {
    // Float's own reader also takes hexadecimal digits, "inf" and "nan".
    let isDecimal = field.utf8.allSatisfy { byte in
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "+-.eE".utf8.contains(byte)
    }
    // Ascend's quantizer stores the reciprocal.
    guard isDecimal, let value = Float(field), value > 0, value.isFinite, (1 / value).isFinite
    else {
      throw fault("\"\(field)\" is not a scale, a number greater than 0", at: field)
    }
    return value
  }

  private func code(_ field: Substring, _ what: String) throws(QuenchError) -> Int32 {
    guard let value = Int32(field), (-128...127).contains(value) else {
      throw fault(
        "the \(what) \"\(field)\" is not a whole number in -128...127",
        at: field)
    }
    return value
  }

  private func unknown(_ what: String, _ field: Substring, _ known: [String]) -> QuenchError {
    fault(
      "unknown \(what) \"\(field)\"\(NearestName.hint(String(field), among: known))", at: field,
      try: "one of \(known.joined(separator: ", "))")
  }

  private func fault(
    _ message: String, at field: Substring, try remedy: String? = nil
  ) -> QuenchError {
    let column = text.distance(from: text.startIndex, to: field.startIndex) + 1
    return QuenchError(
      .data, message, at: .line(file: path, line: number, column: column, text: text), try: remedy)
  }
}
