// SPDX-License-Identifier: Apache-2.0
// BuildEngine: a file as memory.

internal import CSystem
internal import Glibc

/// A regular file's bytes, mapped for this process alone.
///
/// Only for files that the engine replaces by renaming and never cuts while others may read them.
final class FileMap {
  let bytes: UnsafeRawBufferPointer
  let identity: Identity

  /// - Parameter isScratch: what is written to the memory stays in this process.
  /// - Returns: nil when the file is missing, empty, not regular or cannot be mapped.
  init?(_ path: String, files: FileSystem, isScratch: Bool = false, limit: Int = 1 << 32) {
    let file = openat(files.descriptor, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var raw = cs_identity()
    guard cs_identify_open(file, &raw) == 0 else { return nil }
    identity = Identity(raw)
    let size = Int(clamping: identity.size)
    guard identity.isRegular, size > 0, size <= limit,
      let base = mmap(
        nil, size, PROT_READ | (isScratch ? PROT_WRITE : 0),
        MAP_PRIVATE | (isScratch ? 0 : Int32(MAP_POPULATE)), file, 0),
      base != MAP_FAILED
    else { return nil }
    bytes = UnsafeRawBufferPointer(start: base, count: size)
  }

  deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
}
