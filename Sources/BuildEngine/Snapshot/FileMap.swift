// SPDX-License-Identifier: Apache-2.0
// BuildEngine: a file as memory.

internal import CSystem
internal import Glibc

/// A regular file's bytes, mapped for this process alone.
///
/// Only for files that the engine replaces by renaming, does not shorten, or cuts only while it holds
/// the lock.
final class FileMap {
  let bytes: UnsafeRawBufferPointer
  let identity: Identity

  /// - Parameters:
  ///   - isScratch: what is written to the memory stays in this process.
  ///   - length: only the beginning of a file that is read here and there.
  /// - Returns: nil when the file is missing, empty, not regular or cannot be mapped.
  init?(
    _ path: String, files: FileSystem, isScratch: Bool = false, length: Int? = nil,
    limit: Int = 1 << 36
  ) {
    let file = openat(files.descriptor, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var raw = cs_identity()
    guard cs_identify_open(file, &raw) == 0 else { return nil }
    identity = Identity(raw)
    let size = Int(clamping: identity.size)
    let count = length ?? size
    // Not populated at once: by first touches the kernel maps sixteen pages each, which takes less.
    guard identity.isRegular, count > 0, count <= size, count <= limit,
      let base = mmap(
        nil, count, PROT_READ | (isScratch ? PROT_WRITE : 0), MAP_PRIVATE, file, 0),
      base != MAP_FAILED
    else { return nil }
    bytes = UnsafeRawBufferPointer(start: base, count: count)
  }

  /// Lets the memory be written to, in this process alone. - Returns: nil when that is not allowed.
  func writable() -> UnsafeMutableRawBufferPointer? {
    let memory = UnsafeMutableRawBufferPointer(mutating: bytes)
    guard mprotect(memory.baseAddress, memory.count, PROT_READ | PROT_WRITE) == 0 else {
      return nil
    }
    return memory
  }

  deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
}
