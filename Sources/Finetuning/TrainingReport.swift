// SPDX-License-Identifier: Apache-2.0
// Finetuning: what a run did and decided, as `finetune/report.json`.

public import Artifacts

/// The report of a run. It holds no times, so that the same inputs give the same bytes.
public struct TrainingReport: JSONArtifact, Equatable {
  /// "quench.finetuning".
  public static let format = "quench.finetuning"
  /// 1.
  public static let version = 1

  /// What trained: `quantized` (with fake quantization), `float` (the control without) or
  /// `external` (a command of the user's).
  public var kind: String
  /// What the run was told; nil for an external command.
  public var settings: TrainingSettings?
  /// Samples that trained.
  public var trainedSamples: Int
  /// Samples that judged.
  public var heldBackSamples: Int
  /// Samples left out because they are corrupt.
  public var skippedSamples: Int
  /// Numbers that could change.
  public var trainableNumbers: Int
  /// What trained, what was frozen, and why; nil for an external command.
  public var plan: TrainingPlan?
  /// Steps done.
  public var steps: Int
  /// Whether it ended before the last epoch because nothing improved.
  public var stoppedEarly: Bool
  /// The float network on the held-back samples; nil without a teacher.
  public var fp32: Figures?
  /// Loss, accuracy and agreement on the held-back samples where training began: PTQ, of the
  /// control the float network; nil for an external command.
  public var ptq: Figures?
  /// The same of the best epoch; nil when no epoch beat PTQ.
  public var tuned: Figures?
  /// The best epoch, from 1; 0 when none.
  public var bestEpoch: Int
  /// Which of the two is handed on, and why.
  public var verdict: GainVerdict
  /// The epochs.
  public var epochs: [EpochEntry]
  /// How the scales moved.
  public var scales: ScaleHistory
  /// The mean losses of up to 200 equal parts of the run.
  public var losses: [Double]
  /// The first step at which scales learned.
  public var releaseStep: Int

  /// A network on the held-back samples.
  public struct Figures: Sendable, Equatable, Codable {
    /// Mean loss.
    public var loss: Double
    /// Share named rightly, 0...1; nil without labels.
    public var accuracy: Double?
    /// Share named as by the float network; nil without one.
    public var agreement: Double?

    init(loss: Double, accuracy: Double?, agreement: Double?) {
      self.loss = loss
      self.accuracy = accuracy
      self.agreement = agreement
    }

    init(_ result: HeldBackResult) {
      loss = result.loss
      accuracy = result.accuracy
      agreement = result.agreement
    }
  }

  /// Of a network that a command of the user's trained, before it is judged.
  static let external = TrainingReport(
    kind: "external", settings: nil, trainedSamples: 0, heldBackSamples: 0, skippedSamples: 0,
    trainableNumbers: 0, plan: nil, steps: 0, stoppedEarly: false, fp32: nil, ptq: nil, tuned: nil,
    bestEpoch: 0, verdict: .unjudged, epochs: [], scales: ScaleHistory(names: []), losses: [],
    releaseStep: 0)

  /// Means of `losses` over up to `parts` stretches of equal length.
  static func condensed(_ losses: [Float], parts: Int = 200) -> [Double] {
    guard losses.count > parts else { return losses.map(Double.init) }
    return (0..<parts).map { part in
      let range = part * losses.count / parts..<(part + 1) * losses.count / parts
      return losses[range].reduce(0) { $0 + Double($1) } / Double(range.count)
    }
  }
}
