// SPDX-License-Identifier: Apache-2.0
// CompilationTests: names of chips.

import Compilation
import Diagnostics
import Testing

@Suite("SoC table")
struct SoCTableTests {
  @Test("a full name gives its row")
  func row() throws {
    let soc = try SoCTable.soc(named: "Ascend310P3")
    #expect(soc.family == "Ascend310P")
    #expect(soc.npuArch == 2002)
    #expect(soc.cores == 8)
    #expect(soc.limitation == nil)
    // 8 cores of 16 × 32 × 16 multiply-adds at 1060 MHz, worked out by hand.
    #expect(abs((soc.peakTeraOperations ?? 0) - 138.9) < 0.1)
  }

  @Test("all names are different and each is found")
  func unique() throws {
    #expect(Set(SoCTable.all.map(\.name)).count == SoCTable.all.count)
    for soc in SoCTable.all { #expect(try SoCTable.soc(named: soc.name) == soc) }
  }

  @Test(
    "a name that no tool takes is answered with the right ones",
    arguments: [
      ("Ascend310P", "Ascend310P3"), ("Ascend310P", "Ascend310P7"), ("310P3", "Ascend310P3"),
      ("310p3", "Ascend310P3"), ("ascend310p3", "Ascend310P3"), ("Ascend310B", "Ascend310B4"),
      ("Ascend910", "Ascend910A"), ("Ascend910_93", "Ascend910_9392"),
      ("Ascend910C", "Ascend910_9392"), ("Ascend710", "Ascend310P3"), ("kirinx90", "KirinX90"),
      ("Ascend310P4", "Ascend310P1"), ("KirinX9", "KirinX90"), ("Ascend950", "toolkit"),
      ("KirinDev", "KirinDev0000"),
    ])
  func refused(typed: String, suggested: String) throws {
    let error = #expect(throws: QuenchError.self) { try SoCTable.soc(named: typed) }
    #expect(error?.kind == .usage)
    #expect(error?.remedy?.contains(suggested) == true, "\(String(describing: error))")
  }

  @Test("the short name Ascend310P is refused with the reason")
  func reason() throws {
    let error = #expect(throws: QuenchError.self) { try SoCTable.soc(named: "Ascend310P") }
    #expect(
      error?.message
        == "\"Ascend310P\" is the short name of the series, which has no platform file: compiling "
        + "fails, and a model must name the chip that it is for")
  }

  @Test("valid names that look wrong are accepted")
  func valid() throws {
    #expect(try SoCTable.soc(named: "Ascend910B").family == "Ascend910")
    #expect(try SoCTable.soc(named: "Ascend910B4-1").family == "Ascend910B")
  }

  @Test("a name that only the installed toolkit knows is accepted")
  func installed() throws {
    let soc = try SoCTable.soc(named: "Ascend950PR_9579", installed: ["Ascend950PR_9579"])
    #expect(soc.npuArch == nil)
  }

  @Test("a Kirin chip says what is missing")
  func kirin() throws {
    let soc = try SoCTable.soc(named: "Kirin9030")
    #expect(soc.limitation?.contains("omg and dopt") == true)
  }
}
