// SPDX-License-Identifier: Apache-2.0
// Finetuning: a network that was trained elsewhere, fitted into the pipeline.

internal import Artifacts
public import Calibration
public import Diagnostics
public import ONNXModel
internal import Quantization

/// Takes a network that the user's own command trained.
public enum ExternalResult {
  /// Fits a trained network to the scales and the configuration of PTQ.
  ///
  /// Without scales of its own, activations keep their calibrated ones, and the weights, which
  /// moved, get new ones of the same kind.
  /// - Parameters:
  ///   - model: what the command wrote; folded here.
  ///   - path: of `model`, for messages.
  ///   - scales: what the command wrote over the copy of PTQ's scales that it was given; nil, or
  ///     equal to PTQ's: it wrote none.
  ///   - scalesPath: of `scales`, for messages.
  /// - Throws: `.data` when it is not the same network with other numbers, when a number is none,
  ///   or when a line of `calibration.cfg` speaks of the weights as they were.
  public static func adopt(
    _ model: Model, path: String, scales: ScaleTable? = nil, scalesPath: String = "",
    for ptq: QuantizableNetwork
  ) throws(QuenchError) -> QuantizableNetwork {
    var shapes: [String: [Int]] = [:]
    for input in ptq.model.graph.inputs { shapes[input.name] = input.fixedShape }
    let folded: Model
    do throws(QuenchError) {
      try NetworkComparison.compareEnds(model, with: ptq.model)
      folded = try Folding.fold(model, inputs: shapes)
      try NetworkComparison.compare(folded, with: ptq.model)
    } catch {
      throw error.located(at: .file(path))
    }
    if let scales, scales != ptq.scales {
      return try OwnScales.quantizable(folded, scales, path: scalesPath, like: ptq)
    }
    return try RenewedScales.quantizable(folded, like: ptq)
  }

  /// Judges a network that was trained elsewhere as our own are judged.
  ///
  /// - Parameters:
  ///   - answers: class scores `[samples, classes]` of the float network, of PTQ, and of the trained
  ///     network, on samples that did not train it; nil when they are no classifiers, which are
  ///     taken unjudged.
  ///   - classes: numbers in one answer.
  ///   - labels: one a sample.
  ///   - trained: samples that the command was given.
  ///   - loss: what decides.
  /// - Throws: `.data` for a label that is none of the classes.
  public static func judge(
    answers: (float: [Float], ptq: [Float], tuned: [Float])?, classes: Int, labels: [Int?],
    trained: Int, loss: TrainingLoss
  ) throws(QuenchError) -> TrainingReport {
    var report = TrainingReport.external
    report.trainedSamples = trained
    guard let answers else { return report }
    for label in labels.compactMap({ $0 }) where !(0..<classes).contains(label) {
      throw QuenchError(
        .data, "the label \(label) is outside the network's classes 0...\(classes - 1)",
        try: "labelOffset: in the data")
    }
    func result(_ logits: [Float]) -> HeldBackResult {
      HeldBackResult(
        loss: loss, logits: logits, teacher: answers.float, classes: classes, labels: labels)
    }
    let (ptq, tuned) = (result(answers.ptq), result(answers.tuned))
    report.heldBackSamples = labels.count
    report.fp32 = TrainingReport.Figures(result(answers.float))
    report.ptq = TrainingReport.Figures(ptq)
    report.tuned = TrainingReport.Figures(tuned)
    report.verdict = GainVerdict(ptq: ptq, tuned: tuned)
    return report
  }
}

extension HeldBackResult {
  /// The figures of class scores.
  init(
    loss: TrainingLoss, logits: [Float], teacher: [Float], classes: Int, labels: [Int?]
  ) {
    losses =
      BatchLoss.evaluate(
        loss, logits: logits, classes: classes, labels: labels, teacher: teacher
      ).losses
    let named = BatchLoss.topClasses(logits, classes: classes)
    correct =
      labels.allSatisfy { $0 != nil } ? zip(named, labels).map { $0 == $1 } : []
    agreeing = zip(named, BatchLoss.topClasses(teacher, classes: classes)).map { $0 == $1 }
  }
}
