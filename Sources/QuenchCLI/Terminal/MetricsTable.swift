// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: what `-d stats` shows.

internal import BuildEngine

/// Steps of a build with counts and times, in the columns of Ninja's table.
enum MetricsTable {
  static func show(_ metrics: BuildMetrics) {
    let rows = metrics.rows
    let width = rows.map(\.step.rawValue.count).max() ?? 0
    var text = padded("metric", max(6, width)) + "\tcount \tavg (us) \ttotal (ms)\n"
    for (step, count, nanoseconds) in rows {
      let total = Double(nanoseconds)
      text += padded(step.rawValue, max(6, width)) + "\t" + padded("\(count)", 6) + "\t"
      text += padded(decimal(total / 1e3 / Double(count)), 9) + "\t" + decimal(total / 1e6) + "\n"
    }
    Terminal.write(1, text)
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  /// One digit behind the point.
  private static func decimal(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
  }
}
