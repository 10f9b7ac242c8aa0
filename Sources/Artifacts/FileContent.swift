// SPDX-License-Identifier: Apache-2.0
// Artifacts: whole files in, whole files out. Nothing is ever seen half-written.

public import Diagnostics
internal import Glibc

/// Reading and replacing whole files.
public enum FileContent {
  /// The bytes of a file.
  ///
  /// - Throws: `.noInput` when it cannot be opened or read, with the system's reason.
  public static func read(_ path: String) throws(QuenchError) -> [UInt8] {
    var bytes: [UInt8] = []
    try read(
      path, sizeHint: { bytes.reserveCapacity($0) }, { bytes.append(contentsOf: $0) })
    return bytes
  }

  /// The size of a file in bytes.
  ///
  /// - Throws: `.noInput` when it is not there.
  public static func size(_ path: String) throws(QuenchError) -> Int {
    var status = stat()
    guard stat(path, &status) == 0 else { throw cannot("open", path) }
    return Int(status.st_size)
  }

  /// Lends a file to `body` in pieces of at most 1 MiB.
  ///
  /// - Throws: `.noInput` when it cannot be opened or read.
  public static func read(
    _ path: String, sizeHint: (Int) -> Void = { _ in }, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(QuenchError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw cannot("open", path) }
    defer { close(descriptor) }
    var status = stat()
    if fstat(descriptor, &status) == 0 {
      guard status.st_mode & S_IFMT != S_IFDIR else {
        throw QuenchError(.noInput, "\"\(path)\" is a directory where a file should be")
      }
      sizeHint(Int(status.st_size))
    }
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    defer { piece.deallocate() }
    while true {
      let count = Glibc.read(descriptor, piece.baseAddress, piece.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw cannot("read", path) }
      if count == 0 { return }
      body(UnsafeRawBufferPointer(rebasing: piece[0..<count]))
    }
  }

  /// Replaces `path` by `bytes`: temporary name beside it, fsync, rename.
  ///
  /// Readers see the old file or the new one, never a part; a full disk leaves the old one.
  /// The mode is 0644 whatever the umask, so that artefacts do not depend on it.
  /// A target that is no file (`/dev/null`, a pipe) is written to, not replaced.
  /// - Throws: `.work` with the system's reason.
  public static func replace(_ path: String, with bytes: [UInt8]) throws(QuenchError) {
    if isDevice(path) { return try writeInto(path, bytes) }
    let temporary = "\(path).tmp\(getpid())"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw cannot("create", path, .work) }
    do throws(QuenchError) {
      try writeAll(descriptor, bytes, path: path)
      guard fchmod(descriptor, 0o644) == 0, fsync(descriptor) == 0 else {
        throw cannot("write", path, .work)
      }
    } catch {
      close(descriptor)
      unlink(temporary)
      throw error
    }
    guard close(descriptor) == 0, rename(temporary, path) == 0 else {
      let failure = cannot("write", path, .work)
      unlink(temporary)
      throw failure
    }
  }

  /// `replace`, unless the file already holds exactly these bytes (so its time stamp stays).
  ///
  /// - Returns: whether the file was written.
  @discardableResult
  public static func replaceIfChanged(
    _ path: String, with bytes: [UInt8]
  ) throws(QuenchError) -> Bool {
    if access(path, F_OK) == 0, let old = try? read(path), old == bytes { return false }
    try replace(path, with: bytes)
    return true
  }

  /// Makes a directory and its parents.
  public static func makeDirectory(_ path: String) throws(QuenchError) {
    if path.isEmpty || path == "/" || path == "." { return }
    if mkdir(path, 0o755) == 0 { return }
    if errno == ENOENT, let slash = path.lastIndex(of: "/") {
      try makeDirectory(String(path[..<slash]))
      if mkdir(path, 0o755) == 0 { return }
    }
    guard errno == EEXIST else { throw cannot("create directory", path, .work) }
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw QuenchError(.work, "\"\(path)\" is a file where a directory should be")
    }
  }

  private static func isDevice(_ path: String) -> Bool {
    var status = stat()
    guard stat(path, &status) == 0 else { return false }
    return [S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK].contains(status.st_mode & S_IFMT)
  }

  private static func writeInto(_ path: String, _ bytes: [UInt8]) throws(QuenchError) {
    let descriptor = open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw cannot("open", path, .work) }
    defer { close(descriptor) }
    try writeAll(descriptor, bytes, path: path)
  }

  private static func writeAll(
    _ descriptor: Int32, _ bytes: [UInt8], path: String
  ) throws(QuenchError) {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress?.advanced(by: written), $0.count - written)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw cannot("write", path, .work) }
      written += count
    }
  }

  private static func cannot(
    _ verb: String, _ path: String, _ kind: QuenchError.Kind = .noInput
  ) -> QuenchError {
    QuenchError(kind, "cannot \(verb) \"\(path)\": \(String(cString: strerror(errno)))")
  }
}
