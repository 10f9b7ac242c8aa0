// SPDX-License-Identifier: Apache-2.0
// Finetuning: from gradients to new weights, biases and scales.

/// A rule by which parameters follow their gradients.
public enum OptimizerRule: Sendable, Equatable, Codable {
  /// `m ← μ·m + g; w ← w − r·m`, with `g` after decay `g + d·w`.
  case sgd(momentum: Double)
  /// Adam with decoupled decay (Loshchilov, Hutter: Decoupled weight decay regularization, 2019).
  case adamW(beta1: Double, beta2: Double, epsilon: Double)

  /// SGD with momentum 0.9.
  public static let momentum = OptimizerRule.sgd(momentum: 0.9)
  /// AdamW with the paper's constants.
  public static let adam = OptimizerRule.adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8)

  /// Numbers kept for each element of a parameter.
  var slots: Int { if case .sgd = self { 1 } else { 2 } }
}

/// The parameters that are stepped alike.
public enum ParameterGroup: String, Sendable, Codable, CaseIterable {
  /// Weights and biases.
  case weights
  /// The steps of the fake quantizers, learned as log₂.
  case scales

  /// The group of a kind.
  public static func of(_ kind: ParameterKind) -> ParameterGroup {
    switch kind {
    case .weight, .bias: .weights
    case .activationScale, .weightScale: .scales
    }
  }
}

/// How one group is stepped.
public struct GroupSettings: Sendable, Equatable, Codable {
  /// The rule.
  public var rule: OptimizerRule
  /// Pulls weights (never biases or scales) towards 0.
  public var weightDecay: Double
  /// The largest Euclidean norm of the group's gradient; 0 for no limit.
  public var clipNorm: Double

  /// Makes settings; the reader of options checks that nothing is negative.
  public init(rule: OptimizerRule, weightDecay: Double = 0, clipNorm: Double = 0) {
    self.rule = rule
    self.weightDecay = weightDecay
    self.clipNorm = clipNorm
  }
}

/// What an optimizer remembers of one parameter.
package struct ParameterState: Sendable, Equatable {
  /// One array of the parameter's size for each slot of the rule.
  var slots: [[Float]]
  /// Steps taken; scales begin to count when they are released.
  var steps = 0
}

/// Steps parameters group by group. All that it remembers is in `states`.
package struct Optimizer: Sendable {
  let weights: GroupSettings
  let scales: GroupSettings
  /// In the order of the parameters.
  var states: [ParameterState]

  /// The largest change of a scale in one step, as log₂: about 10 %.
  static let largestScaleStep = 0.1375

  package init(weights: GroupSettings, scales: GroupSettings, parameters: [Parameter]) {
    self.weights = weights
    self.scales = scales
    states = parameters.map { parameter in
      let rule = ParameterGroup.of(parameter.kind) == .weights ? weights.rule : scales.rule
      return ParameterState(
        slots: Array(
          repeating: [Float](repeating: 0, count: parameter.count), count: rule.slots))
    }
  }

  func settings(of group: ParameterGroup) -> GroupSettings {
    group == .weights ? weights : scales
  }

  /// Steps all parameters of a group.
  ///
  /// A rate of 0 leaves parameters and memory alone: that is what frozen means.
  package mutating func step(_ group: ParameterGroup, of parameters: [Parameter], rate: Double) {
    guard rate > 0 else { return }
    precondition(parameters.count == states.count, "an optimizer belongs to its parameters")
    let settings = settings(of: group)
    if group == .scales { for parameter in parameters { Optimizer.toLogarithmic(parameter) } }
    let factor = Optimizer.clipFactor(group, parameters, limit: settings.clipNorm)
    for (index, parameter) in parameters.enumerated()
    where ParameterGroup.of(parameter.kind) == group {
      states[index].steps += 1
      switch group {
      case .weights:
        let decay = parameter.kind == .weight ? settings.weightDecay : 0
        Optimizer.apply(
          settings.rule, &states[index], &parameter.values, parameter.gradient,
          rate: rate, decay: decay, gradientFactor: factor)
      case .scales:
        // The rule works on log₂ s, from 0: only the difference counts.
        var moves = [Float](repeating: 0, count: parameter.count)
        Optimizer.apply(
          settings.rule, &states[index], &moves, parameter.gradient,
          rate: rate, decay: 0, gradientFactor: factor)
        for position in moves.indices {
          let move = min(largestStep, max(-largestStep, Double(moves[position])))
          let scale = Double(parameter.values[position]) * Elementary.exp(move * Elementary.ln2)
          parameter.values[position] = Float(scale)
        }
        parameter.applyBounds()
      }
    }
  }

  private var largestStep: Double { Optimizer.largestScaleStep }

  /// ∂L/∂log₂ s = ∂L/∂s · s · ln 2.
  private static func toLogarithmic(_ parameter: Parameter) {
    guard ParameterGroup.of(parameter.kind) == .scales else { return }
    for index in 0..<parameter.count {
      parameter.gradient[index] = Float(
        Double(parameter.gradient[index]) * Double(parameter.values[index]) * Elementary.ln2)
    }
  }

  /// What the group's gradients are multiplied by so that their norm keeps the limit.
  static func clipFactor(
    _ group: ParameterGroup, _ parameters: [Parameter], limit: Double
  ) -> Float {
    guard limit > 0 else { return 1 }
    var sum = 0.0
    for parameter in parameters where ParameterGroup.of(parameter.kind) == group {
      for slope in parameter.gradient { sum += Double(slope) * Double(slope) }
    }
    let norm = sum.squareRoot()
    return norm > limit ? Float(limit / norm) : 1
  }

  /// One step of a rule over the elements of a parameter, each on its own.
  static func apply(
    _ rule: OptimizerRule, _ state: inout ParameterState, _ values: inout [Float],
    _ gradient: [Float], rate: Double, decay: Double, gradientFactor: Float
  ) {
    let count = values.count
    precondition(gradient.count == count && state.slots[0].count == count, "one slope an element")
    let rate32 = Float(rate)
    let decay32 = Float(decay)
    switch rule {
    case .sgd(let momentum):
      let momentum32 = Float(momentum)
      state.slots[0].withUnsafeMutableBufferPointer { memory in
        values.withUnsafeMutableBufferPointer { values in
          gradient.withUnsafeBufferPointer { gradient in
            for index in 0..<count {
              let slope = gradient[index] * gradientFactor + decay32 * values[index]
              memory[index] = momentum32 * memory[index] + slope
              values[index] -= rate32 * memory[index]
            }
          }
        }
      }
    case .adamW(let beta1, let beta2, let epsilon):
      // Corrections for the zeros that memory began with.
      let first = Float(1 - Elementary.power(beta1, state.steps))
      let second = Float(1 - Elementary.power(beta2, state.steps))
      let (keep1, keep2) = (Float(beta1), Float(beta2))
      let (new1, new2) = (Float(1 - beta1), Float(1 - beta2))
      let epsilon32 = Float(epsilon)
      for index in 0..<count {
        let slope = gradient[index] * gradientFactor
        let mean = keep1 * state.slots[0][index] + new1 * slope
        let square = keep2 * state.slots[1][index] + new2 * slope * slope
        state.slots[0][index] = mean
        state.slots[1][index] = square
        let direction = (mean / first) / ((square / second).squareRoot() + epsilon32)
        values[index] -= rate32 * (direction + decay32 * values[index])
      }
    }
  }
}
