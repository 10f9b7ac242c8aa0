// SPDX-License-Identifier: Apache-2.0
// Measurement: the float model against the quantised one.

internal import Artifacts
internal import Calibration
internal import Compilation
public import Datasets
public import Diagnostics
internal import ONNXModel
internal import ONNXRuntime
internal import Quantization
internal import Tensors

/// Runs the float model and a candidate over the same samples and compares what comes out.
///
/// A QDQ model runs in the form that sums codes (`Model.summingCodes`), at optimization level 0: its
/// INT8 layers give what 32-bit accumulation gives, whatever processor and runtime make of floats.
public enum Evaluation {
  /// Evaluates.
  ///
  /// - Parameters:
  ///   - reference: path of the folded float model.
  ///   - originalBytes: size of the model as the user has it, which the candidate's is held
  ///     against; nil: the folded one's.
  ///   - candidate: path of a QDQ model or of an OM.
  ///   - standIn: path of the QDQ model that is run when `candidate` is an OM that only a device can
  ///     run; the report says so.
  ///   - config: path of the calibration.cfg that the candidate was made with, for the layers that
  ///     stayed FP16.
  ///   - samples: what to run; those with a label count for top-1 and top-5.
  ///   - preprocessing: turns a picture into the model's input.
  ///   - metric: `top1` or `top5`: what `drop` is about.
  ///   - policy: what to do with a sample that cannot be decoded.
  ///   - threads: model runs side by side; nil: as many as processors. No figure depends on it.
  ///   - progress: called after each sample.
  /// - Throws: `.data` when the two models do not fit each other or a label is outside the
  ///   classes; `.unavailable` for an OM that only a device can run, or without ONNX Runtime.
  public static func evaluate(
    reference: String, originalBytes: Int? = nil, candidate path: String, standIn: String? = nil,
    config: String? = nil,
    samples: [Sample], preprocessing: Preprocessing, metric: String = "top1",
    policy: CorruptSamplePolicy = .fail, threads: Int? = nil,
    progress: @escaping Progress = { _, _ in }
  ) throws(QuenchError) -> EvaluationReport {
    guard let metric = EvaluationReport.Metric(rawValue: metric) else {
      throw QuenchError(
        .usage, "there is no metric \"\(metric)\"", at: .option("metric"), try: "top1 or top5")
    }
    let bytes = try FileContent.read(reference)
    let float = try SampledNetwork(Model.decode(bytes, path: reference))
    let candidate = try Candidate.read(path, standIn: standIn)
    let quantized = try SampledNetwork(candidate.model.summingCodes())
    let plan = try ComparisonPlan(reference: float.model, candidate: quantized.model)
    let floatSession = try float.session(computing: plan.referenceTensors)
    let quantizedSession = try quantized.session(computing: plan.candidateTensors)

    let pass = SamplePass(
      samples, preprocessing, policy: policy, threads: threads, progress: progress)
    let start = EvaluationTotals(tensors: plan.referenceTensors.count)
    let (totals, skipped) = try pass.run(into: start) {
      _, sample, tensor throws(QuenchError) -> SampleComparison in
      try float.check(tensor, of: sample)
      let y = try floatSession.run([float.input: tensor], outputs: plan.referenceTensors)
      // Borrowed from here on: both models' outputs live only while they are compared.
      return try quantizedSession.run(
        [quantized.input: tensor], outputs: plan.candidateTensors
      ) { lent throws(QuenchError) in
        var comparison = SampleComparison()
        for index in y.indices {
          let (_, shape) = try lent.type(index)
          guard shape == y[index].shape else {
            throw QuenchError(
              .data,
              "output \"\(plan.candidateTensors[index])\" of the candidate has shape \(shape), "
                + "the float model's is \(y[index].shape)")
          }
          try y[index].lendFloats { exact throws(QuenchError) in
            try lent.withFloats(index) { approximate throws(QuenchError) in
              var sums = ErrorAccumulator()
              sums.add(reference: exact, candidate: approximate)
              try sums.requireFinite(tensor: plan.outputs[index], sample: sample)
              comparison.tensors.append(sums)
              if index == plan.classIndex {
                comparison.centered.add(
                  reference: SampleComparison.centered(exact),
                  candidate: SampleComparison.centered(approximate))
                comparison.classes = try ClassComparison(exact, approximate, sample: sample)
              }
            }
          }
        }
        return comparison
      }
    } fold: { totals, _, comparison in
      totals.add(comparison)
    }
    var report = EvaluationReport(
      candidate: candidate.kind, runtime: "ONNX Runtime \(try RuntimeLibrary.load().version)",
      metric: metric, samples: totals.samples, skipped: skipped.count,
      fp32Bytes: originalBytes ?? bytes.count, candidateBytes: candidate.sizeInBytes)
    totals.fill(&report, plan: plan)
    if let config {
      let entries = try CalibrationConfig.parse(FileContent.read(config), path: config).entries
      let layers = entries.filter { !$0.isFallback && $0.opType != .input }
      report.fp16Layers = layers.filter { $0.value == .fp16 }.map(\.name)
      report.int8Layers = layers.count {
        if case .scalar = $0.value { true } else { false }
      }
    }
    return report
  }
}

/// Which tensors of the two models are held side by side.
struct ComparisonPlan: Sendable {
  /// Float32 outputs of the float model; where a Softmax makes one, what it reads (the logits).
  let referenceTensors: [String]
  /// Their counterparts.
  let candidateTensors: [String]
  /// The names of the model's outputs, one for each pair.
  let outputs: [String]
  /// Which pair holds one number a class, `[1, classes]`; nil when the model is no classifier.
  let classIndex: Int?

  init(reference: Model, candidate: Model) throws(QuenchError) {
    let theirs = candidate.graph.outputs.map(\.name)
    let ours = reference.graph.outputs.map(\.name)
    guard theirs.count == ours.count else {
      throw QuenchError(
        .data, "the float model has \(ours.count) outputs, the candidate \(theirs.count)",
        try: "evaluate a candidate that was made from this model")
    }
    var pairs: [(output: String, reference: String, candidate: String)] = []
    for (position, output) in reference.graph.outputs.enumerated()
    where output.elementType == .float32 {
      // By name where the candidate kept the names, else by position.
      let counterpart = theirs.contains(output.name) ? output.name : theirs[position]
      let logits = ComparisonPlan.logits(of: output.name, in: reference)
      let theirLogits = ComparisonPlan.logits(of: counterpart, in: candidate)
      if let logits, let theirLogits {
        pairs.append((output.name, logits, theirLogits))
      } else {
        pairs.append((output.name, output.name, counterpart))
      }
    }
    guard !pairs.isEmpty else {
      throw QuenchError(.data, "the model has no float32 output to compare")
    }
    referenceTensors = pairs.map(\.reference)
    candidateTensors = pairs.map(\.candidate)
    outputs = pairs.map(\.output)
    let shape = reference.graph.outputs.first { $0.name == pairs[0].output }?.fixedShape
    classIndex =
      ours.count == 1 && shape?.count == 2 && shape?[0] == 1 && shape?[1] ?? 0 > 1 ? 0 : nil
  }

  /// What the Softmax that makes an output reads.
  private static func logits(of output: String, in model: Model) -> String? {
    guard let node = model.graph.nodes.first(where: { $0.outputs.contains(output) }),
      node.opType == "Softmax" || node.opType == "LogSoftmax", let input = node.inputs.first,
      model.graph.nodes.contains(where: { $0.outputs.contains(input) })
    else { return nil }
    return input
  }
}
