// SPDX-License-Identifier: Apache-2.0
// Writes protobuf by hand, so that files are tested against the wire format and not against the
// code under test.

/// A protobuf message under construction.
struct ProtoWriter {
  private(set) var bytes: [UInt8] = []

  /// A number of any integer kind.
  mutating func varint(_ field: Int, _ value: Int) {
    number(field << 3)
    number(value)
  }

  /// A text, some bytes or a message.
  mutating func bytes(_ field: Int, _ value: [UInt8]) {
    number(field << 3 | 2)
    number(value.count)
    bytes += value
  }

  mutating func text(_ field: Int, _ value: String) { bytes(field, Array(value.utf8)) }

  mutating func message(_ field: Int, _ body: (inout ProtoWriter) -> Void) {
    bytes(field, proto(body))
  }

  private mutating func number(_ value: Int) {
    var rest = UInt64(bitPattern: Int64(value))
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F | 0x80))
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}

/// The bytes of a message.
func proto(_ body: (inout ProtoWriter) -> Void) -> [UInt8] {
  var writer = ProtoWriter()
  body(&writer)
  return writer.bytes
}
