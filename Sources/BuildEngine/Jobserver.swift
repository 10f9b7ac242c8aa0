// SPDX-License-Identifier: Apache-2.0
// BuildEngine: taking part in GNU make's jobserver (GNU make manual, "POSIX Jobserver Interaction").

internal import Glibc

/// A client of the pool of tokens that a make above this build holds: each command beyond the
/// first needs a token, which goes back as the same byte.
final class Jobserver {
  /// Readable when a token may be there. An open file of our own that does not block, so that the
  /// one which make shares with others keeps its mode.
  let descriptor: Int32
  private let writeEnd: Int32
  private let ownsWriteEnd: Bool

  /// What MAKEFLAGS says.
  enum Announcement: Equatable {
    case none
    case fifo(String)
    case pipe(read: Int32, write: Int32)
  }

  /// Reads MAKEFLAGS: the last `--jobserver-auth` counts; `n` among the letters in front (make's dry
  /// run) and negative descriptors mean none.
  static func announcement(_ makeflags: String) -> Announcement {
    let words = makeflags.split { $0 == " " || $0 == "\t" }
    if let first = words.first, !first.hasPrefix("-"), !first.contains("="), first.contains("n") {
      return .none
    }
    var found = Announcement.none
    for word in words {
      for option in ["--jobserver-auth=", "--jobserver-fds="] where word.hasPrefix(option) {
        let value = word.dropFirst(option.count)
        if value.hasPrefix("fifo:") {
          found = .fifo(String(value.dropFirst(5)))
          continue
        }
        let numbers = value.split(separator: ",").compactMap { Int32($0) }
        let isPipe = numbers.count == 2 && numbers[0] >= 0 && numbers[1] >= 0
        found = isPipe ? .pipe(read: numbers[0], write: numbers[1]) : .none
      }
    }
    return found
  }

  /// Connects to the announced pool; nil when there is none or it cannot be reached, as in a make
  /// recipe that is not marked with `+`.
  init?(_ announcement: Announcement) {
    switch announcement {
    case .none: return nil
    case .fifo(let path):
      let reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
      let writer = open(path, O_WRONLY | O_CLOEXEC)
      guard reader >= 0, writer >= 0 else {
        if reader >= 0 { close(reader) }
        if writer >= 0 { close(writer) }
        return nil
      }
      (descriptor, writeEnd, ownsWriteEnd) = (reader, writer, true)
    case .pipe(let read, let write):
      guard fcntl(read, F_GETFD) >= 0, fcntl(write, F_GETFD) >= 0 else { return nil }
      var status = stat()
      guard fstat(read, &status) == 0, status.st_mode & S_IFMT == S_IFIFO else { return nil }
      let reader = open("/proc/self/fd/\(read)", O_RDONLY | O_NONBLOCK | O_CLOEXEC)
      guard reader >= 0 else { return nil }
      (descriptor, writeEnd, ownsWriteEnd) = (reader, write, false)
    }
  }

  deinit {
    close(descriptor)
    if ownsWriteEnd { close(writeEnd) }
  }

  /// A token, if one is there right now.
  func acquire() -> UInt8? {
    var token: UInt8 = 0
    while true {
      let count = read(descriptor, &token, 1)
      if count == 1 { return token }
      guard count < 0, errno == EINTR else { return nil }
    }
  }

  func release(_ token: UInt8) {
    var token = token
    while write(writeEnd, &token, 1) < 0, errno == EINTR {}
  }
}

/// Who holds which token. The first command at any time needs none.
struct JobTokens {
  private let server: Jobserver
  private var tokens: [Int: UInt8] = [:]
  private var spare: UInt8?
  private var freeSlotIsTaken = false

  init(_ server: Jobserver) { self.server = server }

  var descriptor: Int32 { server.descriptor }

  /// Whether one more command may start.
  mutating func hasRoom() -> Bool {
    if !freeSlotIsTaken { return true }
    if spare == nil { spare = server.acquire() }
    return spare != nil
  }

  mutating func started(_ step: Int) {
    if freeSlotIsTaken {
      tokens[step] = spare
      spare = nil
    } else {
      freeSlotIsTaken = true
    }
  }

  mutating func ended(_ step: Int) {
    if let token = tokens.removeValue(forKey: step) {
      server.release(token)
    } else {
      freeSlotIsTaken = false
    }
  }

  /// Gives back what is held for a start that does not come.
  mutating func giveSpareBack() {
    if let spare { server.release(spare) }
    spare = nil
  }

  /// Gives everything back.
  mutating func releaseAll() {
    giveSpareBack()
    for token in tokens.values { server.release(token) }
    tokens.removeAll()
    freeSlotIsTaken = false
  }
}
