// SPDX-License-Identifier: Apache-2.0
// Finetuning: how fast to learn at which step.

/// The learning rate as a pure function of the global step, so that a resumed run repeats it.
public struct LearningRate: Sendable, Equatable, Codable {
  /// The course of the rate after the warm-up.
  public enum Course: Sendable, Equatable, Codable {
    /// Always the peak.
    case constant
    /// Multiplied by `factor` at each of these shares of the run, 0...1.
    case steps(at: [Double], factor: Double)
    /// Half a cosine from the peak to 0.
    case cosine
    /// The peak until this share of the run, then half a cosine to 0.
    ///
    /// Unlike the plain cosine the first part does not depend on the run's length, so that a run
    /// that is made longer continues from where the parts meet.
    case constantThenCosine(from: Double)
  }

  /// The largest rate.
  public var peak: Double
  /// The rate rises in equal parts over this many steps, 0 for none.
  public var warmUpSteps: Int
  /// What follows.
  public var course: Course

  /// Makes a schedule.
  public init(peak: Double, warmUpSteps: Int = 0, course: Course) {
    precondition(peak >= 0 && peak.isFinite, "the reader of options checks this first")
    precondition(warmUpSteps >= 0, "the reader of options checks this first")
    self.peak = peak
    self.warmUpSteps = warmUpSteps
    self.course = course
  }

  /// The rate of a step, counted from 0, in a run of `total` steps.
  public func rate(at step: Int, of total: Int) -> Double {
    precondition(step >= 0 && step < total, "a step belongs to its run")
    if step < warmUpSteps { return peak * Double(step + 1) / Double(warmUpSteps) }
    let share = Double(step) / Double(total)
    switch course {
    case .constant:
      return peak
    case .steps(let positions, let factor):
      return positions.reduce(peak) { rate, position in
        step >= LearningRate.firstStep(from: position, of: total) ? rate * factor : rate
      }
    case .cosine:
      let start = min(warmUpSteps, total)
      return half(Double(step - start) / Double(max(1, total - start)))
    case .constantThenCosine(let position):
      let start = max(warmUpSteps, LearningRate.firstStep(from: position, of: total))
      guard step >= start, share < 1 else { return peak }
      // From 1, so that the first step of the descent already descends and the last is above 0.
      return half(Double(step - start + 1) / Double(total - start + 1))
    }
  }

  private func half(_ share: Double) -> Double {
    peak * (0.5 + 0.5 * Elementary.cosine(halfTurns: min(1, max(0, share))))
  }

  /// The first step at or after a share of the run.
  static func firstStep(from share: Double, of total: Int) -> Int {
    Int((share * Double(total)).rounded(.up))
  }
}
