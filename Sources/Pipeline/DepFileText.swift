// SPDX-License-Identifier: Apache-2.0
// Pipeline: what a stage read beyond its declared inputs, in the form that compilers use.

public import Diagnostics

/// Writes depfiles so that the engine (and ninja) read back the very names.
public enum DepFileText {
  /// `target: path path …`, each path once, in order.
  ///
  /// - Throws: `.data` for a name that the format cannot hold: one that ends in ":" or "\\", or with
  ///   a tab or line break.
  public static func rule(
    _ target: String, dependsOn paths: [String]
  ) throws(QuenchError) -> String {
    var seen: Set<String> = []
    var text = "\(try escaped(target)):"
    for path in paths where seen.insert(path).inserted { text += " \\\n  \(try escaped(path))" }
    return text + "\n"
  }

  /// The rules of gcc's depfiles: a space takes twice the backslashes before it and one more, "#" and
  /// ":" one more than stand before them; all other backslashes stand for themselves.
  private static func escaped(_ path: String) throws(QuenchError) -> String {
    guard !path.utf8.contains(where: { $0 == 9 || $0 == 10 || $0 == 13 }), path.last != ":",
      path.last != "\\"
    else {
      throw QuenchError(
        .data, "the name \"\(path)\" cannot be tracked", at: .file(path),
        try: "rename it: no tab, no line break, no \":\" or \"\\\" at the end")
    }
    var text = ""
    var slashes = 0
    for character in path {
      switch character {
      case "\\": slashes += 1
      case " ":
        text += String(repeating: "\\", count: 2 * slashes + 1) + " "
        slashes = 0
      case "#":
        text += String(repeating: "\\", count: slashes + 1) + "#"
        slashes = 0
      case ":":
        text += String(repeating: "\\", count: slashes > 0 ? slashes + 1 : 0) + ":"
        slashes = 0
      default:
        text += String(repeating: "\\", count: slashes) + (character == "$" ? "$$" : "\(character)")
        slashes = 0
      }
    }
    return text
  }
}
