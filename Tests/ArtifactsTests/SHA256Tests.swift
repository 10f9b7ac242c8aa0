// SPDX-License-Identifier: Apache-2.0
// Known digests: FIPS 180-4 examples of NIST.

import Artifacts
import CKernels
import TestSupport
import Testing

@Suite("SHA-256")
struct SHA256Tests {
  @Test(
    "known texts have their known digests",
    arguments: [
      ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
      ),
    ])
  func known(text: String, hex: String) throws {
    #expect(try ContentDigest.of(Array(text.utf8)).hex == hex)
  }

  @Test("a million letters in uneven pieces, in memory and in a file")
  func million() throws {
    let expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    let sha = try SHA256()
    var left = 1_000_000
    var size = 1
    while left > 0 {
      let piece = min(size, left)
      sha.update([UInt8](repeating: UInt8(ascii: "a"), count: piece))
      left -= piece
      size = size * 3 % 10_007 + 1
    }
    let digest = sha.finish()
    #expect(digest.hex == expected)
    #expect(digest.bytes.count == 32)
    let space = TemporarySpace()
    let path = space.write("a", [UInt8](repeating: UInt8(ascii: "a"), count: 1_000_000))
    #expect(try ContentDigest.ofFile(path) == digest)
  }

  @Test("a file of several pieces has the digest of its bytes")
  func pieces() throws {
    let space = TemporarySpace()
    let bytes = (0..<2_500_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
    #expect(try ContentDigest.ofFile(space.write("b", bytes)) == ContentDigest.of(bytes))
  }

  /// Around the end of a block, and around 64 KiB, where libcrypto takes over. Digests by Python's
  /// hashlib.
  @Test(
    "however bytes are cut into pieces, their digest is the known one",
    arguments: [
      (63, "30b345906b493f06f69444b6521113511c242f30e29840462950035043682f1e"),
      (64, "d8bc63b4fc1156e5e7d95a418b9bf54cd3174bedbc2db40f74895349b229b3c0"),
      (65, "1ee23b0fbcaecc1aff4a9e8f1645f35ab2c8e13609cd73b68df8b5e3f63ce073"),
      (65535, "2a25c93431609f3aa02a017b64c8876dfc4cc3f7c0e21614c20a8d0667b1ce4c"),
      (65536, "5fce37f3129150ce7ec3939b54016d9c1fd01364e27b0a788dc634064aec76b1"),
      (65537, "662bcb0c13ee4da585a79aceace59f1755da8a51f2da8a1d5726ee3622bb0457"),
      (131089, "323c13c683d40a554c7351f5c7be1270681ca3a26d7bd92d6cb760cae54cbcac"),
    ])
  func cut(size: Int, hex: String) throws {
    let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 / 256) }
    #expect(try ContentDigest.of(bytes).hex == hex)
    for length in [1, 63, 64, 1000, 65_535, 65_536] {
      let sha = try SHA256()
      for start in stride(from: 0, to: size, by: length) {
        sha.update(Array(bytes[start..<min(size, start + length)]))
      }
      #expect(sha.finish().hex == hex, "pieces of \(length)")
    }
  }

  @Test("the function in C and the processor's own agree on random blocks")
  func implementations() {
    // FIPS 180-4's start, and "abc" with its padding.
    let start: [UInt32] = [
      0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a,
      0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]
    var known = start
    ck_sha256_plain(&known, Array("abc".utf8) + [0x80] + [UInt8](repeating: 0, count: 59) + [24], 1)
    #expect(known[0] == 0xba78_16bf && known[7] == 0xf200_15ad)
    var random = SystemRandomNumberGenerator()
    for blocks in 0..<40 {
      let bytes = (0..<blocks * 64).map { _ in UInt8.random(in: 0...255, using: &random) }
      var plain = start
      var own = start
      ck_sha256_plain(&plain, bytes, blocks)
      ck_sha256_own(&own, bytes, blocks)
      #expect(plain == own)
    }
  }

  @Test("digests of different bytes are not equal")
  func equality() throws {
    let one = try ContentDigest.of([1])
    #expect(try one == ContentDigest.of([1]))
    #expect(try one != ContentDigest.of([2]))
    #expect(try Set([one, ContentDigest.of([1]), ContentDigest.of([2])]).count == 2)
  }
}
