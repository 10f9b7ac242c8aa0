// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: aligned columns.

/// A table of texts: the first column flush left, the others flush right, two spaces between.
struct Table {
  var head: [String]
  var rows: [[String]] = []

  /// The lines, head first.
  var text: String {
    let all = [head] + rows
    var widths = [Int](repeating: 0, count: head.count)
    for row in all {
      for (column, cell) in row.enumerated() where column < widths.count {
        widths[column] = max(widths[column], cell.count)
      }
    }
    return all.map { row in
      var line = ""
      for (column, cell) in row.enumerated() where column < widths.count {
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        line += (column == 0 ? "" : "  ") + (column == 0 ? cell + padding : padding + cell)
      }
      while line.hasSuffix(" ") { line.removeLast() }
      return line
    }.joined(separator: "\n")
  }
}
