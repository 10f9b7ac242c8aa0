// SPDX-License-Identifier: Apache-2.0
// CompilationTests: the compile stage as a whole.

import Compilation
import Diagnostics
import ONNXModel
import TestSupport
import Testing

@Suite("Compile stage")
struct ModelCompilationTests {
  let space = TemporarySpace()

  private func request(_ compiler: CompilerSetting, _ profile: ATCProfile = .cann) throws
    -> CompilationRequest
  {
    let qdq = space.write("net.qdq.onnx", try TinyModels.model().encode())
    return CompilationRequest(
      qdq: qdq, deploy: space.path("net.deploy.onnx"), float: space.path("folded.onnx"),
      output: space.path("net.om"),
      soc: "Ascend310P3", compiler: compiler, profile: profile,
      calibration: space.path("calibration.cfg"), atcPath: ATCRunTests.fake)
  }

  private var environment: [String: String] {
    ["PATH": "/usr/bin:/bin", "FAKE_ATC_RECORD": space.path("record")]
  }

  @Test("the host compiler writes a host-built file and says so")
  func host() throws {
    let report = try ModelCompilation.run(request(.host), environment: [:])
    #expect(report.compiler == "host")
    #expect(report.warnings.first?.contains("is host-built") == true)
    let file = try OMFile.read(space.path("net.om"))
    #expect(file.isHostBuilt)
    #expect(file.header.name == "net")
    #expect(try OMSummary(file).models[0].outputs.map(\.name) == ["y"])
  }

  @Test("auto runs atc on the deploy model and shows the command first")
  func atc() throws {
    var announced = ""
    let report = try ModelCompilation.run(
      request(.auto), environment: environment, announce: { announced = $0 })
    #expect(report.compiler == "atc")
    #expect(report.reason.contains("atc was found at"))
    #expect(announced.contains("--input_shape=x:1,2,3,3"))
    #expect(announced.contains("--model=\(space.path("net.deploy.onnx"))"))
    #expect(space.text("record")?.contains("--soc_version=Ascend310P3") == true)
  }

  @Test("profile article passes calibration.cfg and a file with the article's inline text")
  func article() throws {
    let report = try ModelCompilation.run(request(.atc, .article), environment: environment)
    #expect(report.warnings.contains { $0.contains("takes an AIPP file") })
    #expect(space.text("net.compression_optimize.cfg") == ATCArguments.articleOptimization)
    let record = space.text("record") ?? ""
    #expect(record.contains("--insert_op_conf=\(space.path("calibration.cfg"))\n"))
    #expect(record.contains("--model=\(space.path("folded.onnx"))\n"))
  }

  @Test("a short SoC name stops the stage before anything runs")
  func soc() throws {
    var request = try request(.auto)
    request.soc = "Ascend310P"
    let error = #expect(throws: QuenchError.self) {
      try ModelCompilation.run(request, environment: environment)
    }
    #expect(error?.kind == .usage)
    #expect(space.read("record") == nil)
  }
}
