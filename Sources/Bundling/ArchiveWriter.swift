// SPDX-License-Identifier: Apache-2.0
// Bundling: a tar.zst file being written, seen by nobody until it is complete.

internal import CArchive
internal import Diagnostics
internal import Glibc

/// Writes entries to a temporary file beside the wanted one; `finish` puts it in place.
final class ArchiveWriter {
  /// Trained weights hardly compress: higher levels cost much time and save nothing.
  static let level = "3"
  /// 1980-01-01 00:00 UTC: one moment for all, early enough for every format and not before 1970
  /// in any time zone, which some tools warn of.
  static let time: Int64 = 315_532_800

  private let path: String
  private let temporary: String
  private let descriptor: Int32
  private let handle: OpaquePointer

  /// Opens the temporary file.
  ///
  /// - Throws: `.unavailable` without libarchive; `.work` when the file cannot be made.
  init(_ path: String) throws(QuenchError) {
    try LibArchive.load()
    self.path = path
    temporary = "\(path).tmp\(getpid())"
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw QuenchError(.work, "cannot create \"\(temporary)\": \(systemReason())")
    }
    guard let handle = ca_writer_new(descriptor, ArchiveWriter.level) else {
      close(descriptor)
      unlink(temporary)
      throw QuenchError(.work, "there is no memory to write \"\(path)\"")
    }
    self.handle = handle
  }

  deinit {
    ca_writer_free(handle)
    close(descriptor)
    // Gone already when `finish` renamed it.
    unlink(temporary)
  }

  /// Starts an entry of exactly `size` bytes; all have mode 0644, owner 0 and the same time.
  func start(_ name: String, size: Int) throws(QuenchError) {
    guard ca_writer_entry(handle, name, Int64(size), ArchiveWriter.time, 0o644) == 0 else {
      throw failure()
    }
  }

  /// Adds content to the entry.
  func add(_ bytes: UnsafeRawBufferPointer) throws(QuenchError) {
    guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
    guard ca_writer_data(handle, base, bytes.count) == 0 else { throw failure() }
  }

  /// Writes an entry whose content is in memory.
  func add(_ name: String, _ content: [UInt8]) throws(QuenchError) {
    try start(name, size: content.count)
    var fault: QuenchError?
    content.withUnsafeBytes { bytes in
      do throws(QuenchError) { try add(bytes) } catch { fault = error }
    }
    if let fault { throw fault }
  }

  /// Completes the archive and gives it its name.
  func finish() throws(QuenchError) {
    guard ca_writer_finish(handle) == 0 else { throw failure() }
    guard fchmod(descriptor, 0o644) == 0, fsync(descriptor) == 0, rename(temporary, path) == 0
    else { throw QuenchError(.work, "cannot write \"\(path)\": \(systemReason())") }
  }

  private func failure() -> QuenchError {
    QuenchError(.work, "cannot write \"\(path)\": \(String(cString: ca_writer_error(handle)))")
  }
}

/// The library behind archives.
enum LibArchive {
  /// Loads it on first use.
  ///
  /// - Throws: `.unavailable` when it is not installed.
  static func load() throws(QuenchError) {
    guard let reason = ca_load() else { return }
    throw QuenchError(
      .unavailable, "libarchive cannot be loaded: \(String(cString: reason))",
      try: "apt-get install libarchive13")
  }
}

/// The system's words for `errno`.
func systemReason() -> String { String(cString: strerror(errno)) }
