// SPDX-License-Identifier: Apache-2.0
// BuildEngine: one build at a time.

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
    _ = ftruncate(file, 0)
    _ = FileSystem.writeAll(file, Array("\(getpid())\n".utf8))
  }

  deinit { close(descriptor) }

  /// The file system's own time, which need not be the process's.
  func fileSystemTime() -> Int64 {
    _ = futimens(descriptor, nil)
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return 0 }
    return Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
  }
}
