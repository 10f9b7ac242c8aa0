// SPDX-License-Identifier: Apache-2.0
// Datasets: directory trees and file name patterns, read in a fixed order.

internal import Diagnostics
internal import Glibc

/// Lists files below directories and remembers which directories it read.
struct FileTree {
  /// Every directory whose listing the answer depended on, in the order of reading.
  private(set) var directories: [String] = []

  struct Entry {
    let name: String
    let isDirectory: Bool
  }

  /// The visible entries of a directory in byte order of their names. Links are followed; what is
  /// neither a file nor a directory is left out, and so is a link to nothing.
  ///
  /// - Throws: `.noInput` when it cannot be read; `.data` for a name that is not UTF-8 or holds a
  ///   TAB or a line feed.
  mutating func entries(of path: String) throws(QuenchError) -> [Entry] {
    guard let directory = opendir(path) else {
      throw QuenchError(
        .noInput, "cannot read directory \"\(path)\": \(String(cString: strerror(errno)))",
        at: .file(path))
    }
    defer { closedir(directory) }
    directories.append(path)
    var entries: [Entry] = []
    while true {
      errno = 0
      guard let entry = readdir(directory) else { break }
      let (bytes, kind) = FileTree.nameAndKind(entry)
      guard bytes.first != UInt8(ascii: ".") else { continue }
      guard let name = String(validating: bytes, as: UTF8.self) else {
        throw QuenchError(
          .data, "the file name \"\(String(decoding: bytes, as: UTF8.self))\" is not UTF-8",
          at: .file(path), try: "rename the file")
      }
      guard !bytes.contains(where: { $0 == 0x09 || $0 == 0x0A }) else {
        throw QuenchError(
          .data, "the file name \"\(name)\" holds a TAB or a line feed", at: .file(path),
          try: "rename the file")
      }
      let isDirectory: Bool
      switch kind {
      case Int(DT_DIR): isDirectory = true
      case Int(DT_REG): isDirectory = false
      default:
        var status = stat()
        guard stat(FileTree.join(path, name), &status) == 0 else { continue }
        let type = status.st_mode & S_IFMT
        guard type == S_IFDIR || type == S_IFREG else { continue }
        isDirectory = type == S_IFDIR
      }
      entries.append(Entry(name: name, isDirectory: isDirectory))
    }
    guard errno == 0 else {
      throw QuenchError(
        .noInput, "cannot read directory \"\(path)\": \(String(cString: strerror(errno)))",
        at: .file(path))
    }
    return entries.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  /// All files at any depth below a directory, in byte order of their paths.
  mutating func files(below path: String) throws(QuenchError) -> [String] {
    var found: [String] = []
    try collect(path, Trail().entering(path), into: &found)
    return found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  private mutating func collect(
    _ path: String, _ trail: Trail, into found: inout [String]
  ) throws(QuenchError) {
    for entry in try entries(of: path) {
      let full = FileTree.join(path, entry.name)
      if entry.isDirectory {
        try collect(full, try trail.entering(full), into: &found)
      } else {
        found.append(full)
      }
    }
  }

  /// A path below a directory; "." adds nothing.
  static func join(_ directory: String, _ name: String) -> String {
    if directory.isEmpty || directory == "." { return name }
    return directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
  }

  static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  private static func nameAndKind(_ entry: UnsafeMutablePointer<dirent>) -> ([UInt8], Int) {
    let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
    return (bytes, Int(entry.pointee.d_type))
  }
}

/// The directories that one lies in, so that a link that leads upward is seen.
struct Trail {
  private var directories: [Identity] = []

  private struct Identity: Equatable {
    var device: dev_t
    var inode: ino_t
  }

  /// - Throws: `.data` when the directory is one of those it lies in.
  func entering(_ path: String) throws(QuenchError) -> Trail {
    var status = stat()
    // A directory that went away meanwhile is reported by the one who lists it.
    guard stat(path, &status) == 0 else { return self }
    let identity = Identity(device: status.st_dev, inode: status.st_ino)
    guard !directories.contains(identity) else {
      throw QuenchError(
        .data, "the directory \"\(path)\" is a link to one that it lies in", at: .file(path),
        try: "remove the link")
    }
    var longer = self
    longer.directories.append(identity)
    return longer
  }
}

// MARK: - Patterns

/// A file name pattern such as `photos/**/*.png`.
struct Pattern {
  /// The leading directories without pattern characters; "." when there are none.
  let root: String
  private let parts: [String]

  static func isPattern(_ text: String) -> Bool { text.contains { "*?[".contains($0) } }

  init(_ text: String) {
    let names = text.split(separator: "/").map(String.init)
    let fixed = names.dropLast().prefix { !Pattern.isPattern($0) }
    let lead = (text.hasPrefix("/") ? "/" : "") + fixed.joined(separator: "/")
    root = lead.isEmpty ? "." : lead
    parts = Array(names[fixed.count...])
  }

  /// The files that match, in byte order of their paths.
  func files(in tree: inout FileTree) throws(QuenchError) -> [String] {
    var found: Set<String> = []
    try match(root, parts[...], &tree, &found, Trail().entering(root))
    return found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  private func match(
    _ path: String, _ parts: ArraySlice<String>, _ tree: inout FileTree, _ found: inout Set<String>,
    _ trail: Trail
  ) throws(QuenchError) {
    guard let part = parts.first else { return }
    let rest = parts.dropFirst()
    if part == "**" { try match(path, rest, &tree, &found, trail) }
    for entry in try tree.entries(of: path) {
      let full = FileTree.join(path, entry.name)
      if part == "**" {
        if entry.isDirectory {
          try match(full, parts, &tree, &found, try trail.entering(full))
        }
      } else if fnmatch(part, entry.name, 0) == 0 {
        if rest.isEmpty {
          if !entry.isDirectory { found.insert(full) }
        } else if entry.isDirectory {
          try match(full, rest, &tree, &found, try trail.entering(full))
        }
      }
    }
  }
}
