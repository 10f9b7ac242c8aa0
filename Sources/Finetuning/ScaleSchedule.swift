// SPDX-License-Identifier: Apache-2.0
// Finetuning: when scales may learn.

/// Gradual unfreezing of the scales: frozen first, released late and learning more slowly.
///
/// While weights still move, scales that learn as fast chase them; the reference article reports
/// swings of 45 %. A pure function of the step number: a run that is resumed after the release
/// finds the scales released, where a test for equality with one step would miss it.
///
/// Source: the gradual scale unfreeze of the reference article.
public struct ScaleSchedule: Sendable, Equatable, Codable {
  /// Share of the steps after which the scales are released, 0...1; 1 keeps them frozen.
  public var releaseShare: Double
  /// What the scales' learning rate is multiplied by from then on.
  public var factor: Double

  /// Makes a schedule; the defaults are the article's.
  public init(releaseShare: Double = 0.8, factor: Double = 0.1) {
    precondition(releaseShare >= 0 && releaseShare <= 1, "the reader of options checks this first")
    self.releaseShare = releaseShare
    self.factor = factor
  }

  /// The first step at which scales learn; `total` when there is none.
  public func releaseStep(of total: Int) -> Int {
    min(total, LearningRate.firstStep(from: releaseShare, of: total))
  }

  /// What the scales' rate is multiplied by at a step: 0 while they are frozen.
  public func factor(at step: Int, of total: Int) -> Double {
    step < releaseStep(of: total) ? 0 : factor
  }
}

/// How far each scale is from where it began, taken down every 100 steps and at the end.
public struct ScaleHistory: Sendable, Equatable, Codable {
  /// Steps between two entries.
  public static let interval = 100

  /// The names of the scales, one a tensor.
  public var names: [String]
  /// Global steps at which the entries were taken, ascending.
  public var steps: [Int] = []
  /// One row an entry: by scale, `s / s₀ − 1` of largest magnitude among the tensor's channels.
  public var changes: [[Float]] = []

  /// An empty history.
  public init(names: [String]) {
    self.names = names
  }

  /// Takes an entry; one at the step of the last replaces it.
  ///
  /// - Parameter scales: start and present values of each tensor's scales, in the order of `names`.
  public mutating func record(step: Int, scales: [(start: [Float], now: [Float])]) {
    precondition(scales.count == names.count, "an entry has a value for every scale")
    if steps.last == step {
      steps.removeLast()
      changes.removeLast()
    }
    steps.append(step)
    changes.append(scales.map { ScaleHistory.change(from: $0.start, to: $0.now) })
  }

  /// The relative change of largest magnitude, with its sign.
  public static func change(from start: [Float], to now: [Float]) -> Float {
    var most: Float = 0
    for (old, new) in zip(start, now) {
      let change = Float(Double(new) / Double(old) - 1)
      if change.magnitude > most.magnitude { most = change }
    }
    return most
  }

  /// The largest magnitude of all changes between neighboring entries: how much scales swing.
  public var largestSwing: Float {
    var most: Float = 0
    for (earlier, later) in zip(changes, changes.dropFirst()) {
      for (a, b) in zip(earlier, later) { most = max(most, (b - a).magnitude) }
    }
    return most
  }

  /// The largest magnitude of the last entry.
  public var finalChange: Float { changes.last?.map(\.magnitude).max() ?? 0 }
}
