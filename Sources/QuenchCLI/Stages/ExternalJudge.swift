// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: a network that the user's own command trained: checked, quantized, and judged in ONNX
// Runtime, which runs what our own training cannot.

internal import Artifacts
internal import Calibration
internal import Datasets
internal import Diagnostics
internal import Finetuning
internal import Measurement
internal import ONNXModel
internal import Quantization

struct ExternalJudge {
  var ptq: QuantizableNetwork
  var teacher: Model
  var samples: [Sample]
  var preprocessing: Preprocessing
  var policy: CorruptSamplePolicy
  var options: TrainingOptions
  var optionsPath: String
  var threads: Int

  /// Takes the model, if it beats PTQ on the samples that its training was not given.
  func adopt(_ path: String, scales: String?) throws(QuenchError) -> TuningResult {
    let own = try scales.map { path throws(QuenchError) in
      try ArtifactJSON.read(ScaleTable.self, from: path)
    }
    let network = try ExternalResult.adopt(
      try Model.read(path), path: path, scales: own, scalesPath: scales ?? "", for: ptq)
    var options = options
    let isLabelled = samples.allSatisfy { $0.label != nil }
    // Labels are what such a command mostly trains on: then they judge.
    options.loss = options.loss ?? (isLabelled ? "crossEntropy" : "distillation")
    let settings = try options.settings(isLabelled: isLabelled, path: optionsPath)
    if settings.loss.needsLabels, let bare = samples.first(where: { $0.label == nil }) {
      throw QuenchError(
        .data, "the loss needs labels, and this sample has none", at: .file(bare.name),
        try: "labels: in the data, or finetune: {loss: distillation}")
    }
    let held = HeldBackPart.indices(of: samples, share: settings.heldBackShare)
    let judging = held.map { samples[$0] }
    let logits =
      judging.isEmpty
      ? nil
      : try NetworkLogits.compute(
        reference: teacher,
        others: [
          ("the network of PTQ", try Self.quantized(ptq)),
          ("the trained network", try Self.quantized(network)),
        ], samples: judging, preprocessing: preprocessing, policy: policy, threads: threads,
        progress: StageProgress.report)
    let answers = logits.map { ($0.logits[0], $0.logits[1], $0.logits[2]) }
    let report = try ExternalResult.judge(
      answers: answers ?? (judging.isEmpty ? ([], [], []) : nil), classes: logits?.classes ?? 1,
      labels: logits?.samples.map(\.label) ?? [], trained: samples.count - held.count,
      loss: settings.loss)
    return TuningResult(network: network, report: report, skipped: logits?.skipped ?? [])
  }

  private static func quantized(_ network: QuantizableNetwork) throws(QuenchError) -> Model {
    try QuantizedModel.resolve(network.model, config: network.config, scales: network.scales).qdq()
  }
}
