// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("file content")
struct FileContentTests {
  private func status(_ path: String) -> stat {
    var result = stat()
    #expect(lstat(path, &result) == 0)
    return result
  }

  private func entries(_ directory: String) -> Set<String> {
    var names: Set<String> = []
    guard let stream = opendir(directory) else { return names }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      names.insert(
        withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        })
    }
    return names.subtracting([".", ".."])
  }

  @Test("what was written is read, of any size")
  func roundTrip() throws {
    let space = TemporarySpace()
    // Below, at and above the size of the pieces that files are read in.
    for size in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000] {
      let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
      try FileContent.replace(space.path("f"), with: bytes)
      #expect(try FileContent.read(space.path("f")) == bytes)
    }
    #expect(entries(space.path) == ["f"])
  }

  @Test("a file is replaced as a whole: who has the old one open keeps it")
  func atomic() throws {
    let space = TemporarySpace()
    let path = space.write("f", "old content")
    let descriptor = open(path, O_RDONLY)
    defer { close(descriptor) }
    try FileContent.replace(path, with: Array("new".utf8))
    var buffer = [UInt8](repeating: 0, count: 100)
    let count = Glibc.read(descriptor, &buffer, 100)
    #expect(String(decoding: buffer.prefix(max(0, count)), as: UTF8.self) == "old content")
    #expect(space.text("f") == "new")
    #expect(status(path).st_mode & 0o777 == 0o644)
  }

  @Test("equal content leaves the file and its time stamp alone")
  func unchanged() throws {
    let space = TemporarySpace()
    let path = space.write("f", "same")
    let past = timespec(tv_sec: 1_000_000_000, tv_nsec: 123)
    #expect(utimensat(AT_FDCWD, path, [past, past], 0) == 0)
    let before = status(path)
    #expect(try !FileContent.replaceIfChanged(path, with: Array("same".utf8)))
    #expect(status(path).st_mtim.tv_sec == 1_000_000_000)
    #expect(status(path).st_ino == before.st_ino)
    #expect(try FileContent.replaceIfChanged(path, with: Array("other".utf8)))
    #expect(space.text("f") == "other")
    #expect(try FileContent.replaceIfChanged(space.path("fresh"), with: []))
    #expect(space.read("fresh") == [])
  }

  @Test("a missing file and a directory are no input")
  func noInput() {
    let space = TemporarySpace()
    let missing = #expect(throws: QuenchError.self) { try FileContent.read(space.path("no")) }
    #expect(missing?.kind == .noInput)
    #expect(missing?.message.hasSuffix("No such file or directory") == true)
    let directory = #expect(throws: QuenchError.self) { try FileContent.read(space.path) }
    #expect(directory?.kind == .noInput)
    #expect(directory?.message.contains("is a directory where a file should be") == true)
  }

  @Test("writing over a directory or into a missing one fails and leaves nothing behind")
  func cannotWrite() throws {
    let space = TemporarySpace()
    try FileContent.makeDirectory(space.path("d/e"))
    for name in ["d", "missing/f"] {
      for write in [
        { try FileContent.replace($0, with: [1]) },
        { _ = try FileContent.replaceIfChanged($0, with: [1]) },
      ] as [(String) throws -> Void] {
        let error = #expect(throws: QuenchError.self) { try write(space.path(name)) }
        #expect(error?.kind == .work)
        #expect(error?.message.contains("\"\(space.path(name))\"") == true)
      }
    }
    #expect(entries(space.path) == ["d"])
    #expect(entries(space.path("d")) == ["e"])
  }

  @Test("a full disk leaves the old content and no temporary file")
  func fullDisk() throws {
    // /dev/full refuses every write; a symbolic link to it stands in for the temporary file.
    let space = TemporarySpace()
    let path = space.write("f", "old")
    #expect(symlink("/dev/full", "\(path).tmp\(getpid())") == 0)
    let error = #expect(throws: QuenchError.self) {
      try FileContent.replace(path, with: [1, 2, 3])
    }
    #expect(error?.kind == .work)
    #expect(error?.message.hasSuffix("No space left on device") == true)
    #expect(space.text("f") == "old")
    #expect(entries(space.path) == ["f"])
  }

  @Test("directories are made with their parents, once or twice")
  func directories() throws {
    let space = TemporarySpace()
    for _ in 0..<2 { try FileContent.makeDirectory(space.path("a/b/c")) }
    try FileContent.makeDirectory(space.path("x/y/"))
    #expect(entries(space.path("a/b")) == ["c"])
    #expect(entries(space.path) == ["a", "x"])
    try FileContent.makeDirectory("")
    try FileContent.makeDirectory(".")
    space.write("file", "")
    for name in ["file", "file/sub"] {
      let error = #expect(throws: QuenchError.self) {
        try FileContent.makeDirectory(space.path(name))
      }
      #expect(error?.kind == .work)
    }
  }

  @Test("a device is written to, never replaced by a file")
  func device() throws {
    try FileContent.replace("/dev/null", with: [1, 2, 3])
    var status = stat()
    #expect(stat("/dev/null", &status) == 0)
    #expect(status.st_mode & S_IFMT == S_IFCHR)
  }
}
