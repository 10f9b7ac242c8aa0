// SPDX-License-Identifier: Apache-2.0
// Compilation: what atc prints, read.

/// The text that one run of `atc` printed.
///
/// Three generations of error blocks are understood: `E10007: …`, `E20001: [PID: 1] time …` and
/// `[PID: 1] time Title(E10001): …`; keys are indented by eight blanks in all of them.
public struct ATCOutput: Sendable {
  /// All of it, as printed.
  public let text: String
  /// The error and warning blocks in the order printed.
  public let blocks: [Block]

  /// One error or warning.
  public struct Block: Sendable, Equatable {
    /// The tool's code, for example `E10001`; empty for errors of the command line's reader.
    public var code: String
    /// The tool's sentence, without process number and time.
    public var message: String
    /// What follows `Possible Cause:`.
    public var cause: String?
    /// What follows `Solution:`.
    public var solution: String?
    /// Whether it is a warning (code `W…`).
    public var isWarning: Bool { code.hasPrefix("W") }
  }

  /// The line that a successful run prints.
  static let success = "ATC run success"

  /// Reads the output of a run.
  public init(_ text: String) {
    self.text = text
    var blocks: [Block] = []
    for line in text.split(whereSeparator: \.isNewline).map(String.init) {
      let content = line.drop { $0 == " " || $0 == "\t" }
      if line.first != " ", line.first != "\t", let block = ATCOutput.head(line) {
        blocks.append(block)
      } else if !blocks.isEmpty {
        let last = blocks.count - 1
        if let text = ATCOutput.value(of: "Possible Cause:", in: content) {
          blocks[last].cause = text
        } else if let text = ATCOutput.value(of: "Solution:", in: content) {
          blocks[last].solution = text
        }
      }
    }
    self.blocks = blocks
  }

  /// Whether the success line was printed.
  public var reportsSuccess: Bool {
    text.split(whereSeparator: \.isNewline).contains { $0.hasPrefix(ATCOutput.success) }
  }

  /// The block that explains a failure: the first one that is no warning, and rather one with a
  /// specific code than a general one (`E19999`, `EZ9999`), which only says that something failed.
  public var failure: Block? {
    let errors = blocks.filter { !$0.isWarning }
    return errors.first { !$0.code.hasSuffix("9999") } ?? errors.first
  }

  /// The warnings.
  public var warnings: [Block] { blocks.filter(\.isWarning) }
}

// MARK: - Lines

extension ATCOutput {
  private static func head(_ line: String) -> Block? {
    if line.hasPrefix("ERROR: ") {
      return Block(code: "", message: String(line.dropFirst("ERROR: ".count)))
    }
    // E10007: text, or E20001: [PID: 1] 2025-06-16-13:02:36.801.136 text
    if let colon = line.firstIndex(of: ":"), isCode(line[..<colon]) {
      let message = withoutStamp(line[line.index(after: colon)...].drop { $0 == " " })
      return Block(code: String(line[..<colon]), message: String(message))
    }
    // [PID: 1] 2026-08-21-15:14:44.123.456 Invalid_Argument(E10001): text
    guard line.hasPrefix("[PID:") else { return nil }
    let rest = withoutStamp(line[...])
    guard let open = rest.firstIndex(of: "("), let close = rest.firstIndex(of: ")"), open < close,
      isCode(rest[rest.index(after: open)..<close])
    else { return nil }
    let message = rest[rest.index(after: close)...].drop { $0 == ":" || $0 == " " }
    return Block(code: String(rest[rest.index(after: open)..<close]), message: String(message))
  }

  /// Drops `[PID: 1] ` and the time behind it.
  private static func withoutStamp(_ text: Substring) -> Substring {
    guard text.hasPrefix("[PID:"), let close = text.firstIndex(of: "]") else { return text }
    let rest = text[text.index(after: close)...].drop { $0 == " " }
    guard let space = rest.firstIndex(of: " "),
      rest[..<space].allSatisfy({ $0.isNumber || "-:.".contains($0) })
    else { return rest }
    return rest[space...].drop { $0 == " " }
  }

  /// `E10007`, `EZ3003`, `W11001`.
  private static func isCode(_ text: Substring) -> Bool {
    guard let first = text.first, first == "E" || first == "W" else { return false }
    var rest = text.dropFirst()
    if first == "E", let second = rest.first, second.isASCII, second.isUppercase {
      rest = rest.dropFirst()
    }
    return (4...5).contains(rest.count) && rest.allSatisfy { $0.isASCII && $0.isNumber }
  }

  private static func value(of key: String, in line: Substring) -> String? {
    guard line.hasPrefix(key) else { return nil }
    let text = line.dropFirst(key.count).drop { $0 == " " }
    return text.isEmpty || text == "N/A" || text == "N/A." ? nil : String(text)
  }
}
