// SPDX-License-Identifier: Apache-2.0
// BuildEngine: names as small integers.

internal import CSystem
internal import Glibc

/// Interns byte strings (paths, variable names): equal bytes, equal id; ids count up from 0.
///
/// Open addressing over one arena; every string is followed by a NUL, so that system calls take it
/// as it lies. One table serves manifest and log, and survives a reload of the manifest.
///
/// The engine's arrays are touched by the thread that builds and no other, never twice at once; the
/// run-time check of that would take a tenth of a null build, so it is off where it counts.
final class PathTable {
  @exclusivity(unchecked) private var arena: Column<UInt8>
  @exclusivity(unchecked) private var starts: Column<Int32>
  @exclusivity(unchecked) private var lengths: Column<Int32>
  @exclusivity(unchecked) private var tags: Column<UInt32>
  @exclusivity(unchecked) private var slots: Column<Int32>
  @exclusivity(unchecked) private var mask: Int
  /// The snapshot whose names these are, with the same ids; 0 for none.
  var origin: UInt64 = 0
  /// How many of them it holds.
  var originCount = 0

  init(capacity: Int = 1024) {
    arena = Column()
    starts = Column()
    lengths = Column()
    tags = Column()
    var size = 64
    while size < capacity * 2 { size *= 2 }
    slots = Column(repeating: -1, count: size)
    mask = size - 1
  }

  /// The names of a snapshot; nil when its table is not in order.
  init?(_ snapshot: Snapshot) {
    arena = snapshot.column(.pathArena)
    starts = snapshot.column(.pathStarts)
    lengths = snapshot.column(.pathLengths)
    tags = snapshot.column(.pathTags)
    slots = snapshot.column(.pathSlots)
    mask = slots.count - 1
    origin = snapshot.id
    originCount = starts.count
    guard slots.count & mask == 0, slots.count > starts.count, lengths.count == starts.count,
      tags.count == starts.count
    else { return nil }
  }

  func write(to writer: inout SnapshotWriter) {
    writer.add(.pathArena, arena)
    writer.add(.pathStarts, starts)
    writer.add(.pathLengths, lengths)
    writer.add(.pathTags, tags)
    writer.add(.pathSlots, slots, room: false)
  }

  var count: Int { starts.count }

  /// The id of these bytes, new if they were not seen before.
  func intern(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32 {
    let hash = cs_hash(bytes.baseAddress, bytes.count, 0)
    var slot = Int(truncatingIfNeeded: hash >> 32) & mask
    let tag = UInt32(truncatingIfNeeded: hash)
    while slots[slot] >= 0 {
      let id = slots[slot]
      if tags[Int(id)] == tag, equals(id, bytes) { return id }
      slot = (slot + 1) & mask
    }
    let id = Int32(starts.count)
    precondition(arena.count + bytes.count < Int(Int32.max), "over 2 GiB of names")
    starts.append(Int32(arena.count))
    lengths.append(Int32(bytes.count))
    tags.append(tag)
    arena.append(contentsOf: bytes)
    arena.append(0)
    slots[slot] = id
    if starts.count * 2 > slots.count { grow() }
    return id
  }

  /// The id of these bytes, nil if they were never interned.
  func find(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32? {
    let hash = cs_hash(bytes.baseAddress, bytes.count, 0)
    var slot = Int(truncatingIfNeeded: hash >> 32) & mask
    let tag = UInt32(truncatingIfNeeded: hash)
    while slots[slot] >= 0 {
      let id = slots[slot]
      if tags[Int(id)] == tag, equals(id, bytes) { return id }
      slot = (slot + 1) & mask
    }
    return nil
  }

  func intern(_ text: String) -> Int32 {
    var text = text
    return text.withUTF8 { intern($0) }
  }

  func find(_ text: String) -> Int32? {
    var text = text
    return text.withUTF8 { find($0) }
  }

  /// Lends the bytes of a name; the byte after them is NUL.
  @inline(__always)
  func withBytes<Result, Failure>(
    _ id: Int32, _ body: (UnsafeBufferPointer<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let start = Int(starts[Int(id)])
    let length = Int(lengths[Int(id)])
    return try arena.withBuffer(start..<start + length, body)
  }

  /// Lends a name as a C string.
  @inline(__always)
  func withCString<Result>(_ id: Int32, _ body: (UnsafePointer<CChar>) -> Result) -> Result {
    let start = Int(starts[Int(id)])
    return arena.withBuffer(start..<start + length(id) + 1) { bytes in
      guard let base = bytes.baseAddress else { preconditionFailure("a name without an arena") }
      return body(UnsafeRawPointer(base).assumingMemoryBound(to: CChar.self))
    }
  }

  func string(_ id: Int32) -> String {
    withBytes(id) { String(decoding: $0, as: UTF8.self) }
  }

  func length(_ id: Int32) -> Int { Int(lengths[Int(id)]) }

  private func equals(_ id: Int32, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    let length = Int(lengths[Int(id)])
    guard length == bytes.count else { return false }
    guard length > 0, let other = bytes.baseAddress else { return true }
    let start = Int(starts[Int(id)])
    return arena.withBuffer(start..<start + length) { bytes in
      bytes.baseAddress.map { memcmp($0, other, length) == 0 } ?? false
    }
  }

  private func grow() {
    let size = slots.count * 2
    slots = Column(repeating: -1, count: size)
    mask = size - 1
    for id in 0..<starts.count {
      let hash = withBytes(Int32(id)) { cs_hash($0.baseAddress, $0.count, 0) }
      var slot = Int(truncatingIfNeeded: hash >> 32) & mask
      while slots[slot] >= 0 { slot = (slot + 1) & mask }
      slots[slot] = Int32(id)
    }
  }
}
