// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench inspect`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import Compilation
internal import Diagnostics
internal import Measurement

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show what is in an OM file, observations, scales or an evaluation.")

  @Argument(help: "An .om, .qobs or .json file.") var file: String
  @Flag(help: "List the operators of an OM file.") var operators = false
  @Flag(help: "Machine-readable output (OM files).") var json = false

  func run() throws {
    if file.hasSuffix(".om") {
      let summary = try OMSummary(try OMFile.read(file))
      if json {
        Terminal.write(1, try ArtifactJSON.encodePlain(summary))
      } else {
        Terminal.print(summary.text(listsOperators: operators))
      }
    } else if file.hasSuffix(".qobs") {
      Terminal.print(InspectCommand.text(of: try Observations.read(file)))
    } else {
      switch try ArtifactJSON.format(of: file) {
      case EvaluationReport.format:
        Terminal.print(try ArtifactJSON.read(EvaluationReport.self, from: file).table)
      case ScaleTable.format:
        Terminal.print(
          InspectCommand.text(of: try ArtifactJSON.read(ScaleTable.self, from: file)))
      default:
        throw QuenchError(
          .data, "this is no file that quench inspect knows", at: .file(file),
          try: "an .om file, a .qobs file, scales.json or evaluation.json")
      }
    }
  }

  private static func text(of observations: Observations) -> String {
    var table = Table(head: ["tensor", "min", "max", "values", "zeros"])
    for (name, histogram) in observations.tensors.sorted(by: { $0.key < $1.key }) {
      table.rows.append([
        name, "\(histogram.min)", "\(histogram.max)", "\(histogram.count)", "\(histogram.zeros)",
      ])
    }
    return "\(observations.samples) samples, model \(observations.model.prefix(12))\n\(table.text)"
  }

  private static func text(of scales: ScaleTable) -> String {
    var table = Table(head: ["tensor", "min", "max", "scale", "zero point", "clipped"])
    for (name, scale) in scales.tensors.sorted(by: { $0.key < $1.key }) {
      table.rows.append([
        name, "\(scale.min)", "\(scale.max)", "\(scale.scale)", "\(scale.zeroPoint)",
        "\(scale.clipped)",
      ])
    }
    return "method \(scales.method)\n\(table.text)"
  }
}
