// SPDX-License-Identifier: Apache-2.0
// Datasets: what an .npz file (a zip of .npy files) holds, and where.

internal import Diagnostics

/// The central directory of a zip file, as far as `.npz` needs it: stored and deflated members.
///
/// Source: PKWARE's APPNOTE.TXT, 4.3 and 4.5.3 (Zip64).
struct ZipDirectory {
  private(set) var members: [Member] = []

  struct Member: Sendable {
    var name: String
    /// 0 stored, 8 deflated.
    var method: Int
    var checksum: UInt32
    var compressedSize: Int
    var size: Int
    /// Of the local header.
    var offset: Int
  }

  static let magic: [UInt8] = [0x50, 0x4B, 0x03, 0x04]

  init(_ file: RandomAccessFile) throws(QuenchError) {
    func wrong(_ reason: String) -> QuenchError {
      QuenchError(.data, "the zip file \(reason)", at: .file(file.path))
    }
    // The end record is 22 bytes and a comment of at most 65535.
    let tailSize = min(file.size, 22 + 65_535)
    let tailStart = file.size - tailSize
    let tail = try file.read(at: tailStart, count: tailSize)
    guard
      let end = stride(from: tail.count - 22, through: 0, by: -1).first(where: {
        $0 >= 0 && tail[$0] == 0x50 && tail.number(at: $0, 4) == 0x0605_4B50
      })
    else { throw wrong("has no directory: it is cut short") }
    var count = tail.number(at: end + 10, 2)
    var size = tail.number(at: end + 12, 4)
    var offset = tail.number(at: end + 16, 4)
    if count == 0xFFFF || size == 0xFFFF_FFFF || offset == 0xFFFF_FFFF {
      guard end >= 20, tail.number(at: end - 20, 4) == 0x0706_4B50 else {
        throw wrong("lacks its Zip64 record")
      }
      let record = try file.read(at: tail.number(at: end - 12, 8), count: 56)
      guard record.number(at: 0, 4) == 0x0606_4B50 else { throw wrong("lacks its Zip64 record") }
      count = record.number(at: 32, 8)
      size = record.number(at: 40, 8)
      offset = record.number(at: 48, 8)
    }
    let bytes = try file.read(at: offset, count: size)
    var start = 0
    for _ in 0..<max(0, min(count, bytes.count / 46 + 1)) {
      guard start + 46 <= bytes.count, bytes.number(at: start, 4) == 0x0201_4B50 else {
        throw wrong("has a malformed directory")
      }
      let nameLength = bytes.number(at: start + 28, 2)
      let extraLength = bytes.number(at: start + 30, 2)
      let next = start + 46 + nameLength + extraLength + bytes.number(at: start + 32, 2)
      guard next <= bytes.count else { throw wrong("has a malformed directory") }
      guard bytes.number(at: start + 8, 2) & 1 == 0 else { throw wrong("is encrypted") }
      var member = Member(
        name: String(decoding: bytes[(start + 46)..<(start + 46 + nameLength)], as: UTF8.self),
        method: bytes.number(at: start + 10, 2),
        checksum: UInt32(truncatingIfNeeded: bytes.number(at: start + 16, 4)),
        compressedSize: bytes.number(at: start + 20, 4), size: bytes.number(at: start + 24, 4),
        offset: bytes.number(at: start + 42, 4))
      let extra = start + 46 + nameLength
      member.applyZip64(Array(bytes[extra..<extra + extraLength]))
      members.append(member)
      start = next
    }
  }
}

extension ZipDirectory.Member {
  /// Sizes that do not fit 32 bits stand in extra field 1, in fixed order, only those that lack.
  fileprivate mutating func applyZip64(_ extra: [UInt8]) {
    var start = 0
    while start + 4 <= extra.count {
      let length = extra.number(at: start + 2, 2)
      let end = start + 4 + length
      if extra.number(at: start, 2) == 1, end <= extra.count {
        var field = start + 4
        for path in [\Self.size, \Self.compressedSize, \Self.offset]
        where self[keyPath: path] == 0xFFFF_FFFF && field + 8 <= end {
          self[keyPath: path] = extra.number(at: field, 8)
          field += 8
        }
      }
      start = end
    }
  }

  /// Where the content begins: behind the local header, whose lengths may differ from ours.
  func contentOffset(in file: RandomAccessFile) throws(QuenchError) -> Int {
    let header = try file.read(at: offset, count: 30)
    guard header.number(at: 0, 4) == 0x0403_4B50 else {
      throw QuenchError(
        .data, "the member \"\(name)\" of the zip file is missing", at: .file(file.path))
    }
    return offset + 30 + header.number(at: 26, 2) + header.number(at: 28, 2)
  }
}

extension [UInt8] {
  /// A little-endian number of `count` bytes; negative when the eighth byte's top bit is set, which
  /// every reader of sizes refuses.
  fileprivate func number(at offset: Int, _ count: Int) -> Int {
    self[offset..<offset + count].reversed().reduce(0) { $0 << 8 | Int($1) }
  }
}
