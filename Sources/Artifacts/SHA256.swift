// SPDX-License-Identifier: Apache-2.0
// Artifacts: content digests.

internal import CKernels
public import Diagnostics

/// SHA-256. Large contents go through OpenSSL's libcrypto, loaded when the first one comes.
public struct SHA256: ~Copyable {
  private let context: OpaquePointer

  /// A fresh digest.
  ///
  /// - Throws: `.work` when memory is short.
  public init() throws(QuenchError) {
    guard let context = ck_sha256_new() else {
      throw QuenchError(.work, "there is no memory for a digest")
    }
    self.context = context
  }

  deinit { ck_sha256_free(context) }

  /// Whether libcrypto is there. Without it, large contents are digested more slowly on processors that
  /// have no SHA extensions.
  public static var hasLibrary: Bool { ck_sha256_has_library() != 0 }

  /// Adds bytes.
  public func update(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
    ck_sha256_update(context, base, bytes.count)
  }

  /// Adds bytes.
  public func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

  /// The digest of all that was added. Call once.
  public consuming func finish() -> ContentDigest {
    var digest = ContentDigest()
    withUnsafeMutableBytes(of: &digest.words) { buffer in
      ck_sha256_final(context, buffer.baseAddress)
    }
    return digest
  }
}

/// A SHA-256 digest, 32 bytes.
public struct ContentDigest: Sendable, Hashable {
  var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  init() {}

  /// The 32 bytes.
  public var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }

  /// 64 lower-case hexadecimal digits.
  public var hex: String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    text.reserveCapacity(64)
    for byte in bytes {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// The digest of bytes in memory.
  public static func of(_ bytes: [UInt8]) throws(QuenchError) -> ContentDigest {
    let sha = try SHA256()
    sha.update(bytes)
    return sha.finish()
  }

  /// The digest of a file's content, read in pieces.
  ///
  /// - Throws: `.noInput` when the file cannot be opened or read.
  public static func ofFile(_ path: String) throws(QuenchError) -> ContentDigest {
    let sha = try SHA256()
    try FileContent.read(path) { sha.update($0) }
    return sha.finish()
  }

  /// Equality of the 32 bytes.
  public static func == (a: ContentDigest, b: ContentDigest) -> Bool { a.words == b.words }

  /// Feeds the first 8 bytes, which are as good as random.
  public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}
