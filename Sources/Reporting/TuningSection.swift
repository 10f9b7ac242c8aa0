// SPDX-License-Identifier: Apache-2.0
// Reporting: what fine-tuning did: FP32, PTQ and QAT side by side, the guard, the course.

public import Finetuning
public import Measurement

/// The part of the page about fine-tuning.
public struct TuningSection: Sendable {
  /// What training did and decided.
  public var report: TrainingReport
  /// The same of the float network trained alike; nil when that was not asked for.
  public var control: TrainingReport?

  /// What that network reaches on the samples that the quantized one is judged on.
  public var controlEvaluation: EvaluationReport?

  /// Makes a section from its parts.
  public init(
    report: TrainingReport, control: TrainingReport?, controlEvaluation: EvaluationReport? = nil
  ) {
    self.report = report
    self.control = control
    self.controlEvaluation = controlEvaluation
  }

  func html(_ evaluation: EvaluationReport) -> HTML {
    var parts: [HTML] = [
      .element("h2", [.text("Fine-tuning")]), .element("p", [.text(report.sentence + ".")]),
    ]
    if report.ptq != nil { parts.append(heldBack) }
    parts.append(judged(evaluation))
    if let frozen { parts.append(.element("p", [.text(frozen)])) }
    if let course { parts.append(.element("p", [.text(course)])) }
    if !report.epochs.isEmpty { parts.append(.raw(TrainingPlot.svg(report))) }
    return .element("section", parts)
  }

  /// The network that `controlEvaluation` speaks of.
  private var controlName: String {
    control?.verdict.keepsTuned == true ? "FP32, trained" : "FP32, its training not kept"
  }

  private var tunedName: String { report.verdict.keepsTuned ? "QAT" : "QAT (not kept)" }

  private var heldBack: HTML {
    var columns = [("FP32", report.fp32), ("PTQ", report.ptq), (tunedName, report.best)]
    if let control {
      let name = control.verdict.keepsTuned ? "FP32, trained" : "FP32, trained (not kept)"
      columns.append((name, control.best))
    }
    let rows: [(String, (TrainingReport.Figures) -> Double?)] = [
      ("loss", { $0.loss }), ("top-1 in %", { $0.accuracy.map { 100 * $0 } }),
      ("same class as FP32 in %", { $0.agreement.map { 100 * $0 } }),
    ]
    let body = rows.compactMap { name, value -> [HTML]? in
      let values = columns.map { $0.1.flatMap(value) }
      guard values.contains(where: { $0 != nil }) else { return nil }
      return [.text(name)] + values.map { .text($0.map(TrainingReport.short) ?? "–") }
    }
    let head = "\(report.heldBackSamples) held-back samples, which never trained"
    return .table(head: [head] + columns.map(\.0), rows: body)
  }

  private func judged(_ evaluation: EvaluationReport) -> HTML {
    func percent(_ share: Share?) -> HTML {
      .text(
        share.map {
          "\(ReportPage.fixed(100 * $0.value, decimals: 2)) ± "
            + ReportPage.fixed(100 * $0.standardError, decimals: 2)
        } ?? "–")
    }
    let (ptq, kept) = (evaluation.ptq, report.verdict.keepsTuned ? "QAT" : "PTQ, kept")
    let other = controlEvaluation
    var rows: [(String, [Share?], control: Share?)] = []
    if evaluation.int8Top1 != nil {
      rows = [
        ("top-1 in %", [evaluation.fp32Top1, ptq?.top1, evaluation.int8Top1], other?.int8Top1),
        ("top-5 in %", [evaluation.fp32Top5, ptq?.top5, evaluation.int8Top5], other?.int8Top5),
      ]
    }
    if evaluation.agreement != nil {
      rows.append(
        (
          "same class as FP32 in %", [nil, ptq?.agreement, evaluation.agreement], other?.agreement
        ))
    }
    let images = evaluation.onCalibrationSamples ? "calibration" : "evaluation"
    return .table(
      head: ["\(evaluation.samples) \(images) images", "FP32", "PTQ", kept]
        + (other == nil ? [] : [controlName]),
      rows: rows.map { name, shares, control in
        [.text(name)] + shares.map(percent) + (other == nil ? [] : [percent(control)])
      })
  }

  /// What did not train, and why; nil when all trained.
  private var frozen: String? {
    guard let plan = report.plan, let obstacle = plan.obstacles.last else { return nil }
    return "\(plan.trained.count) layers trained above \(obstacle.node) (\(obstacle.opType)); "
      + "\(plan.frozen.count) below it stayed as PTQ has them: \(obstacle.reason)."
  }

  /// The course in a few numbers.
  private var course: String? {
    guard let settings = report.settings, !report.epochs.isEmpty else { return nil }
    var text = "Trained \(report.trainableNumbers) numbers on \(report.trainedSamples) samples: "
    text += "\(report.epochs.count) epochs of \(settings.epochs)"
    text += report.stoppedEarly ? ", then nothing improved" : ""
    text += report.bestEpoch > 0 ? "; the best was epoch \(report.bestEpoch). " : ". "
    text += "Loss: \(settings.loss.name). "
    if report.scales.names.isEmpty { return text }
    text +=
      report.releaseStep < report.steps
      ? "Scales were released at step \(report.releaseStep) of \(report.steps)"
      : "Scales stayed frozen"
    text += "; the largest swing in \(ScaleHistory.interval) steps was "
    text +=
      "\(TrainingReport.short(100 * Double(report.scales.largestSwing))) %, the largest change "
    text += "at the end \(TrainingReport.short(100 * Double(report.scales.finalChange))) %."
    return text
  }
}
