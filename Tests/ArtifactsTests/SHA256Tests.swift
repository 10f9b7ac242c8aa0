// SPDX-License-Identifier: Apache-2.0
// Known digests: FIPS 180-4 examples of NIST.

import Artifacts
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

  @Test("digests of different bytes are not equal")
  func equality() throws {
    let one = try ContentDigest.of([1])
    #expect(try one == ContentDigest.of([1]))
    #expect(try one != ContentDigest.of([2]))
    #expect(try Set([one, ContentDigest.of([1]), ContentDigest.of([2])]).count == 2)
  }
}
