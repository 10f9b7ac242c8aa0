// SPDX-License-Identifier: Apache-2.0
// Finetuning: everything that a run was told. The defaults that users see are in Pipeline's Recipe.

internal import Diagnostics

/// How to train. With the same settings, data, model and scales a run gives the same bytes.
public struct TrainingSettings: Sendable, Equatable, Codable {
  /// Passes over the training samples.
  public var epochs: Int
  /// Samples a step; the last step of an epoch takes what is left.
  public var batch: Int
  /// The one seed of all randomness.
  public var seed: UInt64
  /// What is made small.
  public var loss: TrainingLoss
  /// How fast weights and biases learn.
  public var rate: LearningRate
  /// How weights and biases are stepped.
  public var weights: GroupSettings
  /// How fast scales learn, before `schedule` has its say.
  public var scaleRate: LearningRate
  /// How scales are stepped.
  public var scales: GroupSettings
  /// When scales are released.
  public var schedule: ScaleSchedule
  /// When weights are frozen at their codes; nil: never.
  public var weightFreeze: WeightFreeze?
  /// How pictures are changed.
  public var augmentation: Augmentation
  /// Share of the samples that judge and never train, above 0, up to 0.9.
  public var heldBackShare: Double
  /// Epochs without a better held-back loss after which the run stops; 0: never.
  public var patience: Int

  /// The settings for 8 bits and a converged network: SGD at 1e-4 falling to 0 over the last
  /// fifth, Adam on the scales, which are released for that fifth, distillation from the float
  /// network.
  public static let automatic = TrainingSettings(
    epochs: 3, batch: 32, seed: 1, loss: .distillation(temperature: 1),
    rate: LearningRate(peak: 1e-4, course: .constantThenCosine(from: 0.8)),
    weights: GroupSettings(rule: .momentum, clipNorm: 1),
    scaleRate: LearningRate(peak: 1e-5, course: .constant),
    scales: GroupSettings(rule: .adam), schedule: ScaleSchedule(), augmentation: .none,
    heldBackShare: 0.15, patience: 5)

  /// The reference article's settings: three epochs of SGD with momentum 0.9 at 1e-5, a tenth of
  /// it after 80 % of the steps, when the scales are released.
  public static let article = TrainingSettings(
    epochs: 3, batch: 32, seed: 1, loss: .crossEntropy,
    rate: LearningRate(peak: 1e-5, course: .steps(at: [0.8], factor: 0.1)),
    weights: GroupSettings(rule: .momentum),
    scaleRate: LearningRate(peak: 1e-5, course: .constant),
    scales: GroupSettings(rule: .momentum), schedule: ScaleSchedule(), augmentation: .none,
    heldBackShare: 0.15, patience: 5)

  /// Refuses values out of range; `path` is for messages.
  func check(_ path: String) throws(QuenchError) {
    func require(_ holds: Bool, _ what: String) throws(QuenchError) {
      guard !holds else { return }
      throw QuenchError(.data, what, at: .file(path))
    }
    try require((1...100_000).contains(epochs), "\"epochs\" must be 1 to 100000")
    try require((1...65_536).contains(batch), "\"batch\" must be 1 to 65536")
    for rate in [rate, scaleRate] {
      try require(
        rate.peak >= 0 && rate.peak <= 10 && rate.warmUpSteps >= 0,
        "a learning rate must be 0 to 10, its warm-up not negative")
    }
    for group in [weights, scales] {
      try require(
        group.weightDecay >= 0 && group.clipNorm >= 0 && group.weightDecay <= 1,
        "weight decay must be 0 to 1 and a gradient's limit not negative")
    }
    try require(
      (0...1).contains(schedule.releaseShare) && (0...100).contains(schedule.factor),
      "\"schedule\" must release at 0 to 1 with a factor of 0 to 100")
    try require(
      heldBackShare > 0 && heldBackShare <= 0.9,
      "\"heldBack\" must be above 0, up to 0.9: with no samples to judge by PTQ would always be kept"
    )
    try require(augmentation.padding >= 0, "\"padding\" must not be negative")
    try require(patience >= 0, "\"patience\" must not be negative")
    switch loss {
    case .crossEntropy: break
    case .distillation(let temperature), .both(_, let temperature):
      try require(temperature > 0 && temperature <= 100, "a temperature must be above 0, up to 100")
    }
    if case .both(let share, _) = loss {
      try require((0...1).contains(share), "the labels' share of the loss must be 0 to 1")
    }
  }
}

extension TrainingSettings {
  /// The rates of one step.
  func rates(at step: Int, of total: Int) -> (weights: Double, scales: Double) {
    (
      rate.rate(at: step, of: total),
      scaleRate.rate(at: step, of: total) * schedule.factor(at: step, of: total)
    )
  }

  /// The first step at which anything depends on the length of the run.
  ///
  /// A run of another length is the same up to here, so a checkpoint of this step serves both.
  func branchStep(of total: Int) -> Int {
    var step = schedule.releaseStep(of: total)
    if let weightFreeze { step = min(step, weightFreeze.firstStep(of: total)) }
    switch rate.course {
    case .constant: break
    case .steps(let positions, _):
      for position in positions {
        step = min(step, LearningRate.firstStep(from: position, of: total))
      }
    case .cosine: step = min(step, rate.warmUpSteps)
    case .constantThenCosine(let position):
      step = min(step, max(rate.warmUpSteps, LearningRate.firstStep(from: position, of: total)))
    }
    return min(step, total)
  }

  /// Whether two runs of different lengths do the same up to a step.
  func agree(before step: Int, totals first: Int, _ second: Int) -> Bool {
    guard step <= first, step <= second else { return false }
    if first == second { return true }
    return (0..<step).allSatisfy {
      rates(at: $0, of: first) == rates(at: $0, of: second)
        && weightFreeze?.share(after: $0 + 1, of: first)
          == weightFreeze?.share(after: $0 + 1, of: second)
    }
  }
}
