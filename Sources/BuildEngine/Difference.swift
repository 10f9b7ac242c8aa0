// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the first difference between two keys, or two texts, in words that a person needs.

internal import Glibc

/// Names what differs between an edge's record and its state now.
struct Difference {
  let log: TraceLog

  /// The first difference, in the order of the fields; the two are known not to be equal.
  func first(from old: FieldValues, to new: FieldValues) -> Reason {
    if old.command != new.command {
      let (a, b) = Difference.words(text(old.command), text(new.command))
      return .commandChanged(old: a, new: b)
    }
    if old.responseFile?.path != new.responseFile?.path
      || old.responseFile?.content != new.responseFile?.content
    {
      let before = old.responseFile.map { text($0.path) + ": " + text($0.content) } ?? "none"
      let after = new.responseFile.map { text($0.path) + ": " + text($0.content) } ?? "none"
      let (a, b) = Difference.words(before, after)
      return .responseFileChanged(old: a, new: b)
    }
    for entry in new.environment {
      let before = old.environment.first { $0.name == entry.name }
      if before == nil || before?.value != entry.value {
        return .environmentChanged(
          name: text(entry.name), old: before?.value.map(text), new: entry.value.map(text))
      }
    }
    if old.environment.count != new.environment.count {
      return .environmentChanged(
        name: old.environment.map { text($0.name) }.joined(separator: " "), old: nil, new: nil)
    }
    if old.outputs != new.outputs { return .outputListChanged }
    if let reason = inputs(old.inputs, new.inputs) { return reason }
    for (before, after) in zip(old.tools, new.tools)
    where before.content != after.content || before.word != after.word {
      return .toolChanged(path(after.content))
    }
    for (before, after) in zip(old.named, new.named) where before != after {
      return .toolChanged(path(after))
    }
    for (before, after) in zip(old.discovered, new.discovered) where before != after {
      return .discoveredChanged(path(after), line: line(before, after))
    }
    return .inputsReordered
  }

  private func inputs(_ old: [Int32], _ new: [Int32]) -> Reason? {
    guard old != new else { return nil }
    let oldNodes = old.map { log.node(ofContent: $0) }
    let newNodes = new.map { log.node(ofContent: $0) }
    if oldNodes == newNodes {
      for (before, after) in zip(old, new) where before != after {
        return .inputChanged(path(after), line: line(before, after))
      }
    }
    let had = Set(oldNodes)
    for (index, node) in newNodes.enumerated() where !had.contains(node) {
      return .inputAdded(path(new[index]))
    }
    let has = Set(newNodes)
    for (index, node) in oldNodes.enumerated() where !has.contains(node) {
      return .inputRemoved(path(old[index]))
    }
    return .inputsReordered
  }

  private func path(_ content: Int32) -> String {
    log.node(ofContent: content).map { log.paths.string($0) } ?? "an alias"
  }

  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  /// The first line that differs between two contents whose texts were kept.
  func line(_ old: Int32, _ new: Int32) -> LineChange? {
    guard let before = log.text(old), let after = log.text(new) else { return nil }
    return Difference.lines(before, after).first
  }
}

// MARK: - Texts

extension Difference {
  /// The differing middle of two command lines, at word borders, each cut to 160 characters.
  static func words(_ old: String, _ new: String) -> (String, String) {
    let a = old.split(separator: " ", omittingEmptySubsequences: false)
    let b = new.split(separator: " ", omittingEmptySubsequences: false)
    var head = 0
    while head < min(a.count, b.count), a[head] == b[head] { head += 1 }
    var tail = 0
    while tail < min(a.count, b.count) - head, a[a.count - 1 - tail] == b[b.count - 1 - tail] {
      tail += 1
    }
    // The option's name belongs to its value.
    if head > 0, a[head - 1].hasPrefix("-") { head -= 1 }
    func part(_ words: [Substring]) -> String {
      let text = words[head..<(words.count - tail)].joined(separator: " ")
      if text.isEmpty { return "(nothing)" }
      return text.count > 160 ? String(text.prefix(157)) + "..." : text
    }
    return (part(a), part(b))
  }

