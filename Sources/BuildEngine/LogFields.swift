// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the values in the trace log's records.

internal import CKernels
internal import CSystem
internal import Diagnostics
internal import Glibc

/// A SHA-256, or for an alias a mix of those of its members.
struct Digest: Equatable {
  var a: UInt64 = 0
  var b: UInt64 = 0
  var c: UInt64 = 0
  var d: UInt64 = 0

  init() {}

  init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    a = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    b = bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
    c = bytes.loadUnaligned(fromByteOffset: offset + 16, as: UInt64.self)
    d = bytes.loadUnaligned(fromByteOffset: offset + 24, as: UInt64.self)
  }

  /// Four different 64-bit hashes: for lists of digests, whose own strength carries over, in a small
  /// part of the time that SHA-256 takes.
  init(mixing bytes: [UInt8]) {
    let hashes = (1...4).map { seed in
      bytes.withUnsafeBytes { cs_hash($0.baseAddress, $0.count, UInt64(seed)) }
    }
    (a, b, c, d) = (hashes[0], hashes[1], hashes[2], hashes[3])
  }

  /// Digests what `body` hands to its argument.
  static func of<Failure: Error>(
    _ body: ((UnsafeRawBufferPointer) -> Void) throws(Failure) -> Void
  ) throws(Failure) -> Digest? {
    guard let sha = ck_sha256_new() else { return nil }
    defer { ck_sha256_free(sha) }
    try body { bytes in
      if let base = bytes.baseAddress, !bytes.isEmpty {
        ck_sha256_update(sha, base, bytes.count)
      }
    }
    var raw = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
    return withUnsafeMutableBytes(of: &raw) { buffer in
      ck_sha256_final(sha, buffer.baseAddress)
      return Digest(UnsafeRawBufferPointer(buffer), at: 0)
    }
  }

  func append(to out: inout [UInt8]) {
    withUnsafeBytes(of: (a, b, c, d)) { out.append(contentsOf: $0) }
  }

  /// 64 lower-case hexadecimal digits.
  var hex: String {
    var text: [UInt8] = []
    let digits = Array("0123456789abcdef".utf8)
    withUnsafeBytes(of: (a, b, c, d)) { bytes in
      for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
      }
    }
    return String(decoding: text, as: UTF8.self)
  }
}

extension [UInt8] {
  mutating func append(word: Int32) {
    Swift.withUnsafeBytes(of: word.littleEndian) { append(contentsOf: $0) }
  }

  mutating func append(long: Int) {
    Swift.withUnsafeBytes(of: long.littleEndian) { append(contentsOf: $0) }
  }

  /// Length, bytes, zeros up to a multiple of 4.
  mutating func append(block: some Collection<UInt8>) {
    append(word: Int32(block.count))
    append(contentsOf: block)
    while count % 4 != 0 { append(0) }
  }
}

extension Identity {
  init(_ p: UnsafeRawBufferPointer, at offset: Int) {
    self.init()
    device = p.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    inode = p.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
    size = p.loadUnaligned(fromByteOffset: offset + 16, as: UInt64.self)
    modified = p.loadUnaligned(fromByteOffset: offset + 24, as: Int64.self)
    changed = p.loadUnaligned(fromByteOffset: offset + 32, as: Int64.self)
    mode = p.loadUnaligned(fromByteOffset: offset + 40, as: UInt32.self)
  }

  /// The 44 bytes that `init(_:at:)` reads.
  func store(in bytes: UnsafeMutableRawBufferPointer, at offset: Int) {
    bytes.storeBytes(of: device, toByteOffset: offset, as: UInt64.self)
    bytes.storeBytes(of: inode, toByteOffset: offset + 8, as: UInt64.self)
    bytes.storeBytes(of: size, toByteOffset: offset + 16, as: UInt64.self)
    bytes.storeBytes(of: modified, toByteOffset: offset + 24, as: Int64.self)
    bytes.storeBytes(of: changed, toByteOffset: offset + 32, as: Int64.self)
    bytes.storeBytes(of: mode, toByteOffset: offset + 40, as: UInt32.self)
  }

