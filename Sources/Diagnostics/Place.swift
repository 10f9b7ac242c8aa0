// SPDX-License-Identifier: Apache-2.0
// Diagnostics: where an error is.

/// Where something is wrong, as exactly as is known.
public enum Place: Sendable, Equatable, CustomStringConvertible {
  /// A file as a whole.
  case file(String)
  /// A line and column (both from 1) of a text file, with that line's text for the caret.
  case line(file: String, line: Int, column: Int, text: String)
  /// A tensor of the model.
  case tensor(String)
  /// A node (layer) of the model.
  case node(String)
  /// An edge of the build graph, by its first output.
  case edge(String)
  /// An option of the command line, or a key of `quench.yaml`.
  case option(String)

  /// The place in words.
  public var description: String {
    switch self {
    case .file(let path): path
    case .line(let file, let line, let column, _): "\(file):\(line):\(column)"
    case .tensor(let name): "tensor \"\(name)\""
    case .node(let name): "node \"\(name)\""
    case .edge(let output): "edge \"\(output)\""
    case .option(let name): "option \(name)"
    }
  }

  /// Characters of a source line that are shown: a generated one may have thousands.
  private static let excerptWidth = 120

  /// The source line with a caret under the fault, where a line is known; of a long line, the part
  /// around the fault.
  public var excerpt: String? {
    guard case .line(_, let line, var column, var text) = self else { return nil }
    let number = "\(line)"
    let width = Place.excerptWidth
    if text.count > width {
      let start = min(max(0, column - 1 - width / 2), text.count - width)
      let end = start + width < text.count ? "…" : ""
      text = (start > 0 ? "…" : "") + text.dropFirst(start).prefix(width) + end
      column -= start > 0 ? start - 1 : 0
    }
    // Tabs are kept so that the caret stands under the same column whatever their width.
    let lead = String(text.prefix(max(0, column - 1)).map { $0 == "\t" ? "\t" : " " })
    let margin = String(repeating: " ", count: number.count)
    return "  \(number) | \(text)\n  \(margin) | \(lead)^"
  }
}
