// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the file calls of the engine, all relative to one directory.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// What tells one state of a file from another without reading it.
///
/// Any difference means: read again and let the content decide. ctime cannot be set back by a
/// user, the inode catches a replacement within one clock tick.
struct Identity: Equatable {
  var device: UInt64 = 0
  var inode: UInt64 = 0
  var size: UInt64 = 0
  /// Nanoseconds since 1970.
  var modified: Int64 = 0
  var changed: Int64 = 0
  var mode: UInt32 = 0

  init() {}

  init(_ raw: cs_identity) {
    device = raw.device
    inode = raw.inode
    size = raw.size
    modified = raw.modified
    changed = raw.changed
    mode = raw.mode
  }

  var isDirectory: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFDIR) }
  var isRegular: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFREG) }

  /// Whether a change after `time` is sure to alter this identity.
  ///
  /// A file that changed within one clock step before it was read may change again within the same
  /// step and look the same (git calls such an entry racily clean). Stamps of whole seconds come
  /// from file systems that count in (two) seconds.
  func isSettled(at time: Int64) -> Bool {
    let step: Int64 = changed % 1_000_000_000 == 0 ? 2_000_000_000 : 20_000_000
    return changed < time - step
  }
}

/// One directory, and everything reached from it by relative paths. Never changes the process's
/// working directory, so that builds can run side by side.
final class FileSystem {
  /// The path that was given, for messages.
  let directory: String
  let descriptor: Int32
  /// The device whose stamps are known to differ after every look; see `BuildLock.probe`.
  var fineDevice: UInt64?
  /// Filled where the options ask for it.
  var metrics: BuildMetrics?

  init(_ directory: String) throws(QuenchError) {
    self.directory = directory
    descriptor = open(directory.isEmpty ? "." : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw QuenchError(.noInput, "cannot enter \"\(directory)\": \(reason())")
    }
  }

  deinit { close(descriptor) }

  /// Whether a change after `time`, when the file was looked at, is sure to alter its identity.
  func isSettled(_ identity: Identity, at time: Int64) -> Bool {
    identity.device == fineDevice || identity.isSettled(at: time)
  }

  /// Nil when nothing is there.
  func identity(_ path: String) throws(QuenchError) -> Identity? {
    var raw = cs_identity()
    return try FileSystem.identity(cs_identify(descriptor, path, &raw), raw) { path }
  }

  func identity(_ node: Int32, in paths: PathTable) throws(QuenchError) -> Identity? {
    var raw = cs_identity()
    let code = paths.withCString(node) { cs_identify(descriptor, $0, &raw) }
    return try FileSystem.identity(code, raw) { paths.string(node) }
  }

  /// The identity of what a word names, nil also when nobody may look at it.
  func identity(of word: inout [UInt8]) -> Identity? {
    var raw = cs_identity()
    word.append(0)
    defer { word.removeLast() }
    let code = word.withUnsafeBytes { bytes in
      bytes.baseAddress.map {
        cs_identify(descriptor, $0.assumingMemoryBound(to: CChar.self), &raw)
      }
    }
    return code == 0 ? Identity(raw) : nil
  }

  private static func identity(_ code: Int32, _ raw: cs_identity, _ path: () -> String)
    throws(QuenchError) -> Identity?
  {
    switch code {
    case 0: return Identity(raw)
    case ENOENT, ENOTDIR: return nil
    default:
      throw QuenchError(.noInput, "cannot look at \"\(path())\": \(reason(code))")
    }
  }

