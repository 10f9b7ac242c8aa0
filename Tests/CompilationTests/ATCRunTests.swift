// SPDX-License-Identifier: Apache-2.0
// CompilationTests: atc driven. The tool is a stand-in (Golden/atc), which says so.

import Compilation
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("atc run")
struct ATCRunTests {
  let space = TemporarySpace()
  static let fake = #filePath.replacing("ATCRunTests.swift", with: "Golden/atc")

  private func run(
    _ mode: String, om: String? = nil, soc: String = "Ascend310P3", output: String? = nil,
    model: String? = nil, onOutput: (ArraySlice<UInt8>) -> Void = { _ in }
  ) throws -> ATCRun.Result {
    let soc = try SoCTable.soc(named: soc)
    var environment = ["PATH": "/usr/bin:/bin", "FAKE_ATC_MODE": mode]
    environment["FAKE_ATC_RECORD"] = space.path("record")
    environment["FAKE_ATC_OM"] = om
    let toolchain = try #require(
      Toolchain.find(environment: environment, setting: ATCRunTests.fake))
    let arguments = ATCArguments.cann(
      model: model ?? space.path("net.deploy.onnx"), output: "net", soc: soc,
      inputs: [("input", [1, 3, 8, 8])])
    return try ATCRun.compile(
      toolchain, arguments, to: output ?? space.path("build/net.om"), for: soc,
      environment: environment, onOutput: onOutput)
  }

  @Test("success puts the file in place and leaves nothing else")
  func success() throws {
    var heard: [UInt8] = []
    let result = try run("success") { heard += $0 }
    #expect(space.text("build/net.om") == "IMOD stand-in")
    #expect(space.read("build/.atc-net/kernel_meta") == nil)
    #expect(access(space.path("build/.atc-net"), F_OK) != 0)
    var status = stat()
    #expect(stat(space.path("build/net.om"), &status) == 0)
    #expect(status.st_mode & 0o777 == 0o644)
    #expect(result.warnings.count == 1)
    #expect(result.warnings[0].hasPrefix("W11001: Op [conv]"))
    #expect(String(decoding: heard, as: UTF8.self).hasPrefix("stand-in for atc"))
    let record = space.text("record")?.split(separator: "\n").map(String.init) ?? []
    #expect(record.first?.hasSuffix("/build/.atc-net") == true)
    #expect(record.count > 1 && record[1].hasSuffix("/opp"))
    #expect(
      Array(record.dropFirst(2)) == [
        "--model=\(space.path("net.deploy.onnx"))", "--framework=5", "--output=net",
        "--soc_version=Ascend310P3", "--input_shape=input:1,3,8,8", "--input_format=NCHW",
        "--output_type=FP32",
      ])
  }

  @Test("relative paths stay relative, seen from the tool's directory")
  func relative() throws {
    let directory = ".build/atc-test-\(getpid())"
    defer {
      unlink("\(directory)/a/net.om")
      rmdir("\(directory)/a")
      rmdir(directory)
    }
    _ = try run("success", output: "\(directory)/a/net.om", model: "models/net.onnx")
    let record = space.text("record") ?? ""
    #expect(record.contains("--model=../../../../models/net.onnx\n"))
    #expect(access("\(directory)/a/net.om", R_OK) == 0)
  }

  @Test("a name with the host's suffix is found")
  func hostSuffix() throws {
    _ = try run("host")
    #expect(space.text("build/net.om") == "IMOD stand-in")
  }

  @Test(
    "a failure is told in the tool's words",
    arguments: [
      ("A", QuenchError.Kind.work, "atc failed (EZ3003): No supported Ops kernel", "1. Check"),
      ("B", .unavailable, "atc failed (EC0010): Failed to import Python module", "pip"),
      ("C", .work, "atc failed (E10001): Value Ascend310P for parameter", "atc --help"),
      ("parse", .work, "atc failed: unknown command line flag 'enable_everything'", ""),
      ("loader", .unavailable, "atc cannot start", "devlib"),
      ("killed", .work, "atc was killed", "TE_PARALLEL_COMPILER"),
      ("nofile", .work, "atc reports success but wrote no \"net.om\"", ""),
      ("silent", .work, "atc failed with exit status 0: ...", ""),
      ("foreign", .work, "what atc wrote is not an OM file", ""),
    ])
  func failure(
    mode: String, kind: QuenchError.Kind, message: String, remedy: String
  ) throws {
    let error = #expect(throws: QuenchError.self) { try run(mode) }
    #expect(error?.kind == kind)
    #expect(error?.message.hasPrefix(message) == true, "\(String(describing: error?.message))")
    #expect(remedy.isEmpty || error?.remedy?.contains(remedy) == true)
    let words = try #require(error?.cause as? ToolOutput)
    #expect(words.text.hasPrefix("stand-in for atc"))
    #expect(words.command.contains("--soc_version=Ascend310P3"))
    #expect(space.read("build/net.om") == nil)
  }

  @Test("an old result stays when compiling fails")
  func old() throws {
    space.write("build/net.om", "old")
    #expect(throws: QuenchError.self) { try run("A") }
    #expect(space.text("build/net.om") == "old")
  }

  @Test("a file compiled for another chip is refused")
  func otherChip() throws {
    let other = try TinyModels.host(soc: "Ascend910B1")
    let om = space.write("other.om", try other.encode())
    let error = #expect(throws: QuenchError.self) { try run("success", om: om) }
    #expect(error?.message == "atc was asked for Ascend310P3 but compiled for Ascend910B1")
  }
}
