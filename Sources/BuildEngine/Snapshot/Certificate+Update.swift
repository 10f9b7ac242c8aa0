// SPDX-License-Identifier: Apache-2.0
// BuildEngine: a certificate brought up to date where it lies.

internal import CSystem
internal import Glibc

extension Certificate {
  /// Changes the states of some files and the terms of a certificate that was read, in its file: a
  /// new one would cost a small build as much as one of its commands.
  ///
  /// The caller holds the lock. Others may be reading: first the checksum becomes one that nothing
  /// has, which they look at again when they have compared all files (`Glance.logIsSame`), and last
  /// the right one. Whatever breaks off in between leaves a certificate that nobody accepts. The file
  /// never becomes shorter, since others have it mapped.
  ///
  /// - Parameter old: of its memory only the states of other files are of use afterwards.
  /// - Returns: whether the file is a whole certificate now; if not, it is none, or the old one.
  static func update(
    _ old: Reader, at path: String, _ files: FileSystem,
    changed: [(index: Int, identity: Identity)], log: Identity, terms: Terms
  ) -> Bool {
    var end: [UInt8] = []
    append(terms, to: &end)
    guard old.tail + end.count >= old.map.bytes.count else { return false }
    let file = openat(files.descriptor, path, O_RDWR | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    var raw = cs_identity()
    // Of the same file only, and as it was read.
    guard cs_identify_open(file, &raw) == 0, Identity(raw) == old.map.identity, old.isUntouched,
      let bytes = old.map.writable(), let base = bytes.baseAddress
    else { return false }
    func write(_ range: Range<Int>) -> Bool {
      pwrite(file, base + range.lowerBound, range.count, off_t(range.lowerBound)) == range.count
    }
    bytes.storeBytes(of: 0, toByteOffset: Header.checksum, as: UInt64.self)
    guard write(0..<headerSize) else { return false }
    for (index, identity) in changed {
      let place = headerSize + index * 48
      guard old.identity(index) != identity else { continue }
      identity.store(in: bytes, at: place)
      guard write(place..<place + 44) else { return false }
    }
    guard pwrite(file, end, end.count, off_t(old.tail)) == end.count else { return false }
    let length = UInt64(old.tail + end.count)
    bytes.storeBytes(of: length, toByteOffset: Header.length, as: UInt64.self)
    store(LogMark(log), in: bytes)
    let check = cs_hash_both(base + 24, old.tail - 24, end, end.count, length)
    bytes.storeBytes(of: check, toByteOffset: Header.checksum, as: UInt64.self)
    return write(0..<headerSize)
  }
}
