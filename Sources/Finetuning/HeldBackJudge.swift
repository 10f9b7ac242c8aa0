// SPDX-License-Identifier: Apache-2.0
// Finetuning: whether training was worth it, judged on samples that never trained.

/// What a network does on the held-back samples, in their order.
public struct HeldBackResult: Sendable, Equatable, Codable {
  /// The loss of each sample.
  public var losses: [Double]
  /// Whether each sample's label is the first class; empty without labels.
  public var correct: [Bool]
  /// Whether each sample's first class is the float network's; empty without a teacher.
  public var agreeing: [Bool]

  /// The mean loss; 0 of no samples.
  public var loss: Double { HeldBackResult.mean(losses) }
  /// Share of right classes, 0...1; nil without labels.
  public var accuracy: Double? { HeldBackResult.share(correct) }
  /// Share of classes like the float network's; nil without a teacher.
  public var agreement: Double? { HeldBackResult.share(agreeing) }

  private static func mean(_ values: [Double]) -> Double {
    values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
  }

  private static func share(_ values: [Bool]) -> Double? {
    values.isEmpty ? nil : Double(values.count { $0 }) / Double(values.count)
  }
}

/// The no-gain guard: the tuned network must beat PTQ on the held-back samples, sample by sample,
/// by more than chance explains.
public struct GainVerdict: Sendable, Equatable, Codable {
  /// Whether the tuned network is kept; else PTQ is.
  public var keepsTuned: Bool
  /// Why, one plain sentence.
  public var reason: String
  /// Mean over the samples of PTQ's loss minus the tuned network's.
  public var lossGain: Double
  /// Its standard error, from the paired differences.
  public var lossGainError: Double
  /// Gain of accuracy in percentage points; nil without labels.
  public var accuracyGain: Double?
  /// Its standard error in percentage points, from the paired counts.
  public var accuracyGainError: Double?

  /// Judges.
  ///
  /// The loss decides, because it moves long before a class does; where there are labels, accuracy
  /// has a veto.
  public init(ptq: HeldBackResult, tuned: HeldBackResult) {
    precondition(ptq.losses.count == tuned.losses.count, "both ran over the same samples")
    let differences = zip(ptq.losses, tuned.losses).map { $0 - $1 }
    (lossGain, lossGainError) = GainVerdict.meanAndError(differences)
    if !tuned.correct.isEmpty, ptq.correct.count == tuned.correct.count {
      let steps = zip(ptq.correct, tuned.correct).map { ($1 ? 100.0 : 0) - ($0 ? 100 : 0) }
      let (gain, error) = GainVerdict.meanAndError(steps)
      accuracyGain = gain
      accuracyGainError = error
    }
    if let gain = accuracyGain, let error = accuracyGainError, gain < 0, -gain > error {
      keepsTuned = false
      reason = "accuracy on the held-back samples fell by more than its standard error"
    } else if differences.count < 2 {
      keepsTuned = false
      reason = "fewer than two samples are held back, which cannot show a gain"
    } else if lossGain > lossGainError {
      keepsTuned = true
      reason = "the loss on the held-back samples fell by more than its standard error"
    } else {
      keepsTuned = false
      reason = "the loss on the held-back samples did not fall by more than its standard error"
    }
  }

  private init(unjudged reason: String) {
    keepsTuned = true
    self.reason = reason
    lossGain = 0
    lossGainError = 0
  }

  /// The verdict on a network that was trained elsewhere and that nothing can judge.
  static let unjudged = GainVerdict(
    unjudged: "it is no classifier, which the guard could judge: it is taken as it came")

  /// The mean and the standard error of the mean.
  static func meanAndError(_ values: [Double]) -> (mean: Double, error: Double) {
    guard values.count > 1 else { return (values.first ?? 0, 0) }
    let count = Double(values.count)
    let mean = values.reduce(0, +) / count
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (mean, (squares / (count - 1) / count).squareRoot())
  }
}
