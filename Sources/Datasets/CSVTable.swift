// SPDX-License-Identifier: Apache-2.0
// Datasets: comma-separated tables with a header row.

internal import Artifacts
internal import Diagnostics

/// A CSV table (RFC 4180): header row, quoted fields, LF or CRLF. Empty lines are skipped.
struct CSVTable {
  let path: String
  let columns: [String]
  private(set) var rows: [Row] = []

  struct Row {
    /// From 1; of the row's first line.
    let line: Int
    let fields: [String]
  }

  init(path: String) throws(QuenchError) { try self.init(FileContent.read(path), path: path) }

  /// - Throws: `.data` with line and column for an unclosed quote, text after a closing quote, a
  ///   row with more or fewer fields than the header, bytes that are not UTF-8, no header.
  init(_ bytes: [UInt8], path: String) throws(QuenchError) {
    self.path = path
    var scanner = Scanner(bytes: bytes, path: path)
    guard let header = try scanner.nextRow() else {
      throw QuenchError(.data, "the table has no header row", at: .file(path))
    }
    columns = header.fields
    var seen: Set<String> = []
    for name in columns where !seen.insert(name).inserted {
      throw QuenchError(
        .data, "the column \"\(name)\" appears twice", at: scanner.place(header.line, 1))
    }
    while let row = try scanner.nextRow() {
      guard row.fields.count == columns.count else {
        throw QuenchError(
          .data, "the row has \(row.fields.count) fields, the header \(columns.count)",
          at: scanner.place(row.line, 1))
      }
      rows.append(row)
    }
  }

  /// The position of a column.
  ///
  /// - Throws: `.data` with the nearest name when there is none.
  func column(_ name: String) throws(QuenchError) -> Int {
    if let index = columns.firstIndex(of: name) { return index }
    throw QuenchError(
      .data, "the table has no column \"\(name)\"" + NearestName.hint(name, among: columns),
      at: .file(path), try: "its columns are: \(columns.joined(separator: ", "))")
  }

  /// A field as an integer.
  ///
  /// - Throws: `.data` with the line when it is none.
  func integer(_ row: Row, _ column: Int) throws(QuenchError) -> Int {
    let text = row.fields[column]
    guard let value = Int(text) else {
      throw QuenchError(
        .data, "the \(columns[column]) \"\(text)\" is not an integer", at: place(of: row, column))
    }
    return value
  }

  /// The line of a row, rebuilt without quotes, with the caret at one field.
  func place(of row: Row, _ column: Int) -> Place {
    let before = row.fields[..<column].reduce(0) { $0 + $1.count + 1 }
    return .line(
      file: path, line: row.line, column: before + 1, text: row.fields.joined(separator: ","))
  }
}

// MARK: - Reading

private struct Scanner {
  let bytes: [UInt8]
  let path: String
  var offset = 0
  var line = 1
  var lineStart = 0

  init(bytes: [UInt8], path: String) {
    self.bytes = bytes
    self.path = path
    // A byte order mark, as spreadsheets write it, is no part of the first column's name.
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
      offset = 3
      lineStart = 3
    }
  }

  mutating func nextRow() throws(QuenchError) -> CSVTable.Row? {
    while offset < bytes.count, isLineEnd { newLine() }
    guard offset < bytes.count else { return nil }
    let first = line
    var fields = [try field()]
    while offset < bytes.count, !isLineEnd {
      offset += 1
      fields.append(try field())
    }
    if offset < bytes.count { newLine() }
    return CSVTable.Row(line: first, fields: fields)
  }

  private var isLineEnd: Bool {
    bytes[offset] == 0x0A
      || (bytes[offset] == 0x0D && (offset + 1 == bytes.count || bytes[offset + 1] == 0x0A))
  }

  private mutating func newLine() {
    if bytes[offset] == 0x0D, offset + 1 < bytes.count { offset += 1 }
    offset += 1
    line += 1
    lineStart = offset
  }

  /// Reads up to the comma or line end that follows the field.
  private mutating func field() throws(QuenchError) -> String {
    var content: [UInt8] = []
    let (startLine, startColumn) = (line, offset - lineStart + 1)
    if offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") {
      offset += 1
      while true {
        guard offset < bytes.count else {
          throw QuenchError(
            .data, "the quoted field is not closed", at: place(startLine, startColumn))
        }
        let byte = bytes[offset]
        offset += 1
        if byte == UInt8(ascii: "\"") {
          guard offset < bytes.count, bytes[offset] == byte else { break }
          offset += 1
        } else if byte == 0x0A {
          line += 1
          lineStart = offset
        }
        content.append(byte)
      }
      guard offset == bytes.count || isLineEnd || bytes[offset] == UInt8(ascii: ",") else {
        throw QuenchError(
          .data, "text follows the closing quote", at: place(line, offset - lineStart + 1))
      }
    } else {
      let start = offset
      while offset < bytes.count, !isLineEnd, bytes[offset] != UInt8(ascii: ",") { offset += 1 }
      content = Array(bytes[start..<offset])
    }
    guard let text = String(validating: content, as: UTF8.self) else {
      throw QuenchError(.data, "the field is not UTF-8", at: place(startLine, startColumn))
    }
    return text
  }

  func place(_ line: Int, _ column: Int) -> Place {
    let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
    let text = line <= lines.count ? String(decoding: lines[line - 1], as: UTF8.self) : ""
    return .line(file: path, line: line, column: column, text: text)
  }
}
