// SPDX-License-Identifier: Apache-2.0
// FileWatchingTests: the watcher on a real file system.

import Diagnostics
import FileWatching
import Glibc
import TestSupport
import Testing

@Suite("watching real files")
struct WatcherTests {
  private let space = TemporarySpace()

  /// All paths of the batches that come until each of `wanted` has, or five seconds without one
  /// have passed. Paths are given and returned relative to the space.
  private func paths(
    _ watcher: Watcher, until wanted: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Set<String> {
    var missing = Set(wanted)
    var seen: Set<String> = []
    while !missing.isEmpty {
      let batch = try #require(
        try watcher.nextBatch(timeoutMilliseconds: 5_000), sourceLocation: sourceLocation)
      if batch.paths.isEmpty, !batch.overflow { break }
      #expect(!batch.overflow, sourceLocation: sourceLocation)
      for path in batch.paths {
        let relative = String(path.dropFirst(space.path.count + 1))
        seen.insert(relative)
        missing.remove(relative)
      }
    }
    #expect(missing.isEmpty, "never reported", sourceLocation: sourceLocation)
    return seen
  }

  /// Whether nothing is reported for a while.
  private func isQuiet(_ watcher: Watcher) throws -> Bool {
    try watcher.nextBatch(timeoutMilliseconds: 100) == ChangeBatch(paths: [])
  }

  private func watcher(_ names: String...) throws -> Watcher {
    try Watcher(paths: names.map { space.path($0) })
  }

  private func makeDirectory(_ name: String) { mkdir(space.path(name), 0o755) }

  private func move(_ from: String, _ to: String) {
    #expect(rename(space.path(from), space.path(to)) == 0)
  }

  @Test("a new, a changed and a removed file in a directory are reported")
  func createWriteDelete() throws {
    space.write("images/old.png", "1")
    let watcher = try watcher("images")
    space.write("images/new.png", "1")
    #expect(try paths(watcher, until: ["images/new.png"]) == ["images/new.png"])
    space.write("images/old.png", "2")
    #expect(try paths(watcher, until: ["images/old.png"]) == ["images/old.png"])
    unlink(space.path("images/old.png"))
    #expect(try paths(watcher, until: ["images/old.png"]) == ["images/old.png"])
    #expect(try isQuiet(watcher))
  }

  @Test("reading a file is no change")
  func reading() throws {
    space.write("images/a.png", "1")
    let watcher = try watcher("images")
    #expect(space.text("images/a.png") == "1")
    #expect(try isQuiet(watcher))
  }

  @Test("a watched file is reported, its neighbours are not")
  func singleFile() throws {
    space.write("net.onnx", "1")
    let watcher = try watcher("net.onnx")
    space.write("other.onnx", "1")
    #expect(try isQuiet(watcher))
    space.write("net.onnx", "2")
    #expect(try paths(watcher, until: ["net.onnx"]) == ["net.onnx"])
  }

  @Test("a file that editors replace by renaming stays watched")
  func renameDance() throws {
    space.write("quench.yaml", "0")
    let watcher = try watcher("quench.yaml")
    for round in 1...3 {
      // As vim does: the old one to a backup, a new one written, the backup removed.
      move("quench.yaml", "quench.yaml~")
      space.write("quench.yaml", "\(round)")
      unlink(space.path("quench.yaml~"))
      #expect(try paths(watcher, until: ["quench.yaml"]) == ["quench.yaml"])
      // As most others do: a temporary file renamed over it.
      space.write(".quench.yaml.tmp", "again")
      move(".quench.yaml.tmp", "quench.yaml")
      #expect(try paths(watcher, until: ["quench.yaml"]) == ["quench.yaml"])
    }
  }

