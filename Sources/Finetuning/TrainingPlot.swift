// SPDX-License-Identifier: Apache-2.0
// Finetuning: the course of a run as one small picture.

/// Draws scales, losses and accuracy over the steps as a self-contained SVG.
public enum TrainingPlot {
  /// More lines than this cannot be told apart: the scales that moved most are drawn.
  static let mostScales = 24

  private static let width = 720.0
  private static let height = 190.0
  private static let left = 64.0
  private static let right = 16.0
  private static let colors = [
    "#3366cc", "#dc3912", "#109618", "#ff9900", "#990099", "#0099c6", "#dd4477", "#66aa00",
  ]

  /// The picture of a report.
  public static func svg(_ report: TrainingReport) -> String {
    let steps = max(1, report.steps)
    var panels: [String] = []
    panels.append(scales(report, steps))
    panels.append(losses(report, steps))
    panels.append(metric(report, steps))
    let total = Double(panels.count) * height + 20
    var svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(number(width)) \(number(total))\""
      + " font-family=\"sans-serif\" font-size=\"11\">\n"
    svg += "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    for (index, panel) in panels.enumerated() {
      svg += "<g transform=\"translate(0,\(number(Double(index) * height)))\">\n\(panel)</g>\n"
    }
    return svg + "</svg>\n"
  }

  /// A line of a panel.
  private struct Line {
    var name: String
    var points: [(x: Double, y: Double)]
    var color: String
    var dashed = false
  }

  private static func scales(_ report: TrainingReport, _ steps: Int) -> String {
    let history = report.scales
    let moves = history.names.indices.map { index in
      (index, history.changes.map { $0[index].magnitude }.max() ?? 0)
    }
    // Ties keep the order of the network.
    let drawn = moves.sorted { $0.1 == $1.1 ? $0.0 < $1.0 : $0.1 > $1.1 }.prefix(mostScales)
    let lines = drawn.enumerated().map { position, move in
      Line(
        name: history.names[move.0],
        points: zip(history.steps, history.changes).map { (Double($0), 100 * Double($1[move.0])) },
        color: colors[position % colors.count])
    }
    let more = history.names.count > drawn.count ? ", the \(drawn.count) that moved most" : ""
    let swing = round(100 * Double(history.largestSwing))
    return panel(
      "Scales: change since the start in %\(more); largest swing in "
        + "\(ScaleHistory.interval) steps \(number(swing)) %",
      lines, steps: steps, release: report.releaseStep, legend: false)
  }

  private static func losses(_ report: TrainingReport, _ steps: Int) -> String {
    let width = Double(steps) / Double(max(1, report.losses.count))
    let training = Line(
      name: "training",
      points: report.losses.enumerated().map { ((Double($0) + 0.5) * width, $1) },
      color: "#bbbbbb")
    var lines = [training]
    if let start = report.ptq?.loss {
      let epochs = report.epochs.map { (Double($0.steps), $0.heldBackLoss) }
      lines.append(Line(name: "held back", points: [(0, start)] + epochs, color: colors[0]))
      lines.append(
        Line(
          name: report.startName, points: [(0, start), (Double(steps), start)], color: colors[1],
          dashed: true))
    }
    return panel(
      "Loss (\(report.settings?.loss.name ?? "external"))", lines, steps: steps,
      release: report.releaseStep, legend: true)
  }

  private static func metric(_ report: TrainingReport, _ steps: Int) -> String {
    var lines: [Line] = []
    func add(
      _ name: String, _ color: String, _ start: Double?, _ values: [Double?]
    ) {
      guard let start else { return }
      var points = [(0.0, 100 * start)]
      for (epoch, value) in zip(report.epochs, values) {
        if let value { points.append((Double(epoch.steps), 100 * value)) }
      }
      lines.append(Line(name: name, points: points, color: color))
      lines.append(
        Line(
          name: "\(name), \(report.startName)",
          points: [(0, 100 * start), (Double(steps), 100 * start)],
          color: color, dashed: true))
    }
    add("top-1 in %", colors[0], report.ptq?.accuracy, report.epochs.map(\.accuracy))
    add("same class as FP32 in %", colors[2], report.ptq?.agreement, report.epochs.map(\.agreement))
    return panel(
      "On the \(report.heldBackSamples) held-back samples", lines, steps: steps,
      release: report.releaseStep, legend: true)
  }
}