  func append(to out: inout [UInt8]) {
    withUnsafeBytes(of: device) { out.append(contentsOf: $0) }
    withUnsafeBytes(of: inode) { out.append(contentsOf: $0) }
    withUnsafeBytes(of: size) { out.append(contentsOf: $0) }
    withUnsafeBytes(of: modified) { out.append(contentsOf: $0) }
    withUnsafeBytes(of: changed) { out.append(contentsOf: $0) }
    withUnsafeBytes(of: mode) { out.append(contentsOf: $0) }
  }
}

/// Reads words and blocks one after the other; past the end it gives zeros and nothing.
struct WordReader {
  let bytes: UnsafeRawBufferPointer
  var offset: Int

  @inline(__always)
  mutating func word() -> Int32 {
    guard offset + 4 <= bytes.count else { return 0 }
    defer { offset += 4 }
    return bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)
  }

  mutating func long() -> Int {
    guard offset + 8 <= bytes.count else { return 0 }
    defer { offset += 8 }
    return bytes.loadUnaligned(fromByteOffset: offset, as: Int.self)
  }

  /// A count that cannot be larger than what is left.
  @inline(__always)
  mutating func count(size: Int = 1) -> Int {
    max(0, min(Int(word()), (bytes.count - offset) / (4 * size)))
  }

  mutating func block() -> [UInt8] {
    let count = max(0, min(Int(word()), bytes.count - offset))
    defer { offset += (count + 3) & ~3 }
    return Array(bytes[offset..<offset + count])
  }

  mutating func skipBlock() { offset += (max(0, Int(word())) + 3) & ~3 }
  mutating func words() -> [Int32] { (0..<count()).map { _ in word() } }
}

/// The record of an edge's last success, as it lies in the log.
///
/// Words: output, manifest (path ids), flags, milliseconds; then the reason of the run (block);
/// outputs (count, {path, content}); files that changed during the run (count, paths; the complement of
/// a path's number: the command itself is known to write it); the fields
/// of `Digest.swift` up to the end.
struct EdgeRecord {
  let offset: Int

  static func encode(
    output: Int32, manifest: Int32, flags: Int32, milliseconds: Int32, reason: String,
    outputs: [(path: Int32, content: Int32)], unsettled: [Int32], fields: [UInt8]
  ) -> [UInt8] {
    var out: [UInt8] = []
    out.append(word: output)
    out.append(word: manifest)
    out.append(word: flags)
    out.append(word: milliseconds)
    out.append(block: Array(reason.utf8.prefix(400)))
    out.append(word: Int32(outputs.count))
    for entry in outputs {
      out.append(word: entry.path)
      out.append(word: entry.content)
    }
    out.append(word: Int32(unsettled.count))
    for path in unsettled { out.append(word: path) }
    out.append(contentsOf: fields)
    return out
  }
}

/// An edge's record, decoded.
struct DecodedRecord {
  var manifest: Int32
  var flags: Int32
  var milliseconds: Int32
  var reason: String
  var outputs: [(path: Int32, content: Int32)]
  var unsettled: [Int32]
  var fields: FieldValues

  init(_ record: EdgeRecord, in log: TraceLog) {
    self = log.withPayload(record) { payload in
      var reader = WordReader(bytes: payload, offset: 4)
      return DecodedRecord(&reader)
    }
  }

  private init(_ reader: inout WordReader) {
    manifest = reader.word()
    flags = reader.word()
    milliseconds = reader.word()
    reason = String(decoding: reader.block(), as: UTF8.self)
    let outputs = reader.count(size: 2)
    self.outputs = (0..<outputs).map { _ in (reader.word(), reader.word()) }
    unsettled = reader.words()
    fields = FieldValues(&reader)
  }
}
