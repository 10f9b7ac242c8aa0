// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the dependencies that a compiler discovered.

internal import Diagnostics

/// A depfile: make rules as gcc, clang and others write them.
struct DepFile {
  var targets: [[UInt8]] = []
  var inputs: [[UInt8]] = []

  /// Reads the text of a depfile; an empty one has no dependencies.
  ///
  /// - Throws: `.data` when there is text but no rule, or a rule for something that is an input.
  init(_ bytes: [UInt8], path: String) throws(QuenchError) {
    var seen: Set<[UInt8]> = []
    var inTargets = true
    var sawColon = false
    var sawText = false
    /// Whether the current rule's targets are all known inputs, as `gcc -MP` writes them.
    var ruleTargets: [[UInt8]] = []
    var index = 0
    func byte(_ i: Int) -> UInt8 { i < bytes.count ? bytes[i] : 0x0A }
    while index < bytes.count {
      let c = bytes[index]
      if c == 0x20 || c == 0x09 || c == 0x0D {
        index += 1
        continue
      }
      if c == 0x0A {
        index += 1
        // A line's end ends the rule, unless no colon has come yet.
        if !inTargets {
          inTargets = true
          ruleTargets.removeAll()
        }
        continue
      }
      if c == UInt8(ascii: "\\"), byte(index + 1) == 0x0A {
        index += 2
        continue
      }
      if c == UInt8(ascii: "\\"), byte(index + 1) == 0x0D, byte(index + 2) == 0x0A {
        index += 3
        continue
      }
      if c == UInt8(ascii: ":"), inTargets {
        inTargets = false
        sawColon = true
        index += 1
        continue
      }
      sawText = true
      var (name, endsTarget) = DepFile.name(bytes, &index)
      CanonicalPath.fold(&name)
      guard CanonicalPath.isText(name) else {
        throw CanonicalPath.notText(name, at: .file(path))
      }
      if inTargets {
        if !name.isEmpty {
          ruleTargets.append(name)
          if !seen.contains(name), !targets.contains(name) { targets.append(name) }
        }
        if endsTarget {
          inTargets = false
          sawColon = true
        }
      } else if !name.isEmpty {
        if ruleTargets.contains(where: { seen.contains($0) }) {
          throw QuenchError(
            .data, "depfile: inputs may not also have inputs", at: .file(path))
        }
        if seen.insert(name).inserted { inputs.append(name) }
      }
    }
    if sawText, !sawColon { throw QuenchError(.data, "expected ':' in depfile", at: .file(path)) }
  }

  /// Lends the inputs of a depfile of one rule with one target whose text holds nothing that has to
  /// be rewritten: what compilers write for most sources. An input may come more than once.
  ///
  /// - Returns: whether it is one; if not, nothing was lent.
  static func eachPlainInput(
    _ bytes: [UInt8], _ body: (UnsafeBufferPointer<UInt8>) -> Void
  ) -> Bool {
    bytes.withUnsafeBufferPointer { bytes in
      guard let start = plainStart(bytes) else { return false }
      var first = start
      for index in start...bytes.count {
        let isEnd =
          index == bytes.count || bytes[index] == 0x20 || bytes[index] == 0x0A
          // A backslash stands before a line's end only.
          || bytes[index] == UInt8(ascii: "\\")
        guard isEnd else { continue }
        if index > first { body(UnsafeBufferPointer(rebasing: bytes[first..<index])) }
        first = index + 1
      }
      return true
    }
  }

  /// Where the inputs begin; nil when the text is not that plain.
  private static func plainStart(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
    var start: Int?
    // The first line's end that no backslash precedes ends the rule.
    var isOver = false
    var before = UInt8(ascii: " ")
    for (index, byte) in bytes.enumerated() {
      let next = index + 1 < bytes.count ? bytes[index + 1] : 0x0A
      switch byte {
      case 0x20: if start == nil { return nil }
      case 0x0A:
        if start == nil { return nil }
        if before != UInt8(ascii: "\\") { isOver = true }
      case UInt8(ascii: "\\"):
        guard start != nil, next == 0x0A, before == 0x20 else { return nil }
      case UInt8(ascii: ":"):
        guard start == nil, index > 0, next == 0x20 else { return nil }
        start = index + 1
      case 0x00..<0x20, UInt8(ascii: "$"), UInt8(ascii: "#"), 0x7F...: return nil
      default:
        if isOver { return nil }
        let isFirst = before == 0x20 || before == 0x0A || before == UInt8(ascii: "/")
        // Spellings that have to be folded, or may have to.
        if byte == UInt8(ascii: "/"), before == byte || next == 0x20 || next == 0x0A { return nil }
        if byte == UInt8(ascii: "."), isFirst { return nil }
      }
      before = byte
    }
    return start
  }

  /// Reads one name. - Returns: whether a colon that ends the targets was read with it.
  private static func name(_ bytes: [UInt8], _ index: inout Int) -> ([UInt8], Bool) {
    var name: [UInt8] = []
    func byte(_ i: Int) -> UInt8 { i < bytes.count ? bytes[i] : 0x0A }
    func isBlank(_ c: UInt8) -> Bool { c == 0x20 || c == 0x09 || c == 0x0A || c == 0x0D }
    while index < bytes.count {
      let c = bytes[index]
      if isBlank(c) { break }
      switch c {
      case UInt8(ascii: "\\"):
        var slashes = 0
        while byte(index + slashes) == c { slashes += 1 }
        let next = byte(index + slashes)
        if next == 0x20 {
          // 2N + 1 backslashes and a space are N backslashes and a space of the name.
          if slashes % 2 == 1 {
            name.append(contentsOf: repeatElement(c, count: slashes / 2))
            name.append(0x20)
            index += slashes + 1
          } else {
            name.append(contentsOf: repeatElement(c, count: slashes))
            index += slashes
          }
        } else if next == UInt8(ascii: "#") {
          name.append(contentsOf: repeatElement(c, count: slashes - 1))
          name.append(next)
          index += slashes + 1
        } else if next == UInt8(ascii: ":") {
          let after = byte(index + slashes + 1)
          if isBlank(after) {
            // A name that ends in a backslash, and the colon that ends the targets.
            name.append(contentsOf: repeatElement(c, count: slashes))
            index += slashes
          } else {
            name.append(contentsOf: repeatElement(c, count: slashes - 1))
            name.append(next)
            index += slashes + 1
          }
        } else if next == 0x0A || next == 0x0D {
          name.append(contentsOf: repeatElement(c, count: slashes - 1))
          index += slashes - 1
          return (name, false)
        } else {
          name.append(contentsOf: repeatElement(c, count: slashes))
          index += slashes
        }
      case UInt8(ascii: "$") where byte(index + 1) == c:
        name.append(c)
        index += 2
      case UInt8(ascii: ":") where isBlank(byte(index + 1)):
        index += 1
        return (name, true)
      default:
        name.append(c)
        index += 1
      }
    }
    return (name, false)
  }
}
