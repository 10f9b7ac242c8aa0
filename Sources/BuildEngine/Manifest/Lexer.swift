// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the tokens of the Ninja manifest language (Ninja manual, "Lexical syntax").

internal import Diagnostics

/// What the parser sees next.
enum Token: Equatable {
  case build, rule, pool, `default`, include, subninja
  case identifier, newline, indent, equals, colon, pipe, pipe2, pipeAt, end, tab, unknown

  /// The token as messages name it.
  var description: String {
    switch self {
    case .build: "'build'"
    case .rule: "'rule'"
    case .pool: "'pool'"
    case .default: "'default'"
    case .include: "'include'"
    case .subninja: "'subninja'"
    case .identifier: "identifier"
    case .newline: "newline"
    case .indent: "indent"
    case .equals: "'='"
    case .colon: "':'"
    case .pipe: "'|'"
    case .pipe2: "'||'"
    case .pipeAt: "'|@'"
    case .end: "end of file"
    case .tab: "tab"
    case .unknown: "lexing error"
    }
  }
}

/// A value or path as it stands in the file: positions, and whether it holds a `$`.
struct SourceText {
  var start: Int
  var end: Int
  var plain: Bool
}

/// Cuts one file into tokens. Bytes, no encoding; no NUL byte.
struct Lexer {
  let file: String
  let bytes: UnsafeBufferPointer<UInt8>
  private(set) var position = 0
  /// Start of the token that was read last: where errors point.
  private(set) var lastStart = 0
  /// Whether `$^` stands for a newline: since 1.14, where the manifest asks for that version.
  var takesCaret = false

  init(file: String, bytes: UnsafeBufferPointer<UInt8>) {
    self.file = file
    self.bytes = bytes
  }

  @inline(__always)
  private func byte(_ index: Int) -> UInt8 { index < bytes.count ? bytes[index] : 0 }

  mutating func next() throws(QuenchError) -> Token {
    while true {
      lastStart = position
      var p = position
      while byte(p) == 0x20 { p += 1 }
      let c = byte(p)
      if c == UInt8(ascii: "#") {
        while byte(p) != 0x0A, byte(p) != 0 { p += 1 }
        guard byte(p) == 0x0A else {
          throw endOfFile(at: p, "a comment must end with a newline")
        }
        position = p + 1
        continue
      }
      // It must not cut a damaged manifest short without a word.
      if c == 0, p < bytes.count { throw endOfFile(at: p) }
      if c == 0x0A {
        position = p + 1
        return .newline
      }
      if c == 0x0D, byte(p + 1) == 0x0A {
        position = p + 2
        return .newline
      }
      if p > position {
        position = p
        skipBlanks()
        return .indent
      }
      let token = read()
      if token != .end { skipBlanks() }
      return token
    }
  }

  /// Reads a token that begins here with something other than blanks.
  private mutating func read() -> Token {
    switch byte(position) {
    case 0: return .end
    case UInt8(ascii: "="):
      position += 1
      return .equals
    case UInt8(ascii: ":"):
      position += 1
      return .colon
    case UInt8(ascii: "|"):
      position += 1
      if byte(position) == UInt8(ascii: "@") {
        position += 1
        return .pipeAt
      }
      if byte(position) == UInt8(ascii: "|") {
        position += 1
        return .pipe2
      }
      return .pipe
    case 0x09: return .tab
    default:
      let start = position
      while Lexer.isName(byte(position), dots: true) { position += 1 }
      guard position > start else {
        position += 1
        return .unknown
      }
      return keyword(start, position)
    }
  }

  private func keyword(_ start: Int, _ end: Int) -> Token {
    func matches(_ word: StaticString) -> Bool {
      guard word.utf8CodeUnitCount == end - start else { return false }
      for i in 0..<word.utf8CodeUnitCount where word.utf8Start[i] != bytes[start + i] {
        return false
      }
      return true
    }
    switch bytes[start] {
    case UInt8(ascii: "b") where matches("build"): return .build
    case UInt8(ascii: "r") where matches("rule"): return .rule
    case UInt8(ascii: "p") where matches("pool"): return .pool
    case UInt8(ascii: "d") where matches("default"): return .default
    case UInt8(ascii: "i") where matches("include"): return .include
    case UInt8(ascii: "s") where matches("subninja"): return .subninja
    default: return .identifier
    }
  }

  /// Consumes `token` if it comes next.
  mutating func peek(_ token: Token) throws(QuenchError) -> Bool {
    let saved = (position, lastStart)
    if try next() == token { return true }
    (position, lastStart) = saved
    return false
  }

  /// Puts the last token back.
  mutating func unread() { position = lastStart }

  mutating func expect(_ token: Token) throws(QuenchError) {
    let found = try next()
    guard found == token else {
      let hint = token == .colon && found != .end ? " ($ also escapes ':')" : ""
      throw error("expected \(token.description), got \(found.description)\(hint)")
    }
  }

