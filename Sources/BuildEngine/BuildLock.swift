// SPDX-License-Identifier: Apache-2.0
// BuildEngine: one build at a time.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// A lock on the build's state, held from `init` until the last reference goes.
final class BuildLock {
  private let descriptor: Int32

  /// Waits until nobody else holds the lock.
  ///
  /// - Parameter waiting: called once, with the holder's process id, before waiting.
  /// - Throws: `.work` when the lock file cannot be made.
  init(_ path: String, files: FileSystem, waiting: (Int32?) -> Void) throws(QuenchError) {
    try files.makeParents(of: path)
    let file = openat(files.descriptor, path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard file >= 0 else {
      throw QuenchError(
        .work, "cannot open the lock \"\(path)\": \(reason())",
        try: "make the directory writable, or build in a copy of it")
    }
    descriptor = file
    if flock(file, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK else {
        throw QuenchError(.work, "cannot lock \"\(path)\": \(reason())")
      }
      var text = [UInt8](repeating: 0, count: 16)
      let count = pread(file, &text, text.count, 0)
      let digits = String(decoding: text.prefix(max(0, count)), as: UTF8.self)
      waiting(Int32(digits.prefix { $0.isNumber }))
      while flock(file, LOCK_EX) != 0 {
        guard errno == EINTR else {
          throw QuenchError(.work, "cannot lock \"\(path)\": \(reason())")
        }
      }
    }
    // Always as long as the longest number, so that nothing has to be cut: cutting and growing a file
    // costs more than all else here.
    var text = Array("\(getpid())".utf8)
    while text.count < 10 { text.append(UInt8(ascii: " ")) }
    text.append(UInt8(ascii: "\n"))
    _ = pwrite(file, text, text.count, 0)
  }

  deinit { close(descriptor) }

  /// The file system's own time, which need not be the process's.
  func fileSystemTime() -> Int64 {
    _ = futimens(descriptor, nil)
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return 0 }
    return Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
  }

  /// The device of the state directory, if the file system gives a file that was looked at another
  /// stamp with its next change, however soon that is (Linux 6.13, "multigrain timestamps").
  ///
  /// Found out by doing it: coarse clocks step once in 1 to 10 ms, so that of these changes within two
  /// milliseconds most would share stamps.
  func probe() -> UInt64? {
    var last = cs_identity()
    var first: UInt8 = 0
    guard pread(descriptor, &first, 1, 0) == 1, cs_identify_open(descriptor, &last) == 0 else {
      return nil
    }
    let started = cs_monotonic()
    for _ in 0..<8 {
      var now = cs_identity()
      guard pwrite(descriptor, &first, 1, 0) == 1, cs_identify_open(descriptor, &now) == 0,
        now.modified > last.modified, now.changed > last.changed
      else { return nil }
      last = now
    }
    return cs_monotonic() - started < 2_000_000 ? last.device : nil
  }
}
