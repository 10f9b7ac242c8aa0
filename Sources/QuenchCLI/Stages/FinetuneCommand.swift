// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench finetune`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import Datasets
internal import Diagnostics
internal import Finetuning
internal import Glibc
internal import ONNXModel
internal import Quantization

struct FinetuneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "finetune",
    abstract: "Train against the quantized network; keep PTQ where that gains nothing.")

  @OptionGroup var stage: StageOptions
  @Option(help: "The folded model, with corrected biases if there are: where training starts.")
  var model: String
  @Option(help: "The folded FP32 model, whose outputs are followed.") var teacher: String
  @Option(help: "calibration.cfg.") var config: String
  @Option(help: "The scales.") var scales: String
  @Option(help: ArgumentHelp("The preprocessing steps.", valueName: "json"))
  var preprocess: String
  @Option(help: ArgumentHelp("The samples, one a line.", valueName: "file")) var samples: String
  @Option(help: ArgumentHelp("The keys under finetune:.", valueName: "json")) var settings: String?
  @Option(help: "What to do with an image that cannot be decoded: fail or skip.")
  var onCorrupt: CorruptSamplePolicy = .fail
  @Option(help: "Worker threads; results do not depend on it.")
  var threads: Int = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  @Option(help: "A directory for checkpoints, from which a stopped run continues.")
  var checkpoints: String?
  @Flag(
    help: """
      Train the FP32 model without fake quantization, with the same settings: shows what training \
      alone gains. Needs labels. The scales written are PTQ's for what comes out.
      """)
  var control = false
  @Option(help: "An ONNX model that was trained elsewhere, checked and judged instead of training.")
  var adopt: String?
  @Option(help: "scales.json as that training left it; equal to --scales: it has none of its own.")
  var adoptScales: String?
  @Option(name: .shortAndLong, help: "The tuned model.") var output: String
  @Option(help: "The tuned scales.") var tunedScales: String
  @Option(help: "calibration.cfg with the tuned scales.") var tunedConfig: String
  @Option(help: "What training did and decided.") var report: String
  @Option(help: "The course of training as an SVG picture.") var plot: String

  func validate() throws {
    guard threads > 0 else { throw ValidationError("--threads must be at least 1") }
    if adopt != nil, control { throw ValidationError("--control trains, --adopt does not") }
  }

  func run() throws {
    try stage.check("finetune")
    let ptq = QuantizableNetwork(
      model: try Model.read(start),
      config: try CalibrationConfig.parse(FileContent.read(config), path: config),
      scales: try ArtifactJSON.read(ScaleTable.self, from: scales))
    let result = try adopt.map { try adopted($0, ptq) } ?? train(ptq)
    SkippedSamples.report(result.skipped)
    let verdict = result.report.verdict
    if !verdict.keepsTuned {
      Terminal.warn("\(result.report.startName) is kept: \(verdict.reason)")
    }
    try write(verdict.keepsTuned || adopt == nil ? result.network : nil, result.report)
  }

  /// Where training begins, and what is handed on where it gains nothing: the control knows nothing
  /// of quantization, so its biases are not corrected for it either.
  private var start: String { control ? teacher : model }

  private func options() throws(QuenchError) -> TrainingOptions {
    guard let settings else { return TrainingOptions() }
    return try TrainingOptions.decode(FileContent.read(settings), path: settings)
  }

  private func steps() throws(QuenchError) -> Preprocessing {
    try Preprocessing(json: FileContent.read(preprocess), path: preprocess)
  }

  private func adopted(
    _ path: String, _ ptq: QuantizableNetwork
  ) throws(QuenchError) -> TuningResult {
    let judge = ExternalJudge(
      ptq: ptq, teacher: try Model.read(teacher), samples: try SampleList.read(samples),
      preprocessing: try steps(), policy: onCorrupt, options: try options(),
      optionsPath: settings ?? "--settings", threads: threads)
    return try judge.adopt(path, scales: adoptScales)
  }

  private func train(_ ptq: QuantizableNetwork) throws(QuenchError) -> TuningResult {
    var options = try options()
    if control { options.fakeQuantization = false }
    var tuning = NetworkTuning(
      ptq: ptq, teacher: try Model.read(teacher), samples: try SampleList.read(samples),
      preprocessing: try steps(), policy: onCorrupt, options: options,
      optionsPath: settings ?? "--settings",
      threads: threads, checkpoints: checkpoints.map { CheckpointStore(directory: $0) },
      frozenPart: { [threads] model throws(QuenchError) in
        try FrozenRuntime(model, threads: threads)
      })
    var display = TrainingDisplay()
    defer { display.clear() }
    guard checkpoints != nil else { return try tuning.run { display.show($0) } }
    tuning.isStopping = { StopSignal.hasCome }
    return try tuning.run { event in
      // Before the first step there is nothing to keep: a signal ends the process at once.
      if case .step = event { StopSignal.awaited() }
      display.show(event)
    }
  }

  /// Writes the tuned network, or PTQ's files again, byte for byte.
  private func write(_ tuned: QuantizableNetwork?, _ result: TrainingReport) throws(QuenchError) {
    if let tuned {
      try tuned.model.write(to: output)
      try FileContent.replace(tunedConfig, with: tuned.config.encode())
      try ArtifactJSON.write(tuned.scales, to: tunedScales)
    } else {
      for (from, to) in [(start, output), (config, tunedConfig), (scales, tunedScales)] {
        try FileContent.replace(to, with: try FileContent.read(from))
      }
    }
    try ArtifactJSON.write(result, to: report)
    try FileContent.replace(plot, with: Array(TrainingPlot.svg(result).utf8))
  }
}
