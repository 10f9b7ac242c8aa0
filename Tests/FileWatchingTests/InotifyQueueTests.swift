// SPDX-License-Identifier: Apache-2.0
// FileWatchingTests: the kernel's bytes as events, and its limits in words.

import Diagnostics
import Glibc
import Testing

@testable import FileWatching

@Suite("inotify events")
struct InotifyQueueTests {
  /// struct inotify_event: wd, mask, cookie, len, then the name.
  private func event(_ watch: Int32, _ mask: Int32, _ name: [UInt8] = []) -> [UInt8] {
    func bytes(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
    return bytes(UInt32(bitPattern: watch)) + bytes(UInt32(bitPattern: mask)) + bytes(0)
      + bytes(UInt32(name.count)) + name
  }

  private func decode(_ bytes: [UInt8]) -> [InotifyEvent] {
    bytes.withUnsafeBytes { InotifyQueue.decode($0) }
  }

  @Test("names lose their padding and events without a name keep an empty one")
  func names() {
    let bytes = event(3, IN_CREATE, [0x61, 0x62, 0, 0]) + event(4, IN_DELETE_SELF)
    #expect(
      decode(bytes) == [
        InotifyEvent(watch: 3, mask: UInt32(IN_CREATE), name: "ab"),
        InotifyEvent(watch: 4, mask: UInt32(IN_DELETE_SELF), name: ""),
      ])
  }

  @Test("an overflow is told from every other event")
  func overflow() {
    let events = decode(event(-1, IN_Q_OVERFLOW) + event(1, IN_CLOSE_WRITE, [0x61, 0, 0, 0]))
    #expect(events.map(\.isOverflow) == [true, false])
  }

  @Test("a buffer that ends inside an event gives the whole ones")
  func cut() {
    let bytes = event(3, IN_CREATE, [0x61, 0, 0, 0]) + event(4, IN_CREATE, [0x62, 0, 0, 0])
    for count in 20..<40 { #expect(decode(Array(bytes[0..<count])).count == 1) }
    #expect(decode([]).isEmpty)
  }

  @Test("used-up watches are an error that names the limit, its value and the remedy")
  func watchesUsedUp() throws {
    let error = InotifyQueue.refusal(of: "images", ENOSPC)
    let value = try #require(SystemSetting.integer("fs.inotify.max_user_watches"))
    #expect(error.kind == .unavailable)
    #expect(
      error.message
        == "cannot watch \"images\": all inotify watches of this user are taken "
        + "(fs.inotify.max_user_watches = \(value))")
    #expect(error.remedy == "sudo sysctl fs.inotify.max_user_watches=\(2 * value)")
  }

  @Test("used-up instances are an error that names the other limit")
  func instancesUsedUp() {
    let error = InotifyQueue.refusal(of: nil, EMFILE)
    #expect(error.message.hasPrefix("cannot watch files: all inotify instances of this user"))
    #expect(error.remedy?.hasPrefix("sudo sysctl fs.inotify.max_user_instances=") == true)
  }
}
