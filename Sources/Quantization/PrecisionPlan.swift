// SPDX-License-Identifier: Apache-2.0
// Quantization: which layers are INT8, which stay FP16, and why.

public import Calibration
public import Diagnostics

/// The decision for every quantizable layer, with a reason for each that stays FP16.
public struct PrecisionPlan: Sendable, Equatable {
  /// One layer's decision.
  public struct Decision: Sendable, Equatable {
    /// The layer's name.
    public var layer: String
    /// What was decided.
    public var precision: Precision
    /// Why it stays FP16, or why a sensitive layer is INT8 nonetheless.
    public var reason: String?
    /// The quantizer of the layer's input.
    public var scale: Float
    /// The INT8 code of zero.
    public var zeroPoint: Int32
  }

  /// In the order of the model's layers.
  public var decisions: [Decision]
  /// The share of the layers' multiply-accumulates that stay FP16, in 0…1.
  public var fp16Share: Double
  /// What the user should hear: patterns that fit no layer, wishes that could not be met.
  public var notes: [String]

  /// Layers that are INT8.
  public var int8Count: Int { decisions.count - fp16Count }
  /// Layers that stay FP16.
  public var fp16Count: Int { decisions.count { $0.precision == .fp16 } }

  /// Scales outside 2^−23…2^23 are replaced or refused by the Ascend calibration kernels
  /// (Huawei's AMCT: FLT_EPSILON and its reciprocal), so such layers stay FP16.
  public static let scaleLimits: ClosedRange<Float> = 0x1p-23...0x1p23

  /// Decides.
  ///
  /// - Parameters:
  ///   - layers: from `OperatorRules.layers`.
  ///   - scales: holds a scale for every layer's input.
  ///   - sensitivity: names the layers that want FP16; nil when none was measured.
  /// - Throws: `.data` when a tensor has no scale or an override names no layer.
  public static func make(
    layers: [QuantizableLayer], scales: ScaleTable, sensitivity: SensitivityTable?,
    options: PrecisionOptions = PrecisionOptions()
  ) throws(QuenchError) -> PrecisionPlan {
    for name in options.overrides.keys.sorted() where !layers.contains(where: { $0.name == name }) {
      throw QuenchError(
        .data,
        "an override names \"\(name)\", which is no layer of the model"
          + NearestName.hint(name, among: layers.map(\.name)), at: .node(name))
    }
    var decisions: [Decision] = []
    for layer in layers { decisions.append(try forced(layer, scales, options)) }
    var plan = PrecisionPlan(decisions: decisions, fp16Share: 0, notes: [])
    for pattern in options.keepFP16
    where !layers.contains(where: { GlobPattern(pattern).matches($0.name) }) {
      plan.notes.append("keepFP16: \"\(pattern)\" fits no layer")
    }
    if !options.allINT8, let sensitivity {
      plan.addSensitive(layers, sensitivity, options)
    }
    plan.measureShare(layers)
    return plan
  }

  /// What is decided without measuring: wishes and limits of the target.
  private static func forced(
    _ layer: QuantizableLayer, _ scales: ScaleTable, _ options: PrecisionOptions
  ) throws(QuenchError) -> Decision {
    let wish = options.overrides[layer.name]
    var decision = Decision(
      layer: layer.name, precision: .int8, reason: nil, scale: 1, zeroPoint: 0)
    if let scale = wish?.scale {
      decision.scale = scale
      decision.zeroPoint = wish?.zeroPoint ?? 0
    } else if let found = scales.tensors[layer.input] {
      guard found.scale > 0, found.scale.isFinite, (-128...127).contains(found.zeroPoint) else {
        throw QuenchError(
          .data,
          "tensor \"\(layer.input)\" has the scale \(found.scale) and the zero point "
            + "\(found.zeroPoint), which no INT8 quantizer can have", at: .tensor(layer.input),
          try: "quench calibrate")
      }
      decision.scale = found.scale
      decision.zeroPoint = found.zeroPoint
    } else {
      throw QuenchError(
        .data, "tensor \"\(layer.input)\" has no scale, needed by layer \"\(layer.name)\"",
        at: .tensor(layer.input), try: "quench observe, then quench calibrate, with this model")
    }
    if !scaleLimits.contains(decision.scale) {
      decision.precision = .fp16
      decision.reason = "scale-underflow: \(decision.scale) is outside 2^-23...2^23"
    } else if wish?.precision == .fp16 {
      decision.precision = .fp16
      decision.reason = "override: fp16"
    } else if wish?.precision == nil, !options.allINT8,
      let pattern = options.keepFP16.first(where: { GlobPattern($0).matches(layer.name) })
    {
      decision.precision = .fp16
      decision.reason = "keepFP16: \(pattern)"
    }
    return decision
  }

