// SPDX-License-Identifier: Apache-2.0
// Finetuning: a report in words.

extension TrainingReport {
  /// Which network is handed on, why, and by what figures: one sentence without a full stop.
  public var sentence: String {
    let name = verdict.keepsTuned ? tunedName : startName
    var figures: [String] = []
    if tuned == nil, let ptq, let best {
      figures.append(
        "loss \(TrainingReport.short(best.loss)) at best, "
          + "\(TrainingReport.short(ptq.loss)) before")
    }
    if ptq != nil, tuned != nil {
      figures.append(
        "loss \(TrainingReport.signed(-verdict.lossGain)) ± "
          + TrainingReport.short(verdict.lossGainError))
    }
    if let gain = verdict.accuracyGain, let error = verdict.accuracyGainError, tuned != nil {
      figures.append("top-1 \(TrainingReport.signed(gain)) ± \(TrainingReport.short(error)) points")
    }
    let numbers = figures.isEmpty ? "" : " (\(figures.joined(separator: ", ")))"
    return "\(name) is kept: \(verdict.reason)\(numbers)"
  }

  /// The best that training came to, even where that is worse than its beginning; nil before an
  /// epoch ended.
  public var best: Figures? {
    tuned
      ?? epochs.min { $0.heldBackLoss < $1.heldBackLoss }.map {
        Figures(loss: $0.heldBackLoss, accuracy: $0.accuracy, agreement: $0.agreement)
      }
  }

  /// What training began as, in words.
  public var startName: String { kind == "float" ? "FP32" : "PTQ" }

  /// What training came to, in words.
  public var tunedName: String { kind == "float" ? "trained FP32" : "QAT" }

  /// A number to three significant digits, without a locale.
  public static func short(_ value: Double) -> String {
    guard value.isFinite, value != 0 else { return value.isFinite ? "0" : "\(value)" }
    var factor = 1.0
    while value.magnitude * factor < 100, factor < 1e12 { factor *= 10 }
    let rounded = (value * factor).rounded() / factor
    return rounded == rounded.rounded() && rounded.magnitude < 1e15
      ? "\(Int(rounded))" : "\(rounded)"
  }

  private static func signed(_ value: Double) -> String {
    (value > 0 ? "+" : "") + short(value)
  }
}
