// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: how training goes on: loss, figures, speed, time left.

internal import Diagnostics
internal import Finetuning

/// Shows training: a line an epoch, and between them one that counts steps.
///
/// Run by a build, both go through the build's pipe: the first is shown at once, the second on the
/// build's live line. Run by hand, or by another program that builds, lines go to standard error,
/// and the live one only where that is a terminal.
struct TrainingDisplay {
  private let clock = ContinuousClock()
  /// Where speed is measured from.
  private var start: (step: Int, at: ContinuousClock.Instant)?
  private var lastLine: ContinuousClock.Instant?
  private var isLive = false
  private var wasResumed = false
  private var lastEpoch: EpochEntry?

  mutating func show(_ event: TuningEvent) {
    switch event {
    case .plan(let plan):
      clear()
      TrainingDisplay.warn(about: plan)
      if let text = TrainingDisplay.text(plan) { note(text) }
    case .doubtfulLabels(let right, let count):
      clear()
      Terminal.warn(
        "FP32 names \(right) of \(count) held-back samples as their labels do: is labelOffset: "
          + "missing in the training data?")
    case .begins(let plan): note(text(plan))
    case .teacher(let done, let total):
      live(done, total, "FP32's outputs of \(done)/\(total) images")
    case .step(let progress): show(progress)
    }
  }

  /// Takes the live line away.
  mutating func clear() {
    if isLive { Terminal.write(2, "\r\u{1B}[K") }
    isLive = false
  }

  private mutating func show(_ progress: TrainingProgress) {
    if progress.resumedFrom > 0, !wasResumed {
      wasResumed = true
      note("training continues from step \(progress.resumedFrom) of \(progress.total)")
    }
    // The first step warms caches up; speed is measured from its end.
    let start = start ?? (progress.step, clock.now)
    self.start = start
    let seconds = (clock.now - start.at) / .seconds(1)
    let speed = seconds > 0 ? Double(progress.step - start.step) / seconds : 0
    if let epoch = progress.epoch {
      lastEpoch = epoch
      note(line(epoch) + pace(progress, speed))
    }
    let figure = lastEpoch.map(figure) ?? ""
    live(
      progress.step, progress.total,
      "step \(progress.step)/\(progress.total), loss \(TrainingReport.short(progress.loss))\(figure)"
        + pace(progress, speed))
  }

  /// A line that stays.
  private mutating func note(_ text: String) {
    if StageProgress.isThere { return StageProgress.note(text) }
    clear()
    Terminal.note(text)
  }

  /// A line that the next one takes the place of, a few times a second.
  private mutating func live(_ done: Int, _ total: Int, _ text: String) {
    let now = clock.now
    if let lastLine, now - lastLine < .milliseconds(100), done < total { return }
    lastLine = now
    if StageProgress.isThere { return StageProgress.report(done, total, text) }
    guard Style.error.isTerminal else { return }
    isLive = true
    Terminal.write(2, "\r\(text.prefix(max(1, Terminal.width - 1)))\u{1B}[K")
  }
}

// MARK: - Words

extension TrainingDisplay {
  private func text(_ plan: TuningPlan) -> String {
    var text = "trains \(plan.trainedLayers) layers on \(plan.trainedSamples) samples"
    text += ", \(plan.heldBackSamples) held back, \(plan.steps) steps"
    text += ", about \((plan.memory + (1 << 20) - 1) >> 20) MiB"
    if let limit = plan.memoryLimit { text += " of \(limit >> 20) MiB" }
    return text
  }

  private func line(_ epoch: EpochEntry) -> String {
    var text = "epoch \(epoch.epoch): loss \(TrainingReport.short(epoch.trainingLoss))"
    text += ", held back \(TrainingReport.short(epoch.heldBackLoss))"
    if let accuracy = epoch.accuracy { text += ", top-1 \(TrainingReport.short(100 * accuracy)) %" }
    if let agreement = epoch.agreement {
      text += ", as FP32 \(TrainingReport.short(100 * agreement)) %"
    }
    return text
  }

  /// The figure that people watch, of the last epoch.
  private func figure(_ epoch: EpochEntry) -> String {
    if let accuracy = epoch.accuracy { return ", top-1 \(TrainingReport.short(100 * accuracy)) %" }
    if let agreement = epoch.agreement {
      return ", as FP32 \(TrainingReport.short(100 * agreement)) %"
    }
    return ""
  }

  private func pace(_ progress: TrainingProgress, _ speed: Double) -> String {
    guard speed > 0 else { return "" }
    let images = Int((speed * Double(progress.batch)).rounded())
    let left = Int((Double(progress.total - progress.step) / speed).rounded(.up))
    let time = left < 120 ? "\(left) s" : left < 7200 ? "\(left / 60) min" : "\(left / 3600) h"
    return ", \(images) images/s, \(time) left"
  }
}
