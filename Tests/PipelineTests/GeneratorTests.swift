// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Pipeline

@Suite("The generated manifest")
struct ManifestTextTests {
  @Test("paths and values are escaped as Ninja reads them back")
  func escapes() throws {
    var manifest = ManifestText()
    try manifest.build(
      ["out dir/a:b"], rule: "r", inputs: ["$x"], variables: [("v", "cost $5")])
    #expect(manifest.text == "build out$ dir/a$:b: r $$x\n  v = cost $$5\n")
  }

  @Test("a path with a line break is refused")
  func lineBreak() {
    #expect(throws: (any Error).self) { try ManifestText.path("a\nb") }
  }

  @Test("words are quoted for the shell only where needed")
  func quoting() {
    #expect(ManifestText.shellWord("input=1x3") == "input=1x3")
    #expect(ManifestText.shellWord("it's") == "'it'\\''s'")
    #expect(ManifestText.shellWord("") == "''")
  }
}
