// SPDX-License-Identifier: Apache-2.0
// Compilation: little-endian integers in and out of bytes, every position checked.

internal import Diagnostics

/// Reads little-endian integers; whatever lies outside the bytes is an error, never a trap.
struct ByteReader {
  let bytes: ArraySlice<UInt8>
  /// What is read, for messages: `the header of the OM file`.
  let subject: String
  /// Position relative to the first byte.
  private(set) var position = 0

  init(_ bytes: ArraySlice<UInt8>, subject: String) {
    self.bytes = bytes
    self.subject = subject
  }

  var remaining: Int { bytes.count - position }

  /// The next bytes, as a slice of the whole.
  mutating func take(_ count: Int) throws(QuenchError) -> ArraySlice<UInt8> {
    guard count >= 0, count <= remaining else {
      throw QuenchError(
        .data,
        "\(subject) ends early: \(count) more bytes are wanted at \(position), "
          + "\(remaining) are there")
    }
    let start = bytes.startIndex + position
    position += count
    return bytes[start..<start + count]
  }

  mutating func skip(_ count: Int) throws(QuenchError) { _ = try take(count) }

  mutating func integer<T: FixedWidthInteger>(
    _ type: T.Type = T.self
  ) throws(QuenchError) -> T {
    var value: T = 0
    for (index, byte) in try take(T.bitWidth / 8).enumerated() {
      value |= T(truncatingIfNeeded: byte) << (8 * index)
    }
    return value
  }

  /// A length or count that is used as an `Int`.
  mutating func count<T: FixedWidthInteger & UnsignedInteger>(
    _ type: T.Type
  ) throws(QuenchError) -> Int {
    let value = try integer(T.self)
    guard let count = Int(exactly: value) else {
      throw QuenchError(.data, "\(subject) holds the impossible length \(value)")
    }
    return count
  }

  /// A field of fixed width that holds text up to the first NUL.
  mutating func text(_ width: Int) throws(QuenchError) -> String {
    String(decoding: try take(width).prefix { $0 != 0 }, as: UTF8.self)
  }
}

extension [UInt8] {
  /// Appends an integer, little-endian.
  mutating func append(integer value: some FixedWidthInteger) {
    for index in 0..<value.bitWidth / 8 {
      append(UInt8(truncatingIfNeeded: value >> (8 * index)))
    }
  }

  /// Appends text in a field of fixed width, cut between characters so that a NUL still follows.
  mutating func append(text: String, width: Int) {
    var field: [UInt8] = []
    for character in text {
      let next = Array(character.utf8)
      guard field.count + next.count < width else { break }
      field += next
    }
    self += field
    self += [UInt8](repeating: 0, count: width - field.count)
  }
}
