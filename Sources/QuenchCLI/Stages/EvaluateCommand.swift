// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench evaluate`.

internal import ArgumentParser
internal import Artifacts
internal import Diagnostics
internal import Measurement
internal import ONNXModel
internal import Pipeline

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Compare the quantized network with the FP32 one.",
    discussion: """
      INT8 layers sum up integer codes, exactly, and scale the sums: their figures depend neither \
      on the processor nor on the runtime's order of summation. Layers of other tools' models that \
      keep a float bias, and all other operators, run as the model has them.
      """)

  @OptionGroup var stage: StageOptions
  @Option(help: "The folded FP32 model.") var model: String
  @Option(help: "The model as you have it, whose size is compared.") var original: String?
  @Option(help: "Names the files of that model's external data, as make reads it.")
  var depfile: String?
  @Option(help: "The OM file or QDQ model to judge.") var candidate: String
  @Option(help: "The QDQ model that stands in for an OM file which only a device can run.")
  var qdq: String?
  @Option(help: "calibration.cfg, for the counts of layers.") var config: String?
  @Option(help: "The evaluation of the network without training, to show beside this one.")
  var ptq: String?
  @OptionGroup var data: SampleOptions
  @Flag(help: "The samples are the calibration samples; the figures say so.")
  var calibrationSamples = false
  @Option(help: "top1 or top5.") var metric: String = "top1"
  @Option(name: .shortAndLong, help: "The figures.") var output: String

  func run() throws {
    try stage.check("evaluate")
    var report = try Evaluation.evaluate(
      reference: model, originalBytes: try originalSize(), candidate: candidate, standIn: qdq,
      config: config,
      samples: try data.list(), preprocessing: try data.steps(), metric: metric,
      policy: data.onCorrupt, threads: data.threads, progress: StageProgress.report)
    report.onCalibrationSamples = calibrationSamples
    if let ptq { try report.show(beside: ArtifactJSON.read(EvaluationReport.self, from: ptq)) }
    try ArtifactJSON.write(report, to: output)
  }

  /// The size of the user's model with the files that hold its weights; writes the depfile.
  private func originalSize() throws(QuenchError) -> Int? {
    guard let original else { return nil }
    let external = try Model.read(original).externalDataFiles
    if let depfile {
      let rule = try DepFileText.rule(output, dependsOn: external)
      try FileContent.replace(depfile, with: Array(rule.utf8))
    }
    var size = try FileContent.size(original)
    for path in external { size += try FileContent.size(path) }
    return size
  }
}
