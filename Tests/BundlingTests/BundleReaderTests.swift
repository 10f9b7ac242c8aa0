// SPDX-License-Identifier: Apache-2.0
// BundlingTests: whole bundles, damaged bundles, and where they are unpacked.

import Bundling
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("verifying a bundle")
struct BundleVerifyTests {
  private let space = TemporarySpace()

  private func verify(_ stream: [UInt8]) -> QuenchError? {
    let path = space.write("b.tar.zst", stream)
    return failure { try BundleReader.verify(path) }
  }

  @Test("a right bundle made by hand passes")
  func handmade() throws {
    let bundle = HandmadeBundle()
    let path = space.write("b.tar.zst", StoredZstd.frame(try bundle.tar().ended))
    #expect(try BundleReader.verify(path).files.map(\.path) == ["a.txt", "net/net.om"])
  }

  @Test("an archive cut at any byte is refused as malformed")
  func cut() throws {
    let project = Project()
    let bytes = try packed(project)
    for count in 0..<bytes.count {
      let error = verify(Array(bytes[0..<count]))
      #expect(error?.kind == .data, "cut after \(count) of \(bytes.count) bytes")
    }
  }

  @Test("a damaged byte is refused, or it changed nothing that is read")
  func damaged() throws {
    let project = Project()
    let bytes = try packed(project)
    let whole = try BundleReader.verify(project.space.path("release.tar.zst"))
    for index in bytes.indices {
      var damaged = bytes
      damaged[index] ^= 1 << UInt8(index % 8)
      let path = space.write("d.tar.zst", damaged)
      do throws(QuenchError) {
        #expect(try BundleReader.verify(path) == whole)
      } catch {
        #expect(error.kind == .data || error.kind == .verdict, "\(error)")
      }
    }
  }

  private func packed(_ project: Project) throws -> [UInt8] {
    try project.pack()
    return try #require(project.space.read("release.tar.zst"))
  }

  @Test("an entry whose content differs is named")
  func changedContent() throws {
    let bundle = HandmadeBundle()
    var tar = try bundle.head()
    tar.add("a.txt", Array("First".utf8))
    tar.add("net/net.om", [1, 2, 3])
    let error = verify(StoredZstd.frame(tar.ended))
    #expect(error?.kind == .verdict)
    #expect(error?.message == "the entry \"a.txt\" differs from its digest in the manifest")
  }

  @Test("an entry of another length is named with both lengths")
  func changedLength() throws {
    let bundle = HandmadeBundle()
    var tar = try bundle.head()
    tar.add("a.txt", Array("first and more".utf8))
    let error = verify(StoredZstd.frame(tar.ended))
    #expect(error?.kind == .verdict)
    #expect(error?.message == "the entry \"a.txt\" has 14 bytes; the manifest says 5")
  }

  @Test("a missing entry is named")
  func missingEntry() throws {
    var tar = try HandmadeBundle().head()
    tar.add("a.txt", Array("first".utf8))
    let error = verify(StoredZstd.frame(tar.ended))
    #expect(error?.kind == .verdict)
    #expect(error?.message == "the entry \"net/net.om\" of the manifest is missing")
  }

  @Test("an entry that the manifest lacks is named")
  func additionalEntry() throws {
    var tar = try HandmadeBundle().tar()
    tar.add("malware.sh", Array("x".utf8))
    let error = verify(StoredZstd.frame(tar.ended))
    #expect(error?.kind == .verdict)
    #expect(error?.message.contains("\"malware.sh\" is not in the manifest") == true)
  }

  @Test("an entry that comes twice is refused")
  func repeatedEntry() throws {
    var tar = try HandmadeBundle().tar()
    tar.add("a.txt", Array("first".utf8))
    #expect(verify(StoredZstd.frame(tar.ended))?.kind == .verdict)
  }

  @Test("a list of digests that contradicts the manifest is refused")
  func contradictingSums() throws {
    let bundle = HandmadeBundle()
    var tar = TarBytes()
    tar.add("manifest.json", try bundle.manifest())
    tar.add("SHA256SUMS", Array(try bundle.sums().reversed()))
    #expect(verify(StoredZstd.frame(tar.ended))?.kind == .verdict)
  }

  @Test("a manifest of a newer version is refused with both versions")
  func newerVersion() throws {
    var bundle = HandmadeBundle()
    bundle.version = 2
    let error = verify(StoredZstd.frame(try bundle.tar().ended))
    #expect(error?.kind == .data)
    #expect(error?.message.contains("version 2 is newer than version 1") == true)
  }

  @Test("an archive that does not start with a manifest is no bundle")
  func noManifest() {
    var tar = TarBytes()
    tar.add("a.txt", [1])
    let error = verify(StoredZstd.frame(tar.ended))
    #expect(error?.kind == .data)
    #expect(error?.message == "this is not a bundle: manifest.json is not where it belongs")
  }

  @Test("files that are no archive at all are malformed", arguments: ["", "hello", "PK\u{3}\u{4}"])
  func noArchive(text: String) {
    #expect(verify(Array(text.utf8))?.kind == .data)
  }

  @Test("a tar stream without zstd is malformed")
  func uncompressed() throws {
    #expect(verify(try HandmadeBundle().tar().ended)?.kind == .data)
  }

  @Test("a bundle that is not there is a missing input")
  func absent() {
    #expect(failure { try BundleReader.verify(space.path("absent")) }?.kind == .noInput)
  }
}

@Suite("unpacking a bundle")
struct BundleUnpackTests {
  private let project = Project()
  private var space: TemporarySpace { project.space }

  @Test("the files come out as they went in, with modes 0644 and 0755")
  func roundTrip() throws {
    let bundle = try project.pack()
    try BundleReader.unpack(bundle, to: space.path("out/deep/"))
    #expect(space.read("out/deep/net/net.om") == [UInt8](0...255))
    #expect(space.text("out/deep/labels.txt") == "cat\ndog\n")
    #expect(names(in: space.path("out")) == ["deep"])
    #expect(
      names(in: space.path("out/deep")) == ["SHA256SUMS", "labels.txt", "manifest.json", "net"])
    let modes = shell("find '\(space.path("out/deep"))' -printf '%m\\n' | sort -u")
    #expect(modes.output == "644\n755\n")
  }

  @Test("an empty directory is taken")
  func emptyTarget() throws {
    let bundle = try project.pack()
    mkdir(space.path("out"), 0o755)
    try BundleReader.unpack(bundle, to: space.path("out"))
    #expect(space.text("out/labels.txt") != nil)
  }

  @Test("a directory with content, a file and a link are left alone")
  func occupiedTarget() throws {
    let bundle = try project.pack()
    space.write("full/mine.txt", "mine")
    space.write("file", "mine")
    symlink(space.path("full"), space.path("link"))
    for target in ["full", "file", "link"] {
      #expect(failure { try BundleReader.unpack(bundle, to: space.path(target)) }?.kind == .work)
    }
    #expect(names(in: space.path("full")) == ["mine.txt"])
    #expect(space.text("file") == "mine")
  }

  @Test("after a failure nothing is left, not even in part")
  func nothingLeft() throws {
    try project.pack()
    let before = names(in: space.path)
    var bytes = try #require(space.read("release.tar.zst"))
    bytes.removeLast(9)
    let cut = space.write("release.tar.zst", bytes)
    #expect(failure { try BundleReader.unpack(cut, to: space.path("out")) }?.kind == .data)
    #expect(names(in: space.path) == before)
  }
}
