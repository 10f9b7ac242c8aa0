// SPDX-License-Identifier: Apache-2.0
// Bundling: which names an entry of a bundle may have.

internal import Diagnostics

/// The rule for names inside a bundle, the same for writing and for reading.
///
/// Narrower than what file systems take: relative, made of plain components, printable, and
/// without a backslash, so that a name means the same on every system, can leave no directory,
/// stands unescaped in `SHA256SUMS` and cannot move a terminal's cursor.
enum EntryPath {
  /// Longest name in bytes of UTF-8.
  static let longest = 1_024
  /// Longest component in bytes of UTF-8.
  static let longestComponent = 255
  /// Most components.
  static let deepest = 32

  /// Why `path` is refused, as the end of a sentence; nil when it is fine.
  static func fault(of path: String) -> String? {
    if path.isEmpty { return "is empty" }
    if path.utf8.count > longest { return "is longer than \(longest) bytes" }
    if path.hasPrefix("/") { return "is absolute" }
    let components = path.split(separator: "/", omittingEmptySubsequences: false)
    if components.count > deepest { return "is deeper than \(deepest) directories" }
    for component in components {
      if component.isEmpty || component == "." { return "has an empty component" }
      if component == ".." { return "leaves its directory" }
      if component.utf8.count > longestComponent {
        return "has a component longer than \(longestComponent) bytes"
      }
    }
    for scalar in path.unicodeScalars {
      if scalar == "\\" { return "has a backslash" }
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned:
        return "has a character that cannot be printed"
      default: break
      }
    }
    return nil
  }

  /// The name as messages show it: quoted, with what cannot be printed written as its number.
  static func quoted(_ path: String) -> String {
    var text = "\""
    for scalar in path.unicodeScalars.prefix(longest) {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned:
        text += "\\u{\(String(scalar.value, radix: 16))}"
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text + "\""
  }

  /// Order of names: by their bytes, whatever the locale.
  static func precedes(_ a: String, _ b: String) -> Bool {
    a.utf8.lexicographicallyPrecedes(b.utf8)
  }
}

/// Finds names that are equal on some file system: exactly, in other case, or in other Unicode
/// normal form. A file where another name needs a directory is found as well.
struct NameCollisions {
  // Swift compares strings by canonical equivalence, so normal forms need no work here.
  private var files: [String: String] = [:]
  private var directories: [String: String] = [:]

  /// Notes a name; returns the earlier name that it collides with.
  mutating func note(_ path: String) -> String? {
    let folded = path.lowercased()
    if let earlier = files[folded] ?? directories[folded] { return earlier }
    files[folded] = path
    var end = folded.startIndex
    while let slash = folded[end...].firstIndex(of: "/") {
      let parent = String(folded[..<slash])
      if let earlier = files[parent] { return earlier }
      directories[parent] = path
      end = folded.index(after: slash)
    }
    return nil
  }
}
