// SPDX-License-Identifier: Apache-2.0
// Measurement: the figures of an evaluation for people.

internal import Calibration

extension EvaluationReport {
  /// `candidate` of a QDQ model.
  static let qdq = "qdq"
  /// `candidate` of an OM that the host compiler built.
  static let hostOM = "om (host-built, simulated on the CPU)"
  /// `candidate` of an OM from Huawei's compiler.
  static let deviceOM = "om (for a device; its QDQ model simulated on the CPU)"

  /// The figures as an aligned table of lines, without a line feed at the end.
  ///
  /// Says in a sentence what was simulated.
  public var table: String {
    var rows: [[String]] = [["", "FP32", "INT8", "difference"]]
    if let fp32Top1, let int8Top1 { rows.append(row("top-1", .top1, fp32Top1, int8Top1)) }
    if let fp32Top5, let int8Top5 { rows.append(row("top-5", .top5, fp32Top5, int8Top5)) }
    rows.append([
      "size", FixedText.bytes(fp32Bytes), FixedText.bytes(candidateBytes),
      "\(FixedText.number(sizeRatio, 3)) of FP32",
    ])
    if let ptq {
      rows[0].insert("PTQ", at: 2)
      rows[0][3] = isUntrained ? "PTQ, kept" : "QAT"
      var position = 1
      if fp32Top1 != nil {
        rows[position].insert(ptq.top1.map(percent) ?? "", at: 2)
        position += 1
      }
      if fp32Top5 != nil {
        rows[position].insert(ptq.top5.map(percent) ?? "", at: 2)
        position += 1
      }
      rows[position].insert("", at: 2)
    }
    var lines = FixedText.columns(rows)
    var facts: [[String]] = []
    if let agreement {
      let before = ptq?.agreement.map { " (PTQ \(percent($0)))" } ?? ""
      facts.append(["same class", percent(agreement) + before])
    }
    if let sqnrDecibel {
      var text = decibel(sqnrDecibel)
      if let before = ptq?.sqnrDecibel { text += " (PTQ \(decibel(before)))" }
      // Worth a word only where the offset hides or feigns noise.
      if let centered = centeredSqnrDecibel.map(decibel), centered != decibel(sqnrDecibel) {
        text += "; \(centered) without the offset common to all classes"
      }
      facts.append(["SQNR", text])
    }
    if let cosine { facts.append(["cosine", FixedText.number(cosine, 5)]) }
    if outputs.count > 1 {
      for output in outputs {
        facts.append([
          "output \(output.name)",
          "SQNR \(decibel(output.sqnrDecibel)), cosine \(FixedText.number(output.cosine, 5))",
        ])
      }
    }
    if let int8Layers, let fp16Layers {
      facts.append(["layers", "\(int8Layers) INT8, \(fp16Layers.count) FP16"])
    }
    let corrupt = skipped > 0 ? ", \(skipped) skipped as corrupt" : ""
    let same = onCalibrationSamples ? ", the calibration samples: the figures flatter" : ""
    facts.append(["samples", "\(samples), \(labelled) with a label\(corrupt)\(same)"])
    lines += FixedText.columns(facts, leftAligned: true)
    lines.append(sentence)
    return lines.joined(separator: "\n")
  }

  private func row(
    _ name: String, _ kind: Metric, _ fp32: Share, _ int8: Share
  ) -> [String] {
    var note = "\(FixedText.signed(100 * (int8.value - fp32.value), 2)) points"
    if kind == metric {
      if let dropError { note += " ± \(FixedText.number(dropError, 2))" }
      note += " (\(better ?? 0) better, \(worse ?? 0) worse)"
    }
    return [name, percent(fp32), percent(int8), note]
  }

  private var sentence: String {
    let what =
      switch candidate {
      case EvaluationReport.qdq: "The QDQ model was simulated"
      case EvaluationReport.hostOM: "The host-built OM was decoded and simulated"
      default: "The OM runs on its device only: the QDQ model it was made with was simulated"
      }
    return "\(what) in float arithmetic by \(runtime) on the CPU; no NPU was involved."
  }

  private func percent(_ share: Share) -> String {
    "\(FixedText.number(100 * share.value, 2)) % ± \(FixedText.number(100 * share.standardError, 2))"
  }

  private func decibel(_ value: ExtendedDouble) -> String {
    if value.value == .infinity { return "no error at all" }
    return value.value.isFinite ? "\(FixedText.number(value.value, 1)) dB" : "-inf dB"
  }
}
