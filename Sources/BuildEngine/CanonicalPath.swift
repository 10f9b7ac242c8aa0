// SPDX-License-Identifier: Apache-2.0
// BuildEngine: one spelling for one path.

internal import Diagnostics

/// Folds `a//b`, `a/./b` and `a/b/../c`, so that every spelling of a path is one node.
///
/// Leading `../` stay, `/..` of an absolute path stays, symbolic links are not looked at
/// (the Ninja manual's rules).
enum CanonicalPath {
  /// Rewrites `path` in place.
  static func fold(_ path: inout [UInt8]) {
    guard needsFolding(path) else { return }
    let slash = UInt8(ascii: "/")
    let dot = UInt8(ascii: ".")
    let absolute = path.first == slash
    var kept: [ArraySlice<UInt8>] = []
    for part in path.split(separator: slash, omittingEmptySubsequences: true) {
      if part.count == 1, part.first == dot { continue }
      if part.count == 2, part.first == dot, part.last == dot {
        if let last = kept.last, !(last.count == 2 && last.first == dot && last.last == dot) {
          kept.removeLast()
          continue
        }
      }
      kept.append(part)
    }
    var folded: [UInt8] = absolute ? [slash] : []
    for (index, part) in kept.enumerated() {
      if index > 0 { folded.append(slash) }
      folded.append(contentsOf: part)
    }
    path = folded.isEmpty ? [dot] : folded
  }

  static func fold(_ path: String) -> String {
    var bytes = Array(path.utf8)
    fold(&bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Whether a path is text. Messages, events and the cache name files as text, so that others could
  /// be mistaken for one another.
  static func isText(_ path: [UInt8]) -> Bool {
    path.allSatisfy { $0 < 0x80 } || String(validating: path, as: UTF8.self) != nil
  }

  /// The error for a path that is not.
  static func notText(_ path: [UInt8], at place: Place?) -> QuenchError {
    QuenchError(
      .data, "the path \"\(String(decoding: path, as: UTF8.self))\" is not UTF-8", at: place,
      try: "another name for the file")
  }

  /// Whether there is anything to fold; most paths have nothing, and this costs one pass.
  private static func needsFolding(_ path: [UInt8]) -> Bool {
    let slash = UInt8(ascii: "/")
    let dot = UInt8(ascii: ".")
    guard let last = path.last else { return false }
    if last == slash, path.count > 1 { return true }
    var atStart = true
    for (index, byte) in path.enumerated() {
      if byte == slash, index > 0, atStart { return true }
      if atStart, byte == dot {
        let next = index + 1 < path.count ? path[index + 1] : slash
        if next == slash || next == dot { return true }
      }
      atStart = byte == slash
    }
    return false
  }
}
