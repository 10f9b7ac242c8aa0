// SPDX-License-Identifier: Apache-2.0
// Bundling: a directory that appears complete or not at all.

internal import Artifacts
internal import Diagnostics
internal import Glibc

/// A directory under a temporary name beside the wanted one, private until it is published and
/// removed unless it is.
final class FreshDirectory {
  private let wanted: String
  private let temporary: String
  private var madeDirectories: Set<String> = []
  private var published = false

  /// Makes the directory.
  ///
  /// - Throws: `.work` when the wanted one exists and is not an empty directory.
  init(for directory: String) throws(QuenchError) {
    var path = directory
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    wanted = path
    var status = stat()
    if lstat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFDIR else {
        throw QuenchError(.work, "\"\(path)\" exists and is not a directory")
      }
      guard FreshDirectory.isEmpty(path) else {
        throw QuenchError(
          .work, "the directory \"\(path)\" is not empty", try: "a new directory")
      }
    } else if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      try FileContent.makeDirectory(String(path[..<slash]))
    }
    var template = Array("\(path).tmpXXXXXX".utf8CString)
    // mkdtemp makes it with mode 0700, so that nobody else can put links in the way.
    guard mkdtemp(&template) != nil else {
      throw QuenchError(.work, "cannot create a directory beside \"\(path)\": \(systemReason())")
    }
    temporary = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  deinit {
    if !published { FreshDirectory.remove(temporary) }
  }

  /// Creates a file of mode 0644 under a name that passed `EntryPath`.
  func create(_ name: String) throws(QuenchError) -> FreshFile {
    var end = name.startIndex
    while let slash = name[end...].firstIndex(of: "/") {
      let parent = String(name[..<slash])
      end = name.index(after: slash)
      guard madeDirectories.insert(parent).inserted else { continue }
      guard mkdir("\(temporary)/\(parent)", 0o755) == 0,
        chmod("\(temporary)/\(parent)", 0o755) == 0
      else {
        throw QuenchError(.work, "cannot create \"\(wanted)/\(parent)\": \(systemReason())")
      }
    }
    return try FreshFile("\(temporary)/\(name)", shownAs: "\(wanted)/\(name)")
  }

  /// Writes a whole file.
  func write(_ name: String, _ content: [UInt8]) throws(QuenchError) {
    let file = try create(name)
    var fault: QuenchError?
    content.withUnsafeBytes { bytes in
      do throws(QuenchError) { try file.write(bytes) } catch { fault = error }
    }
    if let fault { throw fault }
    try file.finish()
  }

  /// Gives the directory its name, with mode 0755.
  func publish() throws(QuenchError) {
    // rename replaces an empty directory and refuses any other.
    guard chmod(temporary, 0o755) == 0, rename(temporary, wanted) == 0 else {
      throw QuenchError(.work, "cannot create \"\(wanted)\": \(systemReason())")
    }
    published = true
  }

  private static func names(in path: String) -> [String]? {
    guard let directory = opendir(path) else { return nil }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  private static func isEmpty(_ path: String) -> Bool { names(in: path)?.isEmpty ?? false }

  private static func remove(_ path: String) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      unlink(path)
      return
    }
    for name in names(in: path) ?? [] { remove("\(path)/\(name)") }
    rmdir(path)
  }
}

/// A file being written in a `FreshDirectory`.
final class FreshFile {
  private let descriptor: Int32
  private let shown: String

  fileprivate init(_ path: String, shownAs shown: String) throws(QuenchError) {
    self.shown = shown
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw QuenchError(.work, "cannot create \"\(shown)\": \(systemReason())")
    }
  }

  deinit { close(descriptor) }

  /// Adds bytes.
  func write(_ bytes: UnsafeRawBufferPointer) throws(QuenchError) {
    var written = 0
    while written < bytes.count {
      let count = Glibc.write(
        descriptor, bytes.baseAddress?.advanced(by: written), bytes.count - written)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw failure() }
      written += count
    }
  }

  /// Sets the mode, whatever the umask, and waits until the disk has the content.
  func finish() throws(QuenchError) {
    guard fchmod(descriptor, 0o644) == 0, fsync(descriptor) == 0 else { throw failure() }
  }

  private func failure() -> QuenchError {
    QuenchError(.work, "cannot write \"\(shown)\": \(systemReason())")
  }
}