  /// Lines that differ, in the order of the new text; at most 1,000.
  static func lines(_ old: [UInt8], _ new: [UInt8]) -> [LineChange] {
    let a = old.split(separator: 0x0A, omittingEmptySubsequences: false)
    let b = new.split(separator: 0x0A, omittingEmptySubsequences: false)
    var head = 0
    while head < min(a.count, b.count), a[head] == b[head] { head += 1 }
    var tail = 0
    while tail < min(a.count, b.count) - head, a[a.count - 1 - tail] == b[b.count - 1 - tail] {
      tail += 1
    }
    let middleA = Array(a[head..<(a.count - tail)])
    let middleB = Array(b[head..<(b.count - tail)])
    let pairs = common(middleA, middleB)
    var changes: [LineChange] = []
    var i = 0
    var j = 0
    for pair in pairs + [(middleA.count, middleB.count)] {
      while (i < pair.0 || j < pair.1) && changes.count < 1_000 {
        let before = i < pair.0 ? String(decoding: middleA[i], as: UTF8.self) : nil
        let after = j < pair.1 ? String(decoding: middleB[j], as: UTF8.self) : nil
        changes.append(change(head + j + 1, before, after))
        if before != nil { i += 1 }
        if after != nil { j += 1 }
      }
      i = pair.0 + 1
      j = pair.1 + 1
    }
    return changes
  }

  private static func change(_ line: Int, _ old: String?, _ new: String?) -> LineChange {
    guard let old, let new else {
      return LineChange(line: line, old: clip(old ?? ""), new: clip(new ?? ""))
    }
    let (a, b) = fields(old, new)
    return LineChange(line: line, old: clip(a), new: clip(b))
  }

  /// The differing middle of two lines, widened to whole fields between separators.
  private static func fields(_ old: String, _ new: String) -> (String, String) {
    let separators = Array(":, \t=\"")
    let a = Array(old)
    let b = Array(new)
    var head = 0
    while head < min(a.count, b.count), a[head] == b[head] { head += 1 }
    while head > 0, !separators.contains(a[head - 1]) { head -= 1 }
    var tail = 0
    while tail < min(a.count, b.count) - head, a[a.count - 1 - tail] == b[b.count - 1 - tail] {
      tail += 1
    }
    while tail > 0, !separators.contains(a[a.count - tail]) { tail -= 1 }
    let left = String(a[head..<(a.count - tail)])
    let right = String(b[head..<(b.count - tail)])
    return left.isEmpty || right.isEmpty ? (old, new) : (left, right)
  }

  private static func clip(_ text: String) -> String {
    text.count > 100 ? String(text.prefix(97)) + "..." : text
  }

  /// Pairs of equal lines of a longest common subsequence; none when the texts are too long.
  private static func common(_ a: [ArraySlice<UInt8>], _ b: [ArraySlice<UInt8>]) -> [(Int, Int)] {
    guard !a.isEmpty, !b.isEmpty, a.count * b.count <= 1_000_000 else { return [] }
    let width = b.count + 1
    var length = [Int32](repeating: 0, count: (a.count + 1) * width)
    for i in stride(from: a.count - 1, through: 0, by: -1) {
      for j in stride(from: b.count - 1, through: 0, by: -1) {
        length[i * width + j] =
          a[i] == b[j]
          ? length[(i + 1) * width + j + 1] + 1
          : max(length[(i + 1) * width + j], length[i * width + j + 1])
      }
    }
    var pairs: [(Int, Int)] = []
    var i = 0
    var j = 0
    while i < a.count, j < b.count {
      if a[i] == b[j] {
        pairs.append((i, j))
        i += 1
        j += 1
      } else if length[(i + 1) * width + j] >= length[i * width + j + 1] {
        i += 1
      } else {
        j += 1
      }
    }
    return pairs
  }
}
