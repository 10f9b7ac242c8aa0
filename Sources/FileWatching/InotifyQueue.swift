// SPDX-License-Identifier: Apache-2.0
// FileWatching: the kernel's event queue, and nothing more.

internal import Diagnostics
internal import Glibc

/// One event, as inotify(7) describes it.
struct InotifyEvent: Equatable {
  /// The watch; -1 for an overflow.
  var watch: Int32
  /// What happened: IN_… bits.
  var mask: UInt32
  /// The child's name; empty when the event is about the watched directory itself.
  var name: String

  /// Whether any of these bits is set.
  func has(_ bits: Int32) -> Bool { mask & UInt32(bitPattern: bits) != 0 }

  /// The queue was full; later events are lost.
  var isOverflow: Bool { has(IN_Q_OVERFLOW) }
  /// The watch is gone.
  var isEnd: Bool { has(IN_IGNORED) }
  /// The child is a directory.
  var isDirectory: Bool { has(IN_ISDIR) }
  /// The child appeared under this name.
  var isArrival: Bool { has(IN_CREATE | IN_MOVED_TO) }
  /// The child is gone from this name.
  var isDeparture: Bool { has(IN_DELETE | IN_MOVED_FROM) }
}

/// An inotify instance: watches on directories, and their events.
final class InotifyQueue {
  /// No IN_MODIFY: a write counts when it is closed. No IN_OPEN or IN_ACCESS: reading the inputs
  /// for their digests would fill the queue with our own events.
  private static let mask =
    IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB
    | IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK

  /// For poll; readable when there are events.
  let descriptor: Int32
  private let buffer: UnsafeMutableRawBufferPointer

  /// - Throws: `.unavailable` when the user has too many instances.
  init() throws(QuenchError) {
    descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
    guard descriptor >= 0 else { throw InotifyQueue.refusal(of: nil, errno) }
    buffer = .allocate(byteCount: 1 << 16, alignment: 8)
  }

  deinit {
    buffer.deallocate()
    close(descriptor)
  }

  /// Watches a directory's children; symbolic links are followed.
  ///
  /// - Returns: the watch; nil when there is no such directory, or none that may be read.
  /// - Throws: `.unavailable` when no watch is left.
  func watch(_ directory: String) throws(QuenchError) -> Int32? {
    let watch = inotify_add_watch(
      descriptor, directory, UInt32(bitPattern: InotifyQueue.mask))
    if watch >= 0 { return watch }
    switch errno {
    case ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG: return nil
    default: throw InotifyQueue.refusal(of: directory, errno)
    }
  }

  /// Ends a watch; events of it may still come.
  func end(_ watch: Int32) { inotify_rm_watch(descriptor, watch) }

  /// The events that are there, at most a bufferful; never blocks.
  ///
  /// - Throws: `.work` when the kernel refuses to say.
  func read() throws(QuenchError) -> [InotifyEvent] {
    while true {
      let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      if count >= 0 {
        return InotifyQueue.decode(UnsafeRawBufferPointer(rebasing: buffer[0..<count]))
      }
      if errno == EAGAIN { return [] }
      guard errno == EINTR else {
        throw QuenchError(
          .work, "cannot read file events: \(String(cString: strerror(errno)))")
      }
    }
  }

  /// Cuts a buffer into events: struct inotify_event, then `len` bytes of name, NUL-padded.
  static func decode(_ bytes: UnsafeRawBufferPointer) -> [InotifyEvent] {
    let headSize = 16
    var events: [InotifyEvent] = []
    var offset = 0
    while offset + headSize <= bytes.count {
      let length = Int(bytes.loadUnaligned(fromByteOffset: offset + 12, as: UInt32.self))
      let end = offset + headSize + length
      guard end <= bytes.count else { break }
      events.append(
        InotifyEvent(
          watch: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self),
          mask: bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self),
          name: String(
            decoding: bytes[offset + headSize..<end].prefix { $0 != 0 }, as: UTF8.self)))
      offset = end
    }
    return events
  }

  /// The error for a refused watch or instance: which limit, its value, and how to raise it.
  static func refusal(of directory: String?, _ code: Int32) -> QuenchError {
    let what = directory.map { "cannot watch \"\($0)\"" } ?? "cannot watch files"
    let limit: (name: String, of: String)
    switch code {
    case ENOSPC: limit = ("fs.inotify.max_user_watches", "watches")
    case EMFILE: limit = ("fs.inotify.max_user_instances", "instances")
    default:
      return QuenchError(.unavailable, "\(what): \(String(cString: strerror(code)))")
    }
    let value = SystemSetting.integer(limit.name)
    return QuenchError(
      .unavailable,
      "\(what): all inotify \(limit.of) of this user are taken"
        + (value.map { " (\(limit.name) = \($0))" } ?? " (\(limit.name))"),
      at: directory.map { .file($0) },
      try: "sudo sysctl \(limit.name)=\(value.map { "\(2 * $0)" } ?? "…")")
  }
}

/// Settings under /proc/sys.
enum SystemSetting {
  /// A setting by its dotted name; nil when it cannot be read.
  static func integer(_ name: String) -> Int? {
    let path = "/proc/sys/" + name.split(separator: ".").joined(separator: "/")
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var text = [CChar](repeating: 0, count: 32)
    guard fgets(&text, 32, file) != nil else { return nil }
    return Int(strtol(text, nil, 10))
  }
}
