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

  @Test("a path that the language cannot hold is refused", arguments: ["a\nb", "a|b", "-a", ""])
  func impossible(path: String) {
    #expect(throws: (any Error).self) { try ManifestText.path(path) }
  }

  @Test("a depfile names what it can name, and refuses the rest")
  func depfiles() throws {
    #expect(
      try DepFileText.rule("out", dependsOn: ["a b", "c\\d", "e:f", "g\\ h", "a b"])
        == "out: \\\n  a\\ b \\\n  c\\d \\\n  e:f \\\n  g\\\\\\ h\n")
    for name in ["tab\tname", "colon:", "slash\\"] {
      #expect(throws: (any Error).self) { try DepFileText.rule("out", dependsOn: [name]) }
    }
  }

  @Test("words are quoted for the shell only where needed")
  func quoting() {
    #expect(ManifestText.shellWord("input=1x3") == "input=1x3")
    #expect(ManifestText.shellWord("it's") == "'it'\\''s'")
    #expect(ManifestText.shellWord("") == "''")
  }
}
