// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench report`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import Finetuning
internal import Measurement
internal import Quantization
internal import Reporting

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Write one HTML page about a model.")

  @OptionGroup var stage: StageOptions
  @Argument(help: "The evaluation.") var evaluation: String
  @Argument(help: "The scales.") var scales: String
  @Argument(help: "The error by layer.") var sensitivity: String
  @Argument(help: "calibration.cfg.") var config: String
  @Argument(help: "The coverage, if it was counted.") var coverage: String?
  @Option(help: "What fine-tuning did, if there was any.") var tuning: String?
  @Option(help: "What training did for the float control, if there is one.") var control: String?
  @Option(help: "The evaluation of the float control.") var controlEvaluation: String?
  @Option(help: "The model's name.") var name: String = "model"
  @Option(name: .shortAndLong, help: "The page.") var output: String

  func run() throws {
    try stage.check("report")
    let page = ReportPage(
      name: name, evaluation: try ArtifactJSON.read(EvaluationReport.self, from: evaluation),
      scales: try ArtifactJSON.read(ScaleTable.self, from: scales),
      sensitivity: try ArtifactJSON.read(SensitivityTable.self, from: sensitivity),
      config: try CalibrationConfig.parse(try FileContent.read(config), path: config),
      coverage: try coverage.map { try ArtifactJSON.read(CoverageTable.self, from: $0) },
      tuning: try tuning.map { path in
        TuningSection(
          report: try ArtifactJSON.read(TrainingReport.self, from: path),
          control: try control.map { try ArtifactJSON.read(TrainingReport.self, from: $0) },
          controlEvaluation: try controlEvaluation.map {
            try ArtifactJSON.read(EvaluationReport.self, from: $0)
          })
      })
    try FileContent.replace(output, with: Array(page.html.utf8))
  }
}
