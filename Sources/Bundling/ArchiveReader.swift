// SPDX-License-Identifier: Apache-2.0
// Bundling: the entries of a tar.zst file, in order, refused unless they are plain files.

internal import CArchive
internal import Diagnostics
internal import Glibc

/// Reads entries one after the other.
final class ArchiveReader {
  /// One entry; its name has passed `EntryPath` and it is a regular file of known size.
  struct Entry {
    var name: String
    var size: Int
  }

  /// Most zeros that may follow the end of the tar stream: writers pad to a multiple of a
  /// record, 10,240 bytes unless told otherwise.
  private static let longestPadding = 1 << 20

  private static let pieceSize = 1 << 18

  private let path: String
  private let descriptor: Int32
  private let handle: OpaquePointer
  private let buffer: UnsafeMutableRawPointer

  /// Opens a file.
  ///
  /// - Throws: `.noInput` when it cannot be opened; `.unavailable` without libarchive.
  init(_ path: String) throws(QuenchError) {
    try LibArchive.load()
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw QuenchError(.noInput, "cannot open \"\(path)\": \(systemReason())")
    }
    guard let handle = ca_reader_new(descriptor) else {
      close(descriptor)
      throw QuenchError(.work, "there is no memory to read \"\(path)\"")
    }
    self.handle = handle
    buffer = .allocate(byteCount: ArchiveReader.pieceSize, alignment: 16)
  }

  deinit {
    buffer.deallocate()
    ca_reader_free(handle)
    close(descriptor)
  }

  /// The next entry, nil at the end.
  ///
  /// - Throws: `.data` for anything but a whole archive of plain files with safe names.
  func next() throws(QuenchError) -> Entry? {
    var entry = ca_entry()
    switch ca_reader_next(handle, &entry) {
    case 0:
      try checkEnd()
      return nil
    case 1: break
    default: throw failure()
    }
    guard let bytes = entry.path, let name = String(validatingCString: bytes) else {
      throw refusal("an entry's name is not UTF-8")
    }
    if let fault = EntryPath.fault(of: name) {
      throw refusal("the entry \(EntryPath.quoted(name)) \(fault)")
    }
    let what: String? =
      switch entry.kind {
      case ca_regular: nil
      case ca_directory: "a directory"
      case ca_symbolic_link: "a symbolic link"
      case ca_hard_link: "a hard link"
      default: "neither a file nor a directory"
      }
    if let what {
      throw refusal("the entry \"\(name)\" is \(what); a bundle holds plain files only")
    }
    guard entry.mode == 0o644 else {
      throw refusal("the entry \"\(name)\" has mode \(String(entry.mode, radix: 8)), not 644")
    }
    guard let size = Int(exactly: entry.size), size >= 0 else {
      throw refusal("the entry \"\(name)\" does not state its size")
    }
    return Entry(name: name, size: size)
  }

  /// Lends the content of the current entry to `body` in pieces.
  ///
  /// - Throws: `.data` when the archive is damaged, and what `body` throws.
  func content(
    of entry: Entry, _ body: (UnsafeRawBufferPointer) throws(QuenchError) -> Void
  ) throws(QuenchError) {
    var left = entry.size
    while true {
      let count = ca_reader_data(handle, buffer, ArchiveReader.pieceSize)
      guard count >= 0 else { throw failure() }
      if count == 0 { break }
      left -= count
      guard left >= 0 else { throw refusal("the entry \"\(entry.name)\" is longer than it says") }
      try body(UnsafeRawBufferPointer(start: buffer, count: count))
    }
    guard left == 0 else { throw refusal("the entry \"\(entry.name)\" is shorter than it says") }
  }

  private func checkEnd() throws(QuenchError) {
    switch ca_reader_rest(handle, ArchiveReader.longestPadding) {
    case 0: return
    case 1: throw refusal("there is more data after the end of the archive")
    default: throw failure()
    }
  }

  private func failure() -> QuenchError {
    let reason = String(cString: ca_reader_error(handle))
    return refusal("this is not a whole tar.zst archive (\(reason))")
  }

  private func refusal(_ message: String) -> QuenchError {
    QuenchError(.data, message, at: .file(path))
  }
}
