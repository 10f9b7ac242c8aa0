// SPDX-License-Identifier: Apache-2.0
// FileWatchingTests: many changes at once, and more than the kernel keeps.

import Glibc
import TestSupport
import Testing

@testable import FileWatching

@Suite("watching under load")
struct WatcherLoadTests {
  private let space = TemporarySpace()

  private static let queueLimit = SystemSetting.integer("fs.inotify.max_queued_events") ?? .max

  private static func create(_ count: Int, in directory: String) {
    for index in 0..<count {
      close(open("\(directory)/\(index)", O_WRONLY | O_CREAT | O_CLOEXEC, 0o644))
    }
  }

  @Test("a burst of 1,000 files is reported whole")
  func burst() throws {
    mkdir(space.path("images"), 0o755)
    let watcher = try Watcher(paths: [space.path("images")])
    let directory = space.path("images")
    let writer = OtherThread { WatcherLoadTests.create(1_000, in: directory) }
    var missing = Set((0..<1_000).map { "\(directory)/\($0)" })
    while !missing.isEmpty {
      let batch = try #require(try watcher.nextBatch(timeoutMilliseconds: 5_000))
      if batch.paths.isEmpty { break }
      #expect(!batch.overflow)
      missing.subtract(batch.paths)
    }
    writer.join()
    #expect(missing.count == 0)
  }

  @Test(
    "when the kernel drops events the batch says so, and watching goes on, also in what was new",
    .enabled(if: queueLimit <= 20_000, "fs.inotify.max_queued_events is too high to be filled"))
  func overflow() throws {
    mkdir(space.path("images"), 0o755)
    let watcher = try Watcher(paths: [space.path("images")])
    // Two events a file: created and closed.
    WatcherLoadTests.create(WatcherLoadTests.queueLimit / 2 + 100, in: space.path("images"))
    space.write("images/unheard/of/1.png", "1")
    var overflow = false
    while let batch = try watcher.nextBatch(timeoutMilliseconds: 1_000),
      batch != ChangeBatch(paths: [])
    {
      overflow = overflow || batch.overflow
    }
    #expect(overflow)
    space.write("images/unheard/of/1.png", "2")
    let batch = try watcher.nextBatch(timeoutMilliseconds: 5_000)
    #expect(batch == ChangeBatch(paths: [space.path("images/unheard/of/1.png")]))
  }
}
