// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Testing

@Suite("Where an error is")
struct PlaceTests {
  private func excerpt(_ text: String, _ column: Int) -> String? {
    Place.line(file: "f", line: 7, column: column, text: text).excerpt
  }

  @Test("the caret stands under the column, behind tabs too")
  func caret() {
    #expect(excerpt("a: b", 4) == "  7 | a: b\n    |    ^")
    #expect(excerpt("\ta: b", 5) == "  7 | \ta: b\n    | \t   ^")
    #expect(excerpt("", 1) == "  7 | \n    | ^")
    #expect(Place.file("f").excerpt == nil)
  }

  @Test(
    "of a long line the part around the fault is shown, and the caret still points at it",
    arguments: [1, 2, 61, 62, 500, 939, 940, 941, 1000, 1001])
  func longLine(column: Int) throws {
    // Every character of the line is another one.
    let line = String(
      String.UnicodeScalarView((0..<1000).compactMap { Unicode.Scalar(0x4E00 + $0) }))
    let lines = try #require(excerpt(line, column)).split(separator: "\n")
    try #require(lines.count == 2)
    #expect(lines[0].count <= 6 + 122)
    let caret = try #require(lines[1].firstIndex(of: "^"))
    let position = lines[1].distance(from: lines[1].startIndex, to: caret)
    let shown = Array(lines[0])
    if column <= 1000 {
      #expect(shown[position] == Array(line)[column - 1])
    } else {
      // Behind the end, where something is missing.
      #expect(position == shown.count)
    }
    #expect(lines[0].hasSuffix("…") == (column < 941))
    #expect(lines[0].contains("| …") == (column > 61))
  }
}
