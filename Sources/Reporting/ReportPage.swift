// SPDX-License-Identifier: Apache-2.0
// Reporting: the stage files of one model in, one self-contained HTML page out.

public import Calibration
internal import Glibc
public import Measurement
public import Quantization

/// The page that shows what quantization did to a model.
public struct ReportPage: Sendable {
  /// FP32 beside INT8.
  public var evaluation: EvaluationReport
  /// Scales by tensor.
  public var scales: ScaleTable
  /// Error by layer.
  public var sensitivity: SensitivityTable
  /// Which layer runs how.
  public var config: CalibrationConfig
  /// What the ranges clip on other images; nil when that was not counted.
  public var coverage: CoverageTable?
  /// What fine-tuning did; nil without it.
  public var tuning: TuningSection?
  /// The model's name.
  public var name: String

  /// Makes a page from its parts.
  public init(
    name: String, evaluation: EvaluationReport, scales: ScaleTable,
    sensitivity: SensitivityTable, config: CalibrationConfig, coverage: CoverageTable?,
    tuning: TuningSection? = nil
  ) {
    self.tuning = tuning
    self.name = name
    self.evaluation = evaluation
    self.scales = scales
    self.sensitivity = sensitivity
    self.config = config
    self.coverage = coverage
  }

  /// The page: no scripts, no links, the same bytes from the same files.
  public var html: String {
    let head: [HTML] = [
      .element("h1", [.text(name)]), .element("pre", [.text(evaluation.table)]),
    ]
    let body = head + (tuning.map { [$0.html(evaluation)] } ?? []) + [layers, ranges]
    return """
      <!doctype html>
      <html lang="en"><head><meta charset="utf-8"><title>\(HTML.text(name).source)</title>
      <style>\(ReportPage.style)</style></head>
      <body>\((body + coverageSection).map(\.source).joined(separator: "\n"))
      </body></html>

      """
  }

  private var layers: HTML {
    let fp16 = Set(
      config.entries.filter { if case .fp16 = $0.value { true } else { false } }.map(\.name))
    let all = sensitivity.layers.reduce(0) { $0 + $1.macs }
    let rows = sensitivity.layers.map { layer -> [HTML] in
      let stays = fp16.contains(layer.name)
      return [
        .text(layer.name), .text(layer.type), .text(stays ? "FP16" : "INT8"),
        // 60 dB fill the bar: the shorter, the noisier.
        Charts.bar(
          share: Self.decibel(ofError: layer.relativeError) / 60,
          limit: Self.decibel(ofError: sensitivity.threshold) / 60,
          warns: layer.relativeError > sensitivity.threshold),
        .text(Self.text(decibel: Self.decibel(ofError: layer.relativeError))),
        .text(all > 0 ? Self.fixed(100 * Double(layer.macs) / Double(all)) : ""),
        .text(stays ? layer.reason ?? "chosen in calibration.cfg" : ""),
      ]
    }
    return .element(
      "section",
      [
        .element("h2", [.text("Layers")]),
        .element(
          "p",
          [
            .text(
              "Signal to noise (variance over squared error) of each layer's output when it alone "
                + "is INT8, over \(sensitivity.samples) images. The line marks the threshold.")
          ]),
        .table(
          head: ["layer", "operator", "runs", "signal to noise", "dB", "% of MACs", "why FP16"],
          rows: rows),
      ])
  }

  private var ranges: HTML {
    let rows = scales.tensors.sorted { $0.key < $1.key }.map { name, scale -> [HTML] in
      [
        .text(name), .text("\(scale.min)"), .text("\(scale.max)"),
        .text("\(scale.threshold.first ?? 0)"), .text("\(scale.threshold.last ?? 0)"),
        .text("\(scale.scale)"), .text("\(scale.zeroPoint)"),
        .text(Self.fixed(100 * scale.clipped, decimals: 4)),
      ]
    }
    return .element(
      "section",
      [
        .element("h2", [.text("Ranges (\(scales.method))")]),
        .table(
          head: ["tensor", "min", "max", "low", "high", "scale", "zero point", "clipped %"],
          rows: rows),
      ])
  }

  private var coverageSection: [HTML] {
    guard let coverage else { return [] }
    let rows = coverage.tensors.sorted { $0.key < $1.key }.map { name, tensor -> [HTML] in
      [
        .text(name), .text(Self.fixed(100 * tensor.belowShare, decimals: 4)),
        .text(Self.fixed(100 * tensor.aboveShare, decimals: 4)),
        .text(tensor.verdict.rawValue), .text(tensor.advice),
      ]
    }
    return [
      .element(
        "section",
        [
          .element(
            "h2",
            [
              .text(
                "Coverage on \(coverage.samples) other images: "
                  + coverage.verdict.rawValue)
            ]),
          .table(head: ["tensor", "below %", "above %", "verdict", "advice"], rows: rows),
        ])
    ]
  }

  /// Relative error 0.001 is 30 dB.
  private static func decibel(ofError error: Double) -> Double { -10 * log10(error) }

  private static func text(decibel: Double) -> String {
    decibel.isFinite ? fixed(decibel) : (decibel > 0 ? "no error" : "lost")
  }

  static func fixed(_ value: Double, decimals: Int = 1) -> String {
    var power = 1.0
    for _ in 0..<decimals { power *= 10 }
    return "\((value * power).rounded() / power)"
  }

  private static let style = """
    :root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;\
    margin:2rem auto;padding:0 1rem}h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem}\
    pre{font-size:14px;overflow:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
    th,td{padding:.15rem .6rem;text-align:right;border-bottom:1px solid #8884}\
    th:first-child,td:first-child,td:last-child{text-align:left}.bar{fill:#3a7}.warn{fill:#d62}\
    .limit{stroke:currentColor;stroke-width:1}section{overflow:auto}
    """
}