  @Test("a file that does not exist yet is waited for, with directories that do not either")
  func laterFile() throws {
    let watcher = try watcher("a/b/net.onnx")
    makeDirectory("a")
    makeDirectory("a/b")
    space.write("a/b/net.onnx", "1")
    #expect(try paths(watcher, until: ["a/b/net.onnx"]) == ["a/b/net.onnx"])
    _ = try isQuiet(watcher)
    space.write("a/b/net.onnx", "2")
    #expect(try paths(watcher, until: ["a/b/net.onnx"]) == ["a/b/net.onnx"])
  }

  @Test("new directories, nested and filled at once, lose nothing")
  func nestedAtOnce() throws {
    makeDirectory("images")
    let watcher = try watcher("images")
    var made: [String] = []
    for directory in 0..<30 {
      for file in 0..<10 {
        made.append("images/x\(directory % 3)/y\(directory % 7)/z\(directory)/\(file).png")
        space.write(made[made.count - 1], "1")
      }
    }
    _ = try paths(watcher, until: made)
    // They are watched now.
    space.write(made[77], "2")
    #expect(try paths(watcher, until: [made[77]]) == [made[77]])
  }

  @Test("a finished tree that is moved in is reported with all its files")
  func movedIn() throws {
    makeDirectory("images")
    space.write("staged/cats/1.png", "1")
    space.write("staged/cats/deep/2.png", "1")
    let watcher = try watcher("images")
    move("staged", "images/new")
    _ = try paths(watcher, until: ["images/new/cats/1.png", "images/new/cats/deep/2.png"])
    space.write("images/new/cats/deep/3.png", "1")
    #expect(
      try paths(watcher, until: ["images/new/cats/deep/3.png"]) == ["images/new/cats/deep/3.png"])
  }

  @Test("a directory that is moved away is reported and heard of no more")
  func movedAway() throws {
    space.write("images/cats/1.png", "1")
    let watcher = try watcher("images")
    move("images/cats", "elsewhere")
    #expect(try paths(watcher, until: ["images/cats"]) == ["images/cats"])
    space.write("elsewhere/2.png", "1")
    #expect(try isQuiet(watcher))
  }

  @Test("a directory that is renamed inside the tree reports its new name from then on")
  func renamedInside() throws {
    space.write("images/cats/1.png", "1")
    let watcher = try watcher("images")
    move("images/cats", "images/dogs")
    _ = try paths(watcher, until: ["images/cats", "images/dogs", "images/dogs/1.png"])
    space.write("images/dogs/2.png", "1")
    #expect(try paths(watcher, until: ["images/dogs/2.png"]) == ["images/dogs/2.png"])
  }

  @Test("the watched directory itself may go and come back")
  func rootReplaced() throws {
    space.write("images/1.png", "1")
    let watcher = try watcher("images")
    move("images", "before")
    #expect(try paths(watcher, until: ["images"]) == ["images"])
    space.write("before/2.png", "1")
    #expect(try isQuiet(watcher))
    space.write("images/deep/3.png", "1")
    _ = try paths(watcher, until: ["images", "images/deep/3.png"])
    unlink(space.path("images/deep/3.png"))
    rmdir(space.path("images/deep"))
    rmdir(space.path("images"))
    _ = try paths(watcher, until: ["images/deep/3.png", "images/deep", "images"])
    space.write("images/4.png", "1")
    _ = try paths(watcher, until: ["images/4.png"])
  }

  @Test("a link to a directory is followed, and a link upwards is no endless tree")
  func links() throws {
    space.write("data/1.png", "1")
    makeDirectory("images")
    symlink(space.path("data"), space.path("images/linked"))
    symlink(space.path("images"), space.path("images/loop"))
    let watcher = try watcher("images")
    space.write("data/2.png", "1")
    _ = try paths(watcher, until: ["images/linked/2.png"])
  }

  @Test("a link to a file reports changes of the file and a new target")
  func fileLink() throws {
    space.write("store/v1.onnx", "1")
    space.write("store/v2.onnx", "1")
    symlink(space.path("store/v1.onnx"), space.path("net.onnx"))
    let watcher = try watcher("net.onnx")
    space.write("store/v1.onnx", "2")
    #expect(try paths(watcher, until: ["net.onnx"]) == ["net.onnx"])
    unlink(space.path("net.onnx"))
    symlink(space.path("store/v2.onnx"), space.path("net.onnx"))
    #expect(try paths(watcher, until: ["net.onnx"]) == ["net.onnx"])
    _ = try isQuiet(watcher)
    space.write("store/v2.onnx", "2")
    #expect(try paths(watcher, until: ["net.onnx"]) == ["net.onnx"])
    space.write("store/v1.onnx", "3")
    #expect(try isQuiet(watcher))
  }

  @Test("ignored paths are silent, with all below them")
  func ignoring() throws {
    space.write("project/build/a.om", "1")
    let watcher = try Watcher(
      paths: [space.path("project")], ignoring: [space.path("project/build")])
    space.write("project/build/a.om", "2")
    space.write("project/build/new/b.om", "2")
    #expect(try isQuiet(watcher))
    space.write("project/buildings.txt", "1")
    #expect(try paths(watcher, until: ["project/buildings.txt"]) == ["project/buildings.txt"])
  }

  @Test("a path is reported as the caller wrote it, also from a relative one")
  func relativePath() throws {
    space.write("images/1.png", "1")
    let directory = try #require(getcwd(nil, 0))
    defer { free(directory) }
    let depth = String(cString: directory).split(separator: "/").count
    let images = String(repeating: "../", count: depth) + space.path("images").dropFirst()
    let watcher = try Watcher(paths: [images + "/"])
    space.write("images/2.png", "1")
    let batch = try watcher.nextBatch(timeoutMilliseconds: 5_000)
    #expect(batch == ChangeBatch(paths: ["\(images)/2.png"]))
  }

  @Test("after update the new paths are watched and the old ones are not")
  func update() throws {
    space.write("a/1", "1")
    space.write("b/1", "1")
    let watcher = try watcher("a")
    try watcher.update(paths: [space.path("b")])
    space.write("a/1", "2")
    space.write("b/1", "2")
    #expect(try paths(watcher, until: ["b/1"]) == ["b/1"])
    #expect(try isQuiet(watcher))
  }

  @Test("a file that is still being written is held back until it is closed")
  func stillOpen() throws {
    makeDirectory("models")
    let watcher = try watcher("models")
    let descriptor = open(space.path("models/net.onnx"), O_WRONLY | O_CREAT, 0o644)
    #expect(write(descriptor, "half", 4) == 4)
    #expect(try isQuiet(watcher))
    close(descriptor)
    #expect(try paths(watcher, until: ["models/net.onnx"]) == ["models/net.onnx"])
  }

  @Test("a hard link, which is created and never closed, is reported at once")
  func hardLink() throws {
    space.write("store/1.png", "1")
    makeDirectory("images")
    let watcher = try watcher("images")
    link(space.path("store/1.png"), space.path("images/1.png"))
    let batch = try watcher.nextBatch(timeoutMilliseconds: 1_500)
    #expect(batch?.paths == [space.path("images/1.png")])
  }

  @Test("a local file system is not deaf")
  func notDeaf() throws {
    #expect(try watcher("images").deafPaths == [])
  }

  @Test("a readable interrupt descriptor ends the waiting, now and while it lasts")
  func interrupt() throws {
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    let (reading, writing) = (ends[0], ends[1])
    defer {
      close(reading)
      close(writing)
    }
    let watcher = try Watcher(paths: [space.path], interrupt: reading)
    let waker = OtherThread {
      usleep(50_000)
      _ = write(writing, "x", 1)
    }
    #expect(try watcher.nextBatch(timeoutMilliseconds: 10_000) == nil)
    #expect(try watcher.nextBatch(timeoutMilliseconds: 10_000) == nil)
    waker.join()
  }
}
