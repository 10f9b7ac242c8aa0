// SPDX-License-Identifier: Apache-2.0
// Finetuning: all that a run knows between two steps.

/// What one epoch came to.
public struct EpochEntry: Sendable, Equatable, Codable {
  /// From 1.
  public var epoch: Int
  /// Steps done when it ended.
  public var steps: Int
  /// Mean of the steps' losses.
  public var trainingLoss: Double
  /// Mean loss of the held-back samples.
  public var heldBackLoss: Double
  /// Share of held-back samples named rightly, 0...1; nil without labels.
  public var accuracy: Double?
  /// Share of held-back samples named as by the float network; nil without one.
  public var agreement: Double?
  /// The weights' learning rate of the epoch's last step.
  public var rate: Double
}

/// The part of a run's state that is not tensors. With the tensors it is the whole state: the next
/// step is a function of it.
struct TrainingState: Sendable, Equatable, Codable {
  /// Steps done.
  var step = 0
  /// Steps of the whole run, which the schedules depend on.
  var total: Int
  /// Results of the network as it began.
  var start: HeldBackResult
  /// Results of the best epoch; nil when none beat the start yet.
  var best: HeldBackResult?
  /// The best epoch, from 1; 0 when none.
  var bestEpoch = 0
  /// Epochs since the held-back loss fell.
  var epochsWithoutGain = 0
  /// The epochs that ended.
  var epochs: [EpochEntry] = []
  /// How scales moved.
  var history: ScaleHistory
  /// Steps that the optimizer took for each parameter.
  var optimizerSteps: [Int]
  /// The larger of the held-back loss at the start and the first step's: what divergence is
  /// measured by.
  var referenceLoss = 0.0
  /// The loss, smoothed over about ten steps.
  var smoothedLoss = 0.0
}

/// The tensors of a run's state, in the order of the parameters.
struct TrainingTensors: Sendable, Equatable {
  var values: [[Float]]
  /// The codes of frozen weights; empty when none are ever frozen.
  var codes: [[Float]] = []
  var slots: [[[Float]]]
  /// The values after the best epoch; empty when there is none.
  var best: [[Float]]
  /// The loss of every step so far.
  var losses: [Float]
}
