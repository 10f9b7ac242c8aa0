// SPDX-License-Identifier: Apache-2.0
// Artifacts: small JSON objects written straight, where an encoder would take too long.

/// What a member of a JSON object holds, as far as `append(json:)` needs it.
public enum JSONScalar: Sendable {
  /// A text.
  case text(String)
  /// A whole number.
  case integer(Int)
  /// A number; written as `null` when it is not finite, which JSON cannot say.
  case number(Double)
}

extension [UInt8] {
  /// Appends one JSON object on one line, with the members in the order given; those that are nil
  /// are left out.
  ///
  /// For logs of many short objects: an encoder takes as long for ten thousand of them as two
  /// hundred commands of a build do. Everything else is written by `ArtifactJSON`.
  public mutating func append(json members: KeyValuePairs<StaticString, JSONScalar?>) {
    append(UInt8(ascii: "{"))
    var isFirst = true
    for case (let name, let value?) in members {
      if !isFirst { append(UInt8(ascii: ",")) }
      isFirst = false
      append(jsonText: name.description)
      append(UInt8(ascii: ":"))
      switch value {
      case .text(let text): append(jsonText: text)
      case .integer(let number): append(contentsOf: "\(number)".utf8)
      case .number(let number): append(contentsOf: (number.isFinite ? "\(number)" : "null").utf8)
      }
    }
    append(UInt8(ascii: "}"))
  }

  /// Appends a text in quotes, escaped as RFC 8259, section 7, asks. A `String` is valid UTF-8:
  /// what was not has become U+FFFD where it was made from bytes.
  private mutating func append(jsonText text: String) {
    append(UInt8(ascii: "\""))
    var text = text
    text.withUTF8 { bytes in
      var start = 0
      for index in bytes.indices {
        let byte = bytes[index]
        guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else {
          continue
        }
        append(contentsOf: UnsafeBufferPointer(rebasing: bytes[start..<index]))
        start = index + 1
        append(escaped: byte)
      }
      append(contentsOf: UnsafeBufferPointer(rebasing: bytes[start...]))
    }
    append(UInt8(ascii: "\""))
  }

  private mutating func append(escaped byte: UInt8) {
    append(UInt8(ascii: "\\"))
    switch byte {
    case UInt8(ascii: "\n"): append(UInt8(ascii: "n"))
    case UInt8(ascii: "\t"): append(UInt8(ascii: "t"))
    case UInt8(ascii: "\r"): append(UInt8(ascii: "r"))
    case 0..<0x20:
      let digits = Array("0123456789abcdef".utf8)
      append(contentsOf: "u00".utf8)
      append(contentsOf: [digits[Int(byte >> 4)], digits[Int(byte & 15)]])
    default: append(byte)
    }
  }
}
