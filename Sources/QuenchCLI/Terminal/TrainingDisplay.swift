// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: how training goes on: loss, figures, speed, time left.

internal import Finetuning

/// Shows training: a line an epoch, on a terminal one that counts steps between them.
struct TrainingDisplay {
  private let clock = ContinuousClock()
  private var start: ContinuousClock.Instant?
  private var lastLine: ContinuousClock.Instant?
  private var isLive = false
  private var wasResumed = false

  mutating func show(_ event: TuningEvent) {
    switch event {
    case .frozen(let layers):
      guard let first = layers.first else { return }
      let more = layers.count > 1 ? " and \(layers.count - 1) more layers" : ""
      Terminal.warn(
        "\"\(first.layer)\"\(more) cannot be trained: \"\(first.below)\" passes no gradient on")
    case .doubtfulLabels(let right, let count):
      Terminal.warn(
        "FP32 names \(right) of \(count) held-back samples as their labels do: is labelOffset: "
          + "missing in the training data?")
    case .teacher: break
    case .step(let progress): show(progress)
    }
  }

  private mutating func show(_ progress: TrainingProgress) {
    StageProgress.report(progress.step, progress.total)
    let now = clock.now
    if progress.resumedFrom > 0, !wasResumed {
      wasResumed = true
      note("training continues from step \(progress.resumedFrom) of \(progress.total)")
    }
    guard let start else {
      // The first step warms caches up; speed is measured from its end.
      self.start = now
      first = progress.step
      if let epoch = progress.epoch { note(line(epoch, progress, speed: nil)) }
      return
    }
    let seconds = TrainingDisplay.seconds(now - start)
    let speed = seconds > 0 ? Double(progress.step - first) / seconds : nil
    if let epoch = progress.epoch {
      note(line(epoch, progress, speed: speed))
    } else if Style.error.isTerminal,
      lastLine.map({ TrainingDisplay.seconds(now - $0) > 0.2 }) ?? true
    {
      lastLine = now
      isLive = true
      let text = "step \(progress.step)/\(progress.total), loss \(short(progress.loss))"
      Terminal.write(2, "\r\u{1B}[K\(text)\(pace(progress, speed))")
    }
  }

  private var first = 0

  private mutating func note(_ text: String) {
    if isLive { Terminal.write(2, "\r\u{1B}[K") }
    isLive = false
    Terminal.note(text)
  }

  private func line(_ epoch: EpochEntry, _ progress: TrainingProgress, speed: Double?) -> String {
    var text =
      "epoch \(epoch.epoch): loss \(short(epoch.trainingLoss)), held back \(short(epoch.heldBackLoss))"
    if let accuracy = epoch.accuracy { text += ", top-1 \(short(100 * accuracy)) %" }
    if let agreement = epoch.agreement { text += ", as FP32 \(short(100 * agreement)) %" }
    return text + pace(progress, speed)
  }

  private func pace(_ progress: TrainingProgress, _ speed: Double?) -> String {
    guard let speed, speed > 0 else { return "" }
    let images = Int(speed * Double(progress.batch))
    let left = Int(Double(progress.total - progress.step) / speed)
    let time = left < 120 ? "\(left) s" : left < 7200 ? "\(left / 60) min" : "\(left / 3600) h"
    return ", \(images) images/s, \(time) left"
  }

  /// Three significant digits are what a loss is read by.
  private func short(_ value: Double) -> String {
    guard value.isFinite, value != 0 else { return "\(value)" }
    var factor = 1.0
    while value.magnitude * factor < 100, factor < 1e12 { factor *= 10 }
    return "\((value * factor).rounded() / factor)"
  }

  private static func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
  }
}
