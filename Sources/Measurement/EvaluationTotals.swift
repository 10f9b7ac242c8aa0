// SPDX-License-Identifier: Apache-2.0
// Measurement: from sums over samples to the figures of a report.

internal import Calibration

/// The sums of an evaluation, added in the order of the samples.
struct EvaluationTotals: Sendable {
  private var tensors: [ErrorAccumulator]
  private var centered = ErrorAccumulator()
  private(set) var samples = 0
  private var agreeing = 0
  private var labelled = 0
  private var top1 = PairedCounts()
  private var top5 = PairedCounts()

  init(tensors count: Int) {
    tensors = Array(repeating: ErrorAccumulator(), count: count)
  }

  mutating func add(_ sample: SampleComparison) {
    samples += 1
    for index in tensors.indices { tensors[index].merge(sample.tensors[index]) }
    guard let classes = sample.classes else { return }
    centered.merge(sample.centered)
    agreeing += classes.agrees ? 1 : 0
    guard let reference = classes.rightOfReference, let candidate = classes.rightOfCandidate
    else { return }
    labelled += 1
    top1.add(reference.top1, candidate.top1)
    top5.add(reference.top5, candidate.top5)
  }

  /// Sets the figures of a report.
  func fill(_ report: inout EvaluationReport, plan: ComparisonPlan) {
    for (index, sums) in tensors.enumerated() {
      report.outputs.append(
        EvaluationReport.Output(
          name: plan.outputs[index], compared: plan.referenceTensors[index],
          sqnrDecibel: ExtendedDouble(sums.sqnrDecibel), cosine: sums.cosine))
    }
    if tensors.count == 1 {
      report.sqnrDecibel = report.outputs[0].sqnrDecibel
      report.cosine = report.outputs[0].cosine
    }
    guard plan.classIndex != nil else { return }
    report.centeredSqnrDecibel = ExtendedDouble(centered.sqnrDecibel)
    report.agreement = Share(agreeing, of: samples)
    report.labelled = labelled
    guard labelled > 0 else { return }
    report.fp32Top1 = Share(top1.reference, of: labelled)
    report.int8Top1 = Share(top1.candidate, of: labelled)
    report.fp32Top5 = Share(top5.reference, of: labelled)
    report.int8Top5 = Share(top5.candidate, of: labelled)
    let pair = report.metric == .top1 ? top1 : top5
    report.better = pair.better
    report.worse = pair.worse
    report.drop = 100 * Double(pair.worse - pair.better) / Double(labelled)
    report.dropError = pair.standardError(of: labelled)
  }
}

/// Paired counts of one metric.
private struct PairedCounts: Sendable {
  var reference = 0
  var candidate = 0
  /// Samples that only the candidate has right.
  var better = 0
  /// Samples that only the float model has right.
  var worse = 0

  mutating func add(_ isRightOfReference: Bool, _ isRightOfCandidate: Bool) {
    reference += isRightOfReference ? 1 : 0
    candidate += isRightOfCandidate ? 1 : 0
    better += isRightOfCandidate && !isRightOfReference ? 1 : 0
    worse += isRightOfReference && !isRightOfCandidate ? 1 : 0
  }

  /// Standard error of the drop in percentage points: the samples are the same for both models, so
  /// only those on which they differ count (McNemar's setting).
  func standardError(of total: Int) -> Double {
    let n = Double(total)
    let difference = Double(worse - better)
    let variance = (Double(worse + better) - difference * difference / n) / (n * n)
    return 100 * max(0, variance).squareRoot()
  }
}

extension Share {
  fileprivate init(_ count: Int, of total: Int) {
    let value = Double(count) / Double(total)
    self.init(
      value: value, standardError: (value * (1 - value) / Double(total)).squareRoot())
  }
}
