// SPDX-License-Identifier: Apache-2.0
// BundlingTests: archives that want to write where they should not, or too much.

import Artifacts
import Bundling
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("hostile archives")
struct HostileArchiveTests {
  private let space = TemporarySpace()

  /// Unpacks a stream; whatever happens, nothing but the archive may be in the space.
  private func refuse(
    _ stream: [UInt8], limits: BundleLimits = BundleLimits(),
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> QuenchError? {
    let path = space.write("b.tar.zst", stream)
    let error = failure {
      try BundleReader.unpack(path, to: space.path("out"), limits: limits)
    }
    #expect(error?.kind == .data, sourceLocation: sourceLocation)
    #expect(names(in: space.path) == ["b.tar.zst"], sourceLocation: sourceLocation)
    return error
  }

  @Test(
    "names that leave the directory or mislead are refused",
    arguments: [
      "/etc/passwd", "../evil", "net/../../evil", "./a", "a//b", "a/./b", "..", ".", "a/..",
      "C:\\evil", "a\\..\\b", "bell\u{7}", "esc\u{1b}[2J", "right\u{202e}to-left", "line\nbreak",
    ])
  func entryNames(name: String) throws {
    var tar = try HandmadeBundle().head()
    tar.add(name, [1])
    let error = refuse(StoredZstd.frame(tar.ended))
    let shown = error.map(\.message) ?? ""
    #expect(shown.unicodeScalars.allSatisfy { $0.value >= 32 && $0.value != 0x202e })
  }

  @Test(
    "such a name is refused in the manifest, too", arguments: ["/etc/passwd", "../evil", "a//b"])
  func namesInManifest(name: String) throws {
    var bundle = HandmadeBundle()
    bundle.files = [(name: name, content: [1])]
    _ = refuse(StoredZstd.frame(try bundle.tar().ended))
  }

  @Test("a name that is not UTF-8 is refused")
  func notUTF8() throws {
    var tar = try HandmadeBundle().head()
    tar.add(rawName: [0x61, 0xff, 0xfe], [1])
    _ = refuse(StoredZstd.frame(tar.ended))
  }

  @Test("a name deeper than 32 directories is refused")
  func deep() throws {
    var tar = try HandmadeBundle().head()
    tar.add(String(repeating: "d/", count: 40) + "f", [1])
    #expect(refuse(StoredZstd.frame(tar.ended))?.message.contains("deeper") == true)
  }

  @Test(
    "links, devices, pipes and directories are refused under an expected name",
    arguments: [
      ("1", "hard link"), ("2", "symbolic link"), ("3", "neither"), ("4", "neither"),
      ("5", "directory"), ("6", "neither"),
    ] as [(Character, String)])
  func kinds(type: Character, words: String) throws {
    var tar = try HandmadeBundle().head()
    tar.add("a.txt", type: type, link: type == "1" ? "manifest.json" : "/etc/passwd")
    #expect(refuse(StoredZstd.frame(tar.ended))?.message.contains(words) == true)
  }

  @Test("a hard link that carries data is refused")
  func hardLinkWithData() throws {
    var tar = try HandmadeBundle().head()
    tar.add("a.txt", Array("first".utf8), type: "1", link: "manifest.json")
    _ = refuse(StoredZstd.frame(tar.ended))
  }

  @Test(
    "set-id bits, execute bits and lesser modes are refused", arguments: [0o4755, 0o755, 0o600])
  func modes(mode: Int) throws {
    var tar = try HandmadeBundle().head()
    tar.add("a.txt", Array("first".utf8), mode: mode)
    #expect(refuse(StoredZstd.frame(tar.ended))?.message.contains("mode") == true)
  }

  @Test(
    "names that some file system takes for the same are refused",
    arguments: [
      ["net/a", "NET/A"], ["größe", "gro\u{308}ße"], ["a", "a/b"], ["a/b", "a"],
      ["Manifest.json"], ["sha256sums/x"], ["a", "a"],
    ])
  func collisions(colliding: [String]) throws {
    var bundle = HandmadeBundle()
    bundle.files = colliding.map { (name: $0, content: [1]) }
    #expect(refuse(StoredZstd.frame(try bundle.tar().ended))?.message.contains("collide") == true)
  }

  @Test("an entry that says it is longer than the archive is refused")
  func liesAboutSize() throws {
    var bundle = HandmadeBundle()
    let manifest = String(decoding: try bundle.manifest(), as: UTF8.self)
    bundle.files = []
    var tar = TarBytes()
    tar.add("manifest.json", Array(manifest.utf8), size: 4_000_000_000)
    _ = refuse(StoredZstd.frame(tar.ended))
  }

  @Test("a manifest that announces more than the limits is refused before anything is written")
  func limits() throws {
    let stream = StoredZstd.frame(try HandmadeBundle().tar().ended)
    #expect(
      refuse(stream, limits: BundleLimits(entries: 3))?.message
        == "the bundle has more than 3 entries")
    #expect(
      refuse(stream, limits: BundleLimits(bytes: 7))?.message
        == "the bundle holds more than 7 bytes")
  }

  @Test(
    "sizes that are negative or overflow are refused", arguments: ["-1", "9223372036854775807"])
  func sizes(size: String) throws {
    let digest = try ContentDigest.of([]).hex
    let list = ["a", "b"].map { "{\"path\":\"\($0)\",\"size\":\(size),\"sha256\":\"\(digest)\"}" }
    var tar = TarBytes()
    tar.add(
      "manifest.json",
      Array(
        ("{\"format\":\"quench.bundle\",\"version\":1,\"name\":\"b\",\"layout\":\"plain\","
          + "\"hostBuilt\":false,\"models\":[],\"files\":[\(list.joined(separator: ","))]}").utf8))
    tar.add("SHA256SUMS", [])
    _ = refuse(StoredZstd.frame(tar.ended), limits: BundleLimits(bytes: Int.max))
  }

  @Test("a bomb of zeros behind the end is refused without being read to its end")
  func bomb() throws {
    // 1 TiB in 32 MB would take minutes to read; a million blocks fit a test's time.
    let stream = StoredZstd.bomb(try HandmadeBundle().tar().ended, zeroBlocks: 1_000_000)
    let clock = ContinuousClock()
    let time = clock.measure {
      #expect(refuse(stream)?.message == "there is more data after the end of the archive")
    }
    #expect(time < .seconds(20))
  }

  @Test("a second archive behind the first is refused, in its frame or in one of its own")
  func concatenated() throws {
    let tar = try HandmadeBundle().tar().ended
    _ = refuse(StoredZstd.frame(tar + tar))
    _ = refuse(StoredZstd.frame(tar) + StoredZstd.frame(tar))
    _ = refuse(StoredZstd.frame(tar) + Array("trailing words".utf8))
  }

  @Test("padding with zeros, as some writers have it, is accepted")
  func padding() throws {
    let tar = try HandmadeBundle().tar().ended + [UInt8](repeating: 0, count: 10_240)
    let path = space.write("b.tar.zst", StoredZstd.frame(tar))
    #expect(throws: Never.self) { try BundleReader.verify(path) }
  }

  @Test("GNU headers for long names cannot smuggle in a forbidden one")
  func longName() throws {
    var tar = try HandmadeBundle().head()
    tar.add("././@LongLink", Array("../../evil\u{0}".utf8), type: "L")
    tar.add("a.txt", Array("first".utf8))
    #expect(refuse(StoredZstd.frame(tar.ended))?.message.contains("leaves") == true)
  }

  @Test("pax headers cannot smuggle in a forbidden name or link")
  func paxHeader() throws {
    var tar = try HandmadeBundle().head()
    tar.add("PaxHeader/a.txt", Array("19 path=../../evil\n".utf8), type: "x")
    tar.add("a.txt", Array("first".utf8))
    #expect(refuse(StoredZstd.frame(tar.ended))?.message.contains("leaves") == true)
  }
}
