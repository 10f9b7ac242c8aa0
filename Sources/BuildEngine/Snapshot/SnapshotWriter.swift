// SPDX-License-Identifier: Apache-2.0
// BuildEngine: columns into a snapshot.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// Collects columns and writes them from where they are.
struct SnapshotWriter {
  private struct Part {
    var entry: Snapshot.Entry
    /// Owns the bytes.
    var owner: AnyObject
    var bytes: UnsafeRawBufferPointer
  }

  private var parts: [Int: Part] = [:]

  /// - Parameter room: whether the column may grow where it lies.
  mutating func add<Element>(
    _ section: Snapshot.Section, _ column: borrowing Column<Element>, room: Bool = true
  ) {
    let (owner, bytes) = column.memory
    let stride = MemoryLayout<Element>.stride
    var entry = Snapshot.Entry(length: bytes.count, stride: stride)
    if room { entry.room = (bytes.count / stride / 16 + 1024) * stride }
    entry.checksum = cs_hash(bytes.baseAddress, bytes.count, 0)
    parts[section.rawValue] = Part(entry: entry, owner: owner, bytes: bytes)
  }

  mutating func add(_ section: Snapshot.Section, _ words: [UInt8]) {
    var column = Column<UInt8>(capacity: words.count)
    column.append(contentsOf: words)
    add(section, column, room: false)
  }

  /// Puts the snapshot in place, whole or not at all. - Returns: its id; nil when it could not be.
  func write(_ path: String, files: FileSystem) -> UInt64? {
    var table: [UInt8] = []
    var places: [(at: Int, part: Part)] = []
    func aligned(_ offset: Int) -> Int { (offset + 63) & ~63 }
    var end = Snapshot.headerSize + Snapshot.Section.allCases.count * Snapshot.entrySize
    for section in Snapshot.Section.allCases {
      guard let part = parts[section.rawValue] else { return nil }
      let offset = aligned(end)
      end = offset + part.entry.length + part.entry.room
      for value in [offset, part.entry.length, part.entry.room, part.entry.stride] {
        table.append(long: value)
      }
      table.append(long: Int(bitPattern: UInt(part.entry.checksum)))
      places.append((offset, part))
    }
    let id = table.withUnsafeBytes { cs_hash($0.baseAddress, $0.count, UInt64(end)) }
    var head: [UInt8] = []
    head.append(long: Int(bitPattern: UInt(Snapshot.magic)))
    head.append(word: Int32(bitPattern: Snapshot.version))
    head.append(word: Int32(Snapshot.Section.allCases.count))
    head.append(long: end)
    head.append(long: Int(bitPattern: UInt(id)))
    head += table

    let temporary = "\(path).\(getpid()).new"
    let file = openat(
      files.descriptor, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard file >= 0 else { return nil }
    // The room, too, gets its place on the disk now: whoever reads a hole of a mapped file on a file
    // system without space is ended by SIGBUS (mmap(2)).
    var isWhole = posix_fallocate(file, 0, off_t(end)) == 0
    isWhole = isWhole && head.withUnsafeBytes { SnapshotWriter.put(file, $0, at: 0) }
    for place in places where isWhole {
      isWhole = SnapshotWriter.put(file, place.part.bytes, at: place.at)
    }
    close(file)
    guard isWhole, renameat(files.descriptor, temporary, files.descriptor, path) == 0 else {
      unlinkat(files.descriptor, temporary, 0)
      return nil
    }
    return id
  }

  private static func put(_ file: Int32, _ bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool {
    var done = 0
    while done < bytes.count {
      let count = pwrite(
        file, bytes.baseAddress?.advanced(by: done), bytes.count - done, off_t(offset + done))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return false }
      done += count
    }
    return true
  }
}
