// SPDX-License-Identifier: Apache-2.0
// Measurement: numbers and columns in plain text.

/// Numbers and columns in plain text, the same in every locale.
enum FixedText {
  /// A finite number with a fixed count of decimals, halves to even.
  static func number(_ value: Double, _ decimals: Int) -> String {
    var power = 1.0
    for _ in 0..<decimals { power *= 10 }
    let scaled = (value.magnitude * power).rounded(.toNearestOrEven)
    guard scaled < 1e15 else { return "\(value)" }
    let digits = String(Int(scaled))
    let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard decimals > 0 else { return sign + padded }
    return "\(sign)\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
  }

  /// The same with a plus sign for gains.
  static func signed(_ value: Double, _ decimals: Int) -> String {
    let text = number(value, decimals)
    return value > 0 ? "+\(text)" : text
  }

  /// A size in the unit that people read.
  static func bytes(_ count: Int) -> String {
    if count < 1000 { return "\(count) B" }
    if count < 1_000_000 { return "\(number(Double(count) / 1e3, 1)) kB" }
    return "\(number(Double(count) / 1e6, 2)) MB"
  }

  /// Lines of aligned columns: the first and the last to the left, those between to the right.
  static func columns(_ rows: [[String]], leftAligned: Bool = false) -> [String] {
    let count = rows.map(\.count).max() ?? 0
    let widths = (0..<count).map { column in
      rows.map { $0.indices.contains(column) ? $0[column].count : 0 }.max() ?? 0
    }
    return rows.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        let space = String(repeating: " ", count: widths[column] - cell.count)
        let isLast = column == count - 1
        let isLeft = leftAligned || column == 0 || isLast
        line += (column > 0 ? "  " : "") + (isLeft ? cell + (isLast ? "" : space) : space + cell)
      }
      while line.last == " " { line.removeLast() }
      return line
    }
  }
}
