// SPDX-License-Identifier: Apache-2.0
// Datasets: parts of a file that stays open.

internal import Diagnostics
internal import Glibc

/// An open file, read in parts at any offset, from several threads at once.
///
/// Read rather than mapped: a mapped file that someone shortens kills the reader.
final class RandomAccessFile: Sendable {
  let path: String
  let size: Int
  let identity: FileIdentity
  private let descriptor: Int32

  /// - Throws: `.noInput` when it cannot be opened or is a directory.
  init(_ path: String) throws(QuenchError) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    var status = stat()
    guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
      let reason = String(cString: strerror(errno))
      if descriptor >= 0 { close(descriptor) }
      throw QuenchError(.noInput, "cannot open \"\(path)\": \(reason)", at: .file(path))
    }
    guard status.st_mode & S_IFMT != S_IFDIR else {
      close(descriptor)
      throw QuenchError(
        .noInput, "\"\(path)\" is a directory where a file should be", at: .file(path))
    }
    self.path = path
    size = Int(status.st_size)
    identity = FileIdentity(status)
  }

  deinit { close(descriptor) }

  /// - Throws: `.data` when the file ends before the part does; `.noInput` when reading fails.
  func read(at offset: Int, count: Int) throws(QuenchError) -> [UInt8] {
    // Compared before memory is taken: the count may come from a file.
    guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
      throw QuenchError(.data, "the file \"\(path)\" ends too early", at: .file(path))
    }
    var done = 0
    var failure: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while done < count {
        let part = pread(
          descriptor, buffer.baseAddress?.advanced(by: done), count - done, off_t(offset + done))
        if part < 0, errno == EINTR { continue }
        if part < 0 { failure = errno }
        if part <= 0 { break }
        done += part
      }
      filled = done
    }
    guard failure == 0 else {
      throw QuenchError(
        .noInput, "cannot read \"\(path)\": \(String(cString: strerror(failure)))", at: .file(path))
    }
    guard done == count else {
      throw QuenchError(.data, "the file \"\(path)\" ends too early", at: .file(path))
    }
    return bytes
  }
}

/// What tells one content of a file from another without reading it.
struct FileIdentity: Sendable, Equatable {
  private let numbers: [Int]

  init(_ status: stat) {
    numbers = [
      Int(status.st_dev), Int(status.st_ino), Int(status.st_size), status.st_mtim.tv_sec,
      status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
    ]
  }

  init?(path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    self.init(status)
  }
}
