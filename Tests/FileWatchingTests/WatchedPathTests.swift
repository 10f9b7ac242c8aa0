// SPDX-License-Identifier: Apache-2.0
// FileWatchingTests: names taken apart, and the memory of who watches what.

import Testing

@testable import FileWatching

@Suite("watched paths")
struct WatchedPathTests {
  @Test(
    "a path loses what does not matter",
    arguments: [
      ("images/", "images"), ("./images", "images"), (".//images//", "images"), ("./", "."),
      ("", "."), ("/", "/"), ("../data", "../data"), ("a/./b", "a/./b"),
    ])
  func normalized(path: String, wanted: String) {
    #expect(WatchedPath.normalized(path) == wanted)
  }

  @Test("a path and its parts belong together", arguments: ["a", "a/b", "/a", "../a", "/a/b"])
  func splitAndJoin(path: String) throws {
    let (directory, name) = try #require(WatchedPath.split(path))
    #expect(WatchedPath.join(directory, name) == path)
  }

  @Test("what has no name of its own is not split", arguments: ["/", ".", "..", "../..", "a/."])
  func nameless(path: String) {
    #expect(WatchedPath.split(path) == nil)
  }
}

@Suite("watch table")
struct WatchTableTests {
  @Test("a directory with two names has one watch and both paths")
  func twoNames() {
    var table = WatchTable()
    table.add(1, "a")
    table.add(1, "link")
    #expect(table.paths(of: 1) == ["a", "link"])
    #expect(table.removeTree("link") == [])
    #expect(table.paths(of: 1) == ["a"])
    #expect(table.removeTree("a") == [1])
  }

  @Test("a removed tree takes what is below it and nothing beside it")
  func removeTree() {
    var table = WatchTable()
    for (watch, path) in [(1, "a"), (2, "a/b"), (3, "a/b/c"), (4, "ab"), (5, "a/bc")] {
      table.add(Int32(watch), path)
      table.makeTree(path)
    }
    #expect(table.removeTree("a/b") == [2, 3])
    #expect(table.watches == [1, 4, 5])
    #expect(!table.isTree("a/b/c") && table.isTree("a/bc"))
  }

  @Test("a name that now belongs to another directory leaves the old watch without it")
  func reusedName() {
    var table = WatchTable()
    table.add(1, "a")
    table.add(2, "a")
    #expect(table.paths(of: 1) == [] && table.paths(of: 2) == ["a"])
    // The end of the old watch comes late and must not touch the new one.
    table.remove(1)
    #expect(table.paths(of: 2) == ["a"])
  }

  @Test("interests are kept by directory and child, and end with their path")
  func interests() {
    var table = WatchTable()
    table.addInterest(of: "x/1", in: "1", of: "x")
    table.addInterest(of: "link", in: "1", of: "x")
    table.addInterest(of: "x/2", in: "2", of: "x")
    #expect(table.interested(in: "1", of: "x") == ["x/1", "link"])
    #expect(table.interested(inAnyOf: "x") == ["x/1", "x/2", "link"])
    table.removeInterests(of: "link")
    #expect(table.interested(in: "1", of: "x") == ["x/1"])
  }
}
