// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Testing

@Suite("Nearest name")
struct NearestNameTests {
  @Test(
    "a slip of the finger finds the name that was meant",
    arguments: [
      ("biuld", "build"), ("buid", "build"), ("buildd", "build"), ("spilt", "split"),
      ("Ascend310p3", "Ascend310P3"),
    ])
  func slips(typed: String, meant: String) {
    #expect(NearestName.of(typed, among: ["build", "watch", "split", "Ascend310P3"]) == meant)
  }

  @Test("another word finds nothing", arguments: ["release", "x", ""])
  func others(typed: String) {
    #expect(NearestName.of(typed, among: ["build", "watch", "status"]) == nil)
  }

  @Test("of equally near names the first in order is taken, whatever the order of asking")
  func ties() {
    #expect(NearestName.of("cat", among: ["hat", "bat"]) == "bat")
    #expect(NearestName.of("cat", among: ["bat", "hat"]) == "bat")
  }
}

@Suite("Errors as people read them")
struct QuenchErrorTests {
  @Test("what, where with a caret, and what to do")
  func layout() {
    let error = QuenchError(
      .data, "unknown key \"pat\"",
      at: .line(file: "quench.yaml", line: 12, column: 3, text: "  pat: x"), try: "path: x")
    #expect(
      "\(error)" == """
        unknown key "pat"
           at  quench.yaml:12:3
          12 |   pat: x
             |   ^
          try  path: x
        """)
  }

  @Test("the kind alone decides the exit code")
  func codes() {
    let codes = QuenchError.Kind.allCases.map(\.exitCode)
    #expect(codes == [1, 2, 64, 65, 66, 69, 70, 130])
  }

  @Test("a place that is known already is kept")
  func places() {
    let error = QuenchError(.data, "bad", at: .tensor("t")).located(at: .file("f"))
    #expect(error.place == .tensor("t"))
  }
}