  /// Lends a file in pieces. - Returns: the identity after the last byte, and the number of bytes.
  ///
  /// - Parameter size: what is expected, in bytes.
  func read(
    _ path: String, size: UInt64, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(QuenchError) -> (identity: Identity, count: Int) {
    let file = openat(descriptor, path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw QuenchError(.noInput, "cannot open \"\(path)\": \(reason())") }
    defer { close(file) }
    var after = cs_identity()
    var total = 0
    let isSized = size > 0
    let size = Int(min(max(size, 4095) + 1, 1 << 20))
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
    defer { piece.deallocate() }
    while true {
      let count = Glibc.read(file, piece.baseAddress, piece.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else {
        throw QuenchError(.noInput, "cannot read \"\(path)\": \(reason())")
      }
      if count > 0 { body(UnsafeRawBufferPointer(rebasing: piece[0..<count])) }
      total += count
      // Less than was asked for is the end, or the file's size will tell that it was not; a file
      // that is made while it is read (/proc) has none.
      if count == 0 || isSized && count < piece.count { break }
    }
    _ = cs_identify_open(file, &after)
    return (Identity(after), total)
  }

  func read(_ path: String) throws(QuenchError) -> [UInt8] { try readWithIdentity(path).bytes }

  /// A whole file; nil when nothing is there.
  func readIfThere(_ path: String) throws(QuenchError) -> [UInt8]? {
    do throws(QuenchError) {
      return try read(path)
    } catch {
      guard try identity(path) == nil else { throw error }
      return nil
    }
  }

  /// A whole file in one piece of memory, with its identity before the first byte was read.
  ///
  /// - Parameter room: bytes that the array can take without moving; pages that are not touched
  ///   cost nothing.
  func readWithIdentity(_ path: String, room: Int = 0) throws(QuenchError)
    -> (bytes: [UInt8], identity: Identity)
  {
    let file = openat(descriptor, path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw QuenchError(.noInput, "cannot open \"\(path)\": \(reason())") }
    defer { close(file) }
    var raw = cs_identity()
    _ = cs_identify_open(file, &raw)
    let identity = Identity(raw)
    guard !identity.isDirectory else {
      throw QuenchError(.noInput, "\"\(path)\" is a directory where a file should be")
    }
    var failure: Int32 = 0
    var isWhole = false
    // What a pipe or a growing file has beyond its size comes piece by piece.
    var bytes = [UInt8](
      unsafeUninitializedCapacity: min(Int(clamping: identity.size), 1 << 32) + room + 1
    ) {
      space, filled in
      while filled < space.count {
        let count = Glibc.read(
          file, space.baseAddress.map { $0 + filled }, min(space.count - filled, 1 << 30))
        if count < 0, errno == EINTR { continue }
        if count < 0 { failure = errno }
        isWhole = count <= 0
        guard count > 0 else { break }
        filled += count
      }
    }
    while !isWhole {
      var piece = [UInt8](repeating: 0, count: 1 << 16)
      let count = Glibc.read(file, &piece, piece.count)
      if count < 0, errno == EINTR { continue }
      if count < 0 { failure = errno }
      isWhole = count <= 0
      if count > 0 { bytes.append(contentsOf: piece[..<count]) }
    }
    guard failure == 0 else {
      throw QuenchError(.noInput, "cannot read \"\(path)\": \(reason(failure))")
    }
    return (bytes, identity)
  }

  /// Names and kinds in a directory, sorted, as bytes to digest: `name NUL kind LF`.
  ///
  /// The engine's own `.quench` is left out, so that a build does not change its own input.
  func listing(_ path: String) throws(QuenchError) -> [UInt8] {
    let fd = openat(descriptor, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard fd >= 0, let stream = fdopendir(fd) else {
      if fd >= 0 { close(fd) }
      throw QuenchError(.noInput, "cannot list \"\(path)\": \(reason())")
    }
    defer { closedir(stream) }
    var entries: [[UInt8]] = []
    while let entry = readdir(stream) {
      var line = withUnsafeBytes(of: entry.pointee.d_name) { name in
        Array(name.prefix { $0 != 0 })
      }
      if line == [0x2E] || line == [0x2E, 0x2E] || line == Array(".quench".utf8) { continue }
      var kind = entry.pointee.d_type
      if kind == 0 {  // DT_UNKNOWN: this file system does not say.
        var status = stat()
        let found = line.withUnsafeBufferPointer { bytes in
          fstatat(fd, String(decoding: bytes, as: UTF8.self), &status, AT_SYMLINK_NOFOLLOW)
        }
        if found == 0 { kind = UInt8((status.st_mode & S_IFMT) >> 12) }
      }
      line.append(0)
      line.append(kind)
      line.append(0x0A)
      entries.append(line)
    }
    entries.sort { $0.lexicographicallyPrecedes($1) }
    return Array(entries.joined())
  }

  /// The last bytes of a file, 64 at most; none when it cannot be read.
  func ending(of path: String) -> [UInt8] {
    let file = openat(descriptor, path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return [] }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let size = lseek(file, 0, SEEK_END)
    let count = pread(file, &bytes, bytes.count, max(0, size - 64))
    return Array(bytes.prefix(max(0, count)))
  }

  func makeParents(of path: String) throws(QuenchError) {
    guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return }
    try makeDirectory(String(path[..<slash]))
  }

  func makeDirectory(_ path: String) throws(QuenchError) {
    // Mostly it is there, and asking costs far less than trying.
    if try identity(path)?.isDirectory == true { return }
    if mkdirat(descriptor, path, 0o755) == 0 { return }
    if errno == ENOENT, path.contains("/") {
      try makeParents(of: path)
      if mkdirat(descriptor, path, 0o755) == 0 { return }
    }
    guard errno == EEXIST else {
      throw QuenchError(.work, "cannot create directory \"\(path)\": \(reason())")
    }
    guard try identity(path)?.isDirectory == true else {
      throw QuenchError(.work, "\"\(path)\" is a file where a directory should be")
    }
  }

  /// Writes a whole file in place: for response files, which only their command reads.
  func write(_ path: String, _ bytes: [UInt8]) throws(QuenchError) {
    let file = openat(descriptor, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard file >= 0 else {
      throw QuenchError(.work, "cannot create \"\(path)\": \(reason())")
    }
    defer { close(file) }
    guard FileSystem.writeAll(file, bytes) else {
      throw QuenchError(.work, "cannot write \"\(path)\": \(reason())")
    }
  }

  /// The same for a file that is mostly there: emptied first, the file system would give it new space
  /// at once, which takes longer than a look at a hundred files.
  func overwrite(_ path: String, _ bytes: [UInt8]) throws(QuenchError) {
    let file = openat(descriptor, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
    guard file >= 0 else {
      throw QuenchError(.work, "cannot create \"\(path)\": \(reason())")
    }
    defer { close(file) }
    var raw = cs_identity()
    guard FileSystem.writeAll(file, bytes), cs_identify_open(file, &raw) == 0,
      raw.size <= UInt64(bytes.count) || ftruncate(file, off_t(bytes.count)) == 0
    else {
      throw QuenchError(.work, "cannot write \"\(path)\": \(reason())")
    }
  }

  static func writeAll(_ file: Int32, _ bytes: [UInt8]) -> Bool {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(file, $0.baseAddress?.advanced(by: written), $0.count - written)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return false }
      written += count
    }
    return true
  }

  /// Removes a file or a link; devices, pipes and directories are left.
  ///
  /// - Returns: whether there was something to remove.
  @discardableResult
  func remove(_ path: String) throws(QuenchError) -> Bool {
    var status = stat()
    if fstatat(descriptor, path, &status, AT_SYMLINK_NOFOLLOW) == 0,
      status.st_mode & S_IFMT != S_IFREG, status.st_mode & S_IFMT != S_IFLNK
    {
      return false
    }
    if unlinkat(descriptor, path, 0) == 0 { return true }
    guard errno == ENOENT || errno == ENOTDIR else {
      throw QuenchError(.work, "cannot remove \"\(path)\": \(reason())")
    }
    return false
  }

  /// Removes a file that was just read.
  func removeRead(_ path: String) throws(QuenchError) {
    if unlinkat(descriptor, path, 0) != 0 { try remove(path) }
  }

  func rename(_ from: String, to: String) throws(QuenchError) {
    guard renameat(descriptor, from, descriptor, to) == 0 else {
      throw QuenchError(.work, "cannot rename \"\(from)\" to \"\(to)\": \(reason())")
    }
  }
}

/// The system's reason for the last failure.
func reason(_ code: Int32 = errno) -> String { String(cString: strerror(code)) }