// MARK: - Drawing

extension TrainingPlot {
  private static func panel(
    _ title: String, _ lines: [Line], steps: Int, release: Int, legend: Bool
  ) -> String {
    let values = lines.flatMap { $0.points.map(\.y) }.filter(\.isFinite)
    var low = values.min() ?? 0
    var high = values.max() ?? 1
    if high - low < 1e-9 {
      low -= max(0.01, low.magnitude / 100)
      high += max(0.01, high.magnitude / 100)
    }
    let (top, bottom) = (30.0, height - 28)
    func x(_ step: Double) -> Double { left + step / Double(steps) * (width - left - right) }
    func y(_ value: Double) -> Double { bottom - (value - low) / (high - low) * (bottom - top) }

    var svg = "<text x=\"\(number(left))\" y=\"18\" font-weight=\"bold\">\(escaped(title))</text>\n"
    svg +=
      "<path d=\"M\(number(left)) \(number(top))V\(number(bottom))H\(number(width - right))\""
      + " fill=\"none\" stroke=\"#888\"/>\n"
    for value in [low, (low + high) / 2, high] {
      svg +=
        "<text x=\"\(number(left - 4))\" y=\"\(number(y(value) + 4))\" text-anchor=\"end\">"
        + "\(number(value, 4))</text>\n"
    }
    for step in [0, steps / 2, steps] {
      svg +=
        "<text x=\"\(number(x(Double(step))))\" y=\"\(number(bottom + 14))\""
        + " text-anchor=\"middle\">\(step)</text>\n"
    }
    if release < steps {
      svg +=
        "<path d=\"M\(number(x(Double(release)))) \(number(top))V\(number(bottom))\""
        + " stroke=\"#aaa\" stroke-dasharray=\"2 3\"><title>scales released</title></path>\n"
    }
    for line in lines where line.points.count > 0 {
      let path = line.points.map { "\(number(x($0.x))),\(number(y($0.y)))" }
      svg +=
        "<polyline points=\"\(path.joined(separator: " "))\" fill=\"none\" stroke=\"\(line.color)\""
        + (line.dashed ? " stroke-dasharray=\"4 3\"" : "")
        + "><title>\(escaped(line.name))</title></polyline>\n"
    }
    if legend {
      for (index, line) in lines.enumerated() {
        let position = width - right - 4
        svg +=
          "<text x=\"\(number(position))\" y=\"\(number(top + 10 + 13 * Double(index)))\""
          + " text-anchor=\"end\" fill=\"\(line.color)\">\(escaped(line.name))</text>\n"
      }
    }
    return svg
  }

  private static func round(_ value: Double) -> Double { (value * 100).rounded() / 100 }

  /// A number with at most `decimals` decimals (2 for places), without a locale.
  private static func number(_ value: Double, _ decimals: Int = 1) -> String {
    guard value.isFinite, value.magnitude < 1e12 else { return "0" }
    var factor = 1.0
    for _ in 0..<decimals { factor *= 10 }
    let scaled = Int((value * factor).rounded())
    var digits = "\(scaled.magnitude)"
    while digits.count <= decimals { digits = "0" + digits }
    var fraction = String(digits.suffix(decimals))
    while fraction.hasSuffix("0") { fraction.removeLast() }
    let whole = "\(scaled < 0 ? "-" : "")\(digits.dropLast(decimals))"
    return fraction.isEmpty ? whole : "\(whole).\(fraction)"
  }

  private static func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default:
        // Control characters are not allowed in XML, whatever a tensor is called.
        result += character.unicodeScalars.allSatisfy { $0.value >= 32 } ? String(character) : "?"
      }
    }
    return result
  }
}
