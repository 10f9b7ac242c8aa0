// SPDX-License-Identifier: Apache-2.0
// Pipeline: what a stage read beyond its declared inputs, in the form that compilers use.

/// Writes depfiles, as make and ninja read them.
public enum DepFileText {
  /// `target: path path …`, each path once, in order.
  public static func rule(_ target: String, dependsOn paths: [String]) -> String {
    var seen: Set<String> = []
    var text = "\(escaped(target)):"
    for path in paths where seen.insert(path).inserted { text += " \\\n  \(escaped(path))" }
    return text + "\n"
  }

  private static func escaped(_ path: String) -> String {
    var text = ""
    for character in path {
      switch character {
      case " ", "#", "\\": text += "\\\(character)"
      case "$": text += "$$"
      default: text.append(character)
      }
    }
    return text
  }
}