  private mutating func measureShare(_ layers: [QuantizableLayer]) {
    let total = layers.reduce(0) { $0 + $1.macs }
    let kept = zip(layers, decisions).reduce(0) { sum, pair in
      sum + (pair.1.precision == .fp16 ? pair.0.macs : 0)
    }
    fp16Share = total == 0 ? 0 : Double(kept) / Double(total)
  }
}

// MARK: - Sensitive layers

extension PrecisionPlan {
  /// Moves the layers that the sensitivity table marks to FP16, as far as the limit allows.
  private mutating func addSensitive(
    _ layers: [QuantizableLayer], _ sensitivity: SensitivityTable, _ options: PrecisionOptions
  ) {
    var marked: [(index: Int, row: LayerSensitivity)] = []
    for row in sensitivity.layers where row.fp16 {
      guard let index = layers.firstIndex(where: { $0.name == row.name }),
        decisions[index].precision == .int8, options.overrides[row.name]?.precision != .int8
      else { continue }
      marked.append((index, row))
    }
    // Ties: the smaller name first, so that the order of the table means nothing.
    marked.sort { a, b in
      a.row.relativeError != b.row.relativeError
        ? a.row.relativeError > b.row.relativeError : a.row.name < b.row.name
    }
    measureShare(layers)
    let total = Double(layers.reduce(0) { $0 + $1.macs })
    let budget = options.maxFP16Share.map { ($0 - fp16Share) * total }
    // Infinite errors (a constant output) are capped, so that the others beside them still count.
    let chosen = Self.choose(
      marked.map { (min($0.row.relativeError, 1e6), layers[$0.index].macs) }, budget)
    for (item, isChosen) in zip(marked, chosen) {
      let why =
        item.row.reason
        ?? "relative error \(item.row.relativeError) is over \(sensitivity.threshold)"
      if isChosen {
        decisions[item.index].precision = .fp16
        decisions[item.index].reason = "sensitive: \(why)"
      } else {
        decisions[item.index].reason =
          "INT8 though sensitive (\(why)): maxFP16Share \(options.maxFP16Share ?? 0) is used up"
      }
    }
  }

  /// The subset with the largest sum of errors whose costs fit the budget (0/1 knapsack).
  ///
  /// Costs are rounded up on a grid of a thousandth of the budget, so the budget always holds. A
  /// strictly better sum replaces, so ties go to earlier items.
  /// - Complexity: O(1000 · items).
  static func choose(_ items: [(error: Double, macs: Int)], _ budget: Double?) -> [Bool] {
    guard let budget, budget < items.reduce(0, { $0 + Double($1.macs) }) else {
      return items.map { _ in true }
    }
    let steps = 1000
    let costs = items.map { item in
      if item.macs == 0 { return 0 }
      guard budget > 0 else { return steps + 1 }
      return Int(min(Double(steps + 1), (Double(item.macs) / budget * Double(steps)).rounded(.up)))
    }
    // best[c]: largest sum of errors at a cost of at most c.
    var best = [Double](repeating: 0, count: steps + 1)
    var taken = [[Bool]](
      repeating: [Bool](repeating: false, count: steps + 1), count: items.count)
    for (index, item) in items.enumerated() where costs[index] <= steps {
      for cost in stride(from: steps, through: costs[index], by: -1) {
        let sum = best[cost - costs[index]] + item.error
        if sum > best[cost] {
          best[cost] = sum
          taken[index][cost] = true
        }
      }
    }
    var chosen = items.map { _ in false }
    var left = steps
    for index in items.indices.reversed() where taken[index][left] {
      chosen[index] = true
      left -= costs[index]
    }
    return chosen
  }
}
