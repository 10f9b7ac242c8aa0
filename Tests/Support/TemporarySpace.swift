// SPDX-License-Identifier: Apache-2.0
// TestSupport: a directory of a test's own, removed when the test ends.

import Glibc

/// A fresh directory under the system's temporary directory.
public final class TemporarySpace: Sendable {
  /// Absolute path, without a trailing slash.
  public let path: String

  /// Makes the directory.
  public init() {
    let root = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(root)/quench-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      fatalError("cannot make a temporary directory: \(String(cString: strerror(errno)))")
    }
    path = template.withUnsafeBufferPointer { buffer in
      buffer.baseAddress.map { String(cString: $0) } ?? ""
    }
  }

  deinit {
    // Kept for a look when QUENCH_KEEP is set.
    guard getenv("QUENCH_KEEP") == nil else { return }
    TemporarySpace.remove(path)
  }

  /// The path of a file in here.
  public func path(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file, making its directories.
  @discardableResult
  public func write(_ name: String, _ bytes: [UInt8]) -> String {
    let full = path(name)
    var parents = full.split(separator: "/").dropLast().map(String.init)
    var made = ""
    while !parents.isEmpty {
      made += "/" + parents.removeFirst()
      mkdir(made, 0o755)
    }
    let descriptor = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    precondition(descriptor >= 0, "cannot write \(full)")
    defer { close(descriptor) }
    var offset = 0
    while offset < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress?.advanced(by: offset), $0.count - offset)
      }
      precondition(count > 0, "cannot write \(full)")
      offset += count
    }
    return full
  }

  /// Writes a text file.
  @discardableResult
  public func write(_ name: String, _ text: String) -> String { write(name, Array(text.utf8)) }

  /// The bytes of a file, nil when it is not there.
  public func read(_ name: String) -> [UInt8]? {
    let descriptor = open(path(name), O_RDONLY)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Glibc.read(descriptor, &piece, piece.count)
      guard count > 0 else { return bytes }
      bytes.append(contentsOf: piece[0..<count])
    }
  }

  /// The text of a file, nil when it is not there.
  public func text(_ name: String) -> String? {
    read(name).map { String(decoding: $0, as: UTF8.self) }
  }

  private static func remove(_ path: String) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR {
      chmod(path, 0o700)
      if let directory = opendir(path) {
        while let entry = readdir(directory) {
          let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
          }
          if name != ".", name != ".." { remove("\(path)/\(name)") }
        }
        closedir(directory)
      }
      rmdir(path)
    } else {
      unlink(path)
    }
  }
}
