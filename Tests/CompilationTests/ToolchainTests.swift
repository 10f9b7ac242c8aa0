// SPDX-License-Identifier: Apache-2.0
// CompilationTests: finding atc, and choosing between the compilers.

import Compilation
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("Toolchain")
struct ToolchainTests {
  let space = TemporarySpace()

  /// A tree with the files of an installed toolkit. Its atc is looked at, never run.
  private func toolkit(_ root: String, at part: String = "bin") -> String {
    space.write(
      "\(root)/version.cfg", "# version: 1.0\ntoolkit_running_version=[7.7.0.1:8.1.RC1]\n")
    space.write("\(root)/x86_64-linux/data/platform_config/Ascend310P3.ini", "")
    space.write("\(root)/aarch64-linux/data/platform_config/Ascend310P3.ini", "")
    let atc = space.write("\(root)/\(part)/atc", "#!/bin/sh\n")
    chmod(atc, 0o755)
    return atc
  }

  private func find(_ environment: [String: String]) -> Toolchain? {
    Toolchain.find(environment: environment, places: [space.path("Ascend")])
  }

  @Test("PATH comes before the toolkit's variables, and those before the usual places")
  func order() {
    let usual = toolkit("Ascend/ascend-toolkit/latest")
    #expect(find([:])?.path == usual)
    let home = toolkit("home", at: "compiler/bin")
    let variables = ["ASCEND_HOME_PATH": space.path("home")]
    #expect(find(variables)?.path == home)
    let path = toolkit("path")
    let both = variables.merging(["PATH": "/nowhere:\(space.path("path/bin"))"]) { $1 }
    #expect(find(both)?.path == path)
    #expect(find(both.merging(["QUENCH_ATC": usual]) { $1 })?.path == usual)
    #expect(Toolchain.find(environment: both, setting: "/nowhere/atc") == nil)
  }

  @Test("the newest of several versions is taken")
  func newest() {
    _ = toolkit("Ascend/cann-8.5.0")
    let new = toolkit("Ascend/cann-9.0.0")
    #expect(find([:])?.path == new)
  }

  @Test("version, version files and platforms are read")
  func version() throws {
    _ = toolkit("Ascend/cann", at: "compiler/bin")
    let found = try #require(find([:]))
    #expect(found.version == "8.1.RC1")
    #expect(found.root.hasSuffix("/Ascend/cann"))
    #expect(found.versionFiles.map { $0.split(separator: "/").last } == ["version.cfg"])
    #expect(found.platforms == ["Ascend310P3"])
  }

  @Test("the toolkit's variables are added where they are not set")
  func environment() throws {
    _ = toolkit("Ascend/cann")
    let found = try #require(find([:]))
    let result = found.environment(adding: ["ASCEND_OPP_PATH": "/own", "PATH": "/usr/bin"])
    #expect(result["ASCEND_OPP_PATH"] == "/own")
    #expect(result["ASCEND_HOME_PATH"] == found.root)
    #expect(result["PATH"] == "\(found.root)/bin:/usr/bin")
  }

  @Test("auto takes atc when it is there and says which")
  func auto() throws {
    _ = toolkit("Ascend/cann")
    let soc = try SoCTable.soc(named: "Ascend310P3")
    let places = [space.path("Ascend")]
    let choice = try CompilerChoice.decide(.auto, for: soc, environment: [:], places: places)
    #expect(choice.reason.contains("CANN 8.1.RC1"))
    guard case .atc = choice else {
      Issue.record("\(choice)")
      return
    }
    let none = try CompilerChoice.decide(.auto, for: soc, environment: [:], places: [])
    #expect(none == .host(reason: "atc was not found"))
    let other = try SoCTable.soc(named: "Ascend910B1")
    let host = try CompilerChoice.decide(.auto, for: other, environment: [:], places: places)
    #expect(host == .host(reason: "atc (CANN 8.1.RC1) has no platform file for Ascend910B1"))
  }

  @Test("atc demanded and not there says what to do")
  func missing() throws {
    let soc = try SoCTable.soc(named: "Ascend310P3")
    let error = #expect(throws: QuenchError.self) {
      try CompilerChoice.decide(.atc, for: soc, environment: [:], places: [])
    }
    #expect(error?.kind == .unavailable)
    #expect(error?.message == "atc was not found")
    #expect(error?.remedy?.contains("--compiler host") == true)
  }

  @Test("a Kirin chip is left to the host compiler")
  func kirin() throws {
    let soc = try SoCTable.soc(named: "KirinX90")
    let choice = try CompilerChoice.decide(.auto, for: soc, environment: [:], places: [])
    #expect(choice.reason.contains("omg and dopt"))
    #expect(throws: QuenchError.self) {
      try CompilerChoice.decide(.atc, for: soc, environment: [:], places: [])
    }
  }
}
