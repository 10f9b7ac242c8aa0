// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench gate`.

internal import ArgumentParser
internal import Artifacts
internal import Measurement

struct GateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gate", abstract: "Fail when quantization cost more than is allowed.")

  @OptionGroup var stage: StageOptions
  @Argument(help: "The figures of quench evaluate.") var evaluation: String
  @Option(help: "Largest drop of the metric, in percentage points.") var maxDrop: Double?
  @Option(name: .shortAndLong, help: "Written when the check passes.") var output: String

  func run() throws {
    try stage.check("gate")
    let report = try ArtifactJSON.read(EvaluationReport.self, from: evaluation)
    if let maxDrop { try report.check(maxDrop: maxDrop, path: evaluation) }
    let limit = maxDrop.map { "a drop of at most \($0) points" } ?? "no limit is set"
    try FileContent.replace(output, with: Array("passed: \(limit)\n".utf8))
  }
}
