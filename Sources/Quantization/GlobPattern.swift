// SPDX-License-Identifier: Apache-2.0
// Quantization: patterns of layer names.

/// A pattern of layer names: `*` stands for any run of characters, `/` included, `?` for one.
///
/// A slash is nothing special, since the names of layers are not paths: `/classifier/*` means all
/// that starts with `/classifier/`.
public struct GlobPattern: Sendable, Equatable {
  /// The pattern as written.
  public let text: String

  /// Wraps a pattern; every text is one.
  public init(_ text: String) { self.text = text }

  /// Whether the whole name fits the pattern.
  ///
  /// - Complexity: O(name · pattern) at worst; no recursion.
  public func matches(_ name: String) -> Bool {
    let pattern = Array(text.unicodeScalars)
    let name = Array(name.unicodeScalars)
    var p = 0
    var n = 0
    var retry: (pattern: Int, name: Int)?
    while n < name.count {
      if p < pattern.count, pattern[p] == "*" {
        retry = (p + 1, n)
        p += 1
      } else if p < pattern.count, pattern[p] == "?" || pattern[p] == name[n] {
        p += 1
        n += 1
      } else if let last = retry {
        // The last star takes one character more.
        p = last.pattern
        n = last.name + 1
        retry = (last.pattern, n)
      } else {
        return false
      }
    }
    return pattern[p...].allSatisfy { $0 == "*" }
  }
}