  /// Reads a name, keyword or not; nil when something else stands here.
  mutating func name() -> UnsafeBufferPointer<UInt8>? {
    lastStart = position
    let start = position
    while Lexer.isName(byte(position), dots: true) { position += 1 }
    guard position > start else { return nil }
    let end = position
    skipBlanks()
    return UnsafeBufferPointer(rebasing: bytes[start..<end])
  }

  /// Reads to the end of the line, which is consumed.
  mutating func value() throws(QuenchError) -> SourceText {
    let start = position
    var plain = true
    while true {
      switch byte(position) {
      case 0x0A:
        position += 1
        return SourceText(start: start, end: position - 1, plain: plain)
      case 0x0D:
        guard byte(position + 1) == 0x0A else {
          lastStart = position
          throw error("a carriage return must be followed by a newline")
        }
        position += 2
        return SourceText(start: start, end: position - 2, plain: plain)
      case UInt8(ascii: "$"):
        plain = false
        try escape()
      case 0:
        throw endOfFile(at: position)
      default: position += 1
      }
    }
  }

  /// Reads one path; empty when a separator or the line's end stands here.
  mutating func path() throws(QuenchError) -> SourceText? {
    lastStart = position
    let start = position
    var plain = true
    scan: while true {
      switch byte(position) {
      case 0x20, 0x0A, UInt8(ascii: ":"), UInt8(ascii: "|"): break scan
      case 0x0D:
        guard byte(position + 1) == 0x0A else {
          lastStart = position
          throw error("a carriage return must be followed by a newline")
        }
        break scan
      case UInt8(ascii: "$"):
        plain = false
        try escape()
      case 0:
        throw endOfFile(at: position)
      default: position += 1
      }
    }
    let end = position
    skipBlanks()
    return end > start ? SourceText(start: start, end: end, plain: plain) : nil
  }

  /// A NUL, or the end, where neither may be.
  private mutating func endOfFile(
    at position: Int, _ message: String = "unexpected end of file; the last line needs a newline"
  ) -> QuenchError {
    lastStart = position
    return error(position < bytes.count ? "a NUL byte cannot be part of a manifest" : message)
  }

  /// Steps over `$` and what it escapes.
  private mutating func escape() throws(QuenchError) {
    let at = position
    let c = byte(position + 1)
    switch c {
    case UInt8(ascii: "$"), UInt8(ascii: " "), UInt8(ascii: ":"): position += 2
    case 0x0A:
      position += 2
      skipSpaces()
    case 0x0D where byte(position + 2) == 0x0A:
      position += 3
      skipSpaces()
    case UInt8(ascii: "^") where takesCaret: position += 2
    case UInt8(ascii: "{"):
      var p = position + 2
      while Lexer.isName(byte(p), dots: true) { p += 1 }
      guard byte(p) == UInt8(ascii: "}"), p > position + 2 else {
        lastStart = at
        throw error("bad $-escape (literal $ must be written as $$)")
      }
      position = p + 1
    default:
      var p = position + 1
      while Lexer.isName(byte(p), dots: false) { p += 1 }
      guard p > position + 1 else {
        lastStart = at
        throw error(
          "bad $-escape (literal $ must be written as $$)"
            + (c == UInt8(ascii: "^") ? "; $^ needs ninja_required_version = 1.14" : ""))
      }
      position = p
    }
  }

  /// The indentation of a continued line is no part of a value, nor does it end a path.
  private mutating func skipSpaces() {
    while byte(position) == 0x20 { position += 1 }
  }

  private mutating func skipBlanks() {
    while true {
      if byte(position) == 0x20 {
        position += 1
      } else if byte(position) == UInt8(ascii: "$"), byte(position + 1) == 0x0A {
        position += 2
      } else if byte(position) == UInt8(ascii: "$"), byte(position + 1) == 0x0D,
        byte(position + 2) == 0x0A
      {
        position += 3
      } else {
        return
      }
    }
  }

  @inline(__always)
  static func isName(_ c: UInt8, dots: Bool) -> Bool {
    switch c {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    case UInt8(ascii: "."): dots
    default: false
    }
  }

  /// An error that points at the last token.
  func error(_ message: String, try remedy: String? = nil) -> QuenchError {
    QuenchError(.data, message, at: place(lastStart), try: remedy)
  }

  func place(_ offset: Int) -> Place { Lexer.place(file: file, bytes: bytes, offset: offset) }

  /// Line, column and text of an offset.
  static func place(file: String, bytes: UnsafeBufferPointer<UInt8>, offset: Int) -> Place {
    let offset = min(offset, bytes.count)
    var line = 1
    var start = 0
    for i in 0..<offset where bytes[i] == 0x0A {
      line += 1
      start = i + 1
    }
    var end = offset
    while end < bytes.count, bytes[end] != 0x0A, bytes[end] != 0x0D { end += 1 }
    let text = String(decoding: bytes[start..<end], as: UTF8.self)
    let lead = String(decoding: bytes[start..<offset], as: UTF8.self)
    return .line(file: file, line: line, column: lead.count + 1, text: text)
  }
}
