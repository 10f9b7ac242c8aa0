// SPDX-License-Identifier: Apache-2.0
// BundlingTests: archives made byte by byte, so that they can be wrong in any way.

import Artifacts
import Testing

/// A tar stream under construction (POSIX.1-1988 ustar headers).
struct TarBytes {
  private(set) var bytes: [UInt8] = []

  mutating func add(
    _ name: String, _ content: [UInt8] = [], type: Character = "0", mode: Int = 0o644,
    link: String = "", size: Int? = nil
  ) {
    add(rawName: Array(name.utf8), content, type: type, mode: mode, link: link, size: size)
  }

  mutating func add(
    rawName: [UInt8], _ content: [UInt8] = [], type: Character = "0", mode: Int = 0o644,
    link: String = "", size: Int? = nil
  ) {
    var header = [UInt8](repeating: 0, count: 512)
    func put(_ offset: Int, _ text: [UInt8]) {
      header.replaceSubrange(offset..<offset + text.count, with: text)
    }
    func octal(_ value: Int, _ digits: Int) -> [UInt8] {
      let text = String(value, radix: 8)
      return Array((String(repeating: "0", count: digits - text.count) + text).utf8)
    }
    put(0, Array(rawName.prefix(100)))
    put(100, octal(mode, 7))
    put(108, octal(0, 7))
    put(116, octal(0, 7))
    put(124, octal(size ?? content.count, 11))
    put(136, octal(0, 11))
    put(148, Array("        ".utf8))
    put(156, Array(String(type).utf8))
    put(157, Array(link.utf8))
    put(257, Array("ustar\u{0}00".utf8))
    let sum = header.reduce(0) { $0 + Int($1) }
    put(148, octal(sum, 6) + [0, 0x20])
    bytes += header + content
    bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
  }

  /// The stream with its end marker.
  var ended: [UInt8] { bytes + [UInt8](repeating: 0, count: 1_024) }
}

/// Zstandard frames without compression (RFC 8878, sections 3.1.1 and 3.1.1.2).
enum StoredZstd {
  private static let header: [UInt8] = [
    0x28, 0xb5, 0x2f, 0xfd,  // magic number
    0x00,  // no content size, no checksum, no dictionary
    0x58,  // window of 2 MiB
  ]

  /// A frame of raw blocks.
  static func frame(_ content: [UInt8]) -> [UInt8] {
    var frame = header
    var offset = 0
    repeat {
      let count = min(1 << 17, content.count - offset)
      let last = offset + count == content.count
      frame += blockHeader(size: count, type: 0, last: last)
      frame += content[offset..<offset + count]
      offset += count
    } while offset < content.count
    return frame
  }

  /// A frame that starts with raw content and goes on with blocks of 128 KiB of zeros, four
  /// bytes each, in thousands.
  static func bomb(_ content: [UInt8], zeroBlocks: Int) -> [UInt8] {
    var frame = header
    var offset = 0
    while offset < content.count {
      let count = min(1 << 17, content.count - offset)
      frame += blockHeader(size: count, type: 0, last: false) + content[offset..<offset + count]
      offset += count
    }
    let block = blockHeader(size: 1 << 17, type: 1, last: false) + [0]
    let thousand = (0..<1_000).flatMap { _ in block }
    for _ in 0..<zeroBlocks / 1_000 { frame += thousand }
    frame += blockHeader(size: 0, type: 0, last: true)
    return frame
  }

  private static func blockHeader(size: Int, type: Int, last: Bool) -> [UInt8] {
    let word = size << 3 | type << 1 | (last ? 1 : 0)
    return [UInt8(word & 255), UInt8(word >> 8 & 255), UInt8(word >> 16 & 255)]
  }
}

/// A bundle made by hand: right unless it is told otherwise.
struct HandmadeBundle {
  var files: [(name: String, content: [UInt8])] = [
    (name: "a.txt", content: Array("first".utf8)), (name: "net/net.om", content: [1, 2, 3]),
  ]
  var version = 1

  /// Its manifest.
  func manifest() throws -> [UInt8] {
    let list = try files.map {
      "{\"path\":\"\($0.name)\",\"size\":\($0.content.count),"
        + "\"sha256\":\"\(try ContentDigest.of($0.content).hex)\"}"
    }
    return Array(
      ("{\"format\":\"quench.bundle\",\"version\":\(version),\"name\":\"b\",\"layout\":\"plain\","
        + "\"hostBuilt\":false,\"models\":[],\"files\":[\(list.joined(separator: ","))]}\n").utf8)
  }

  /// Its list of digests.
  func sums() throws -> [UInt8] {
    var lines = try files.map { ($0.name, try ContentDigest.of($0.content).hex) }
    lines.append(("manifest.json", try ContentDigest.of(manifest()).hex))
    lines.sort { $0.0.utf8.lexicographicallyPrecedes($1.0.utf8) }
    return Array(lines.map { "\($0.1)  \($0.0)\n" }.joined().utf8)
  }

  /// The tar stream up to and with the two documents, not ended.
  func head() throws -> TarBytes {
    var tar = TarBytes()
    tar.add("manifest.json", try manifest())
    tar.add("SHA256SUMS", try sums())
    return tar
  }

  /// The tar stream with all files, not ended.
  func tar() throws -> TarBytes {
    var tar = try head()
    for file in files { tar.add(file.name, file.content) }
    return tar
  }
}
