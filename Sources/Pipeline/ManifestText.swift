// SPDX-License-Identifier: Apache-2.0
// Pipeline: writing the Ninja language.

internal import Diagnostics

/// The text of a manifest under construction.
struct ManifestText {
  private(set) var text = ""

  mutating func comment(_ line: String) { text += "# \(line)\n" }

  mutating func blank() { text += "\n" }

  mutating func line(_ line: String) { text += line + "\n" }

  mutating func variable(_ name: String, _ value: String) {
    text += "\(name) = \(ManifestText.value(value))\n"
  }

  /// One build statement.
  ///
  /// - Parameters:
  ///   - words: variables that stand in commands, each one word to the shell whatever it holds.
  ///   - variables: variables that stand as they are.
  mutating func build(
    _ outputs: [String], implicitOutputs: [String] = [], rule: String, inputs: [String],
    implicit: [String] = [], orderOnly: [String] = [], words: [(String, String)] = [],
    variables: [(String, String)] = []
  ) throws(QuenchError) {
    text += "build \(try paths(outputs))"
    if !implicitOutputs.isEmpty { text += " | \(try paths(implicitOutputs))" }
    text += ": \(rule)"
    if !inputs.isEmpty { text += " \(try paths(inputs))" }
    if !implicit.isEmpty { text += " | \(try paths(implicit))" }
    if !orderOnly.isEmpty { text += " || \(try paths(orderOnly))" }
    text += "\n"
    for (name, word) in words {
      text += "  \(name) = \(ManifestText.value(ManifestText.shellWord(word)))\n"
    }
    for (name, value) in variables { text += "  \(name) = \(ManifestText.value(value))\n" }
  }

  private func paths(_ list: [String]) throws(QuenchError) -> String {
    var words: [String] = []
    for path in list { words.append(try ManifestText.path(path)) }
    return words.joined(separator: " ")
  }

  /// A path with the language's escapes.
  static func path(_ path: String) throws(QuenchError) -> String {
    // Ninja's language has no escape for these.
    guard !path.isEmpty, !path.contains("|"), path.first != "-",
      !path.utf8.contains(where: { $0 == 10 || $0 == 13 || $0 == 0 })
    else {
      throw QuenchError(
        .data, "the name \"\(path)\" cannot stand in a build", at: .file(path),
        try: "rename it: no \"|\", no line break, no \"-\" at the start")
    }
    var escaped = ""
    for character in path {
      if "$ :".contains(character) { escaped.append("$") }
      escaped.append(character)
    }
    return escaped
  }

  static func value(_ value: String) -> String {
    value.split(separator: "$", omittingEmptySubsequences: false).joined(separator: "$$")
  }

  /// A word as the shell reads it back unchanged; plain words stay as they are.
  static func shellWord(_ word: String) -> String {
    let plain = word.utf8.allSatisfy { byte in
      (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
        || "_-+./,=:@%".utf8.contains(byte)
    }
    if plain, !word.isEmpty { return word }
    return "'"
      + word.split(separator: "'", omittingEmptySubsequences: false)
      .joined(separator: "'\\''") + "'"
  }
}
