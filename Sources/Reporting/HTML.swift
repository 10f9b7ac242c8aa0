// SPDX-License-Identifier: Apache-2.0
// Reporting: text to HTML.

/// A piece of HTML. Plain text enters only through `text`, so nothing is left unescaped.
struct HTML {
  var source: String

  /// Markup as it stands.
  static func raw(_ source: String) -> HTML { HTML(source: source) }

  /// Text with the characters that mean something in HTML replaced.
  static func text(_ text: String) -> HTML {
    var escaped = ""
    for character in text {
      switch character {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case "\"": escaped += "&quot;"
      default: escaped.append(character)
      }
    }
    return HTML(source: escaped)
  }

  /// An element around content.
  static func element(_ name: String, _ attributes: String = "", _ content: [HTML]) -> HTML {
    let space = attributes.isEmpty ? "" : " "
    return HTML(
      source: "<\(name)\(space)\(attributes)>" + content.map(\.source).joined() + "</\(name)>")
  }

  /// A table; cells of all columns but the first stand flush right.
  static func table(head: [String], rows: [[HTML]]) -> HTML {
    let first = head.map { HTML.element("th", [.text($0)]) }
    let body = rows.map { row in HTML.element("tr", row.map { HTML.element("td", [$0]) }) }
    return .element(
      "table", [.element("thead", [.element("tr", first)]), .element("tbody", body)])
  }

  static func element(_ name: String, _ content: [HTML]) -> HTML { element(name, "", content) }
}
