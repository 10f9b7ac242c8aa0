// SPDX-License-Identifier: Apache-2.0
// Quantization: calibration.cfg written from scales and a precision plan.

public import Calibration
public import Diagnostics
public import ONNXModel

extension CalibrationConfig {
  /// Writes a configuration for a model: one line a layer, with the reason above each FP16 one.
  ///
  /// - Parameters:
  ///   - model: the folded model.
  ///   - scales: of that model.
  ///   - sensitivity: names the layers that want FP16; nil when none was measured.
  ///   - overrides: the project's wishes.
  /// - Throws: `.data` when a tensor has no scale, an override names no layer, or a name cannot be
  ///   written in a line.
  public static func make(
    model: Model, scales: ScaleTable, sensitivity: SensitivityTable?,
    overrides: PrecisionOptions = PrecisionOptions()
  ) throws(QuenchError) -> CalibrationConfig {
    let layers = try OperatorRules.layers(of: model)
    let plan = try PrecisionPlan.make(
      layers: layers, scales: scales, sensitivity: sensitivity, options: overrides)
    return try make(model: model, layers: layers, scales: scales, plan: plan)
  }

  /// Writes the configuration that a plan asks for.
  ///
  /// - Throws: `.data` when a layer's name cannot be written in a line.
  public static func make(
    model: Model, layers: [QuantizableLayer], scales: ScaleTable, plan: PrecisionPlan
  ) throws(QuenchError) -> CalibrationConfig {
    precondition(
      layers.map(\.name) == plan.decisions.map(\.layer), "the plan is of another list of layers")
    // A model's own name may hold a line end.
    let name = model.graph.name.split(whereSeparator: \.isNewline).joined(separator: " ")
    var lines: [Line] = [
      .remark("# What is INT8 in model \"\(name)\", folded file SHA-256 \(scales.model)"),
      .remark("# method: \(scales.method)"),
      .remark(
        "# layers: \(plan.decisions.count), INT8 \(plan.int8Count), FP16 \(plan.fp16Count) "
          + "(\(percent(plan.fp16Share)) % of the multiply-accumulates)"),
      .remark("#"),
      .remark("# name:OpType:quant_type:scale:zero_point:offset"),
      .remark(
        "# SCALAR: the activation that the layer reads; VECTOR: its weight scales; FP16: not INT8"),
      .remark(""),
    ]
    for (layer, decision) in zip(layers, plan.decisions) {
      guard isWritable(layer.name) else {
        throw QuenchError(
          .data, "the name of layer \"\(layer.name)\" cannot be written in calibration.cfg",
          at: .node(layer.name), try: "rename the node: no line ends, no # at the start")
      }
      if let reason = decision.reason { lines.append(.remark("# \(reason)")) }
      let value: Value =
        decision.precision == .fp16
        ? .fp16 : .scalar(scale: decision.scale, zeroPoint: decision.zeroPoint)
      guard let type = OperatorType(rawValue: layer.kind.rawValue) else {
        preconditionFailure("every kind of layer is an operator type")
      }
      lines.append(.entry(Entry(name: layer.name, opType: type, value: value)))
    }
    lines.append(.remark(""))
    return CalibrationConfig(lines: lines)
  }

  /// A copy with another configuration's operators and this one's own comments, the head included.
  ///
  /// Operators keep their place; new ones go before the fallback, vanished ones go. Use it to
  /// bring a file that people commented up to date.
  public func rewritten(with fresh: CalibrationConfig) -> CalibrationConfig {
    var copy = self
    let wanted = fresh.entries.dropLast()
    let fallback = entries.count - 1
    var seen = -1
    copy.lines.removeAll { line in
      guard case .entry(let old) = line else { return false }
      seen += 1
      return seen != fallback
        && !wanted.contains {
          $0.name == old.name && $0.opType == old.opType && $0.isWeights == old.isWeights
        }
    }
    for entry in wanted { copy.set(entry) }
    return copy
  }

  /// Whether a name survives being written and read.
  private static func isWritable(_ name: String) -> Bool {
    !name.isEmpty && !name.hasPrefix("#") && !name.contains(where: \.isNewline)
  }

  /// A fraction in percent with two decimals, without a locale.
  private static func percent(_ fraction: Double) -> String {
    let hundredths = Int((fraction * 10_000).rounded())
    let decimals = hundredths % 100
    return "\(hundredths / 100).\(decimals < 10 ? "0" : "")\(decimals)"
  }
}
