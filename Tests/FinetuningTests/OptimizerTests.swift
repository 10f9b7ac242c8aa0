// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Finetuning

@Suite("Optimizer")
struct OptimizerTests {
  static func weight(_ values: [Float], _ gradient: [Float]) -> Parameter {
    let parameter = Parameter(name: "w", kind: .weight, layers: ["conv"], values: values)
    parameter.gradient = gradient
    return parameter
  }

  static func scale(_ values: [Float], _ gradient: [Float]) -> Parameter {
    let parameter = Parameter(
      name: "x", kind: .activationScale, layers: ["conv"], values: values,
      floors: values.map { $0 / 16 })
    parameter.gradient = gradient
    return parameter
  }

  @Test("SGD with momentum follows the textbook's two lines")
  func momentum() {
    let w = Self.weight([1], [2])
    var optimizer = Optimizer(
      weights: GroupSettings(rule: .sgd(momentum: 0.5)), scales: GroupSettings(rule: .adam),
      parameters: [w])
    optimizer.step(.weights, of: [w], rate: 0.125)
    #expect(w.values == [0.75])  // m = 2, w = 1 − 0.25
    optimizer.step(.weights, of: [w], rate: 0.125)
    #expect(w.values == [0.375])  // m = 1 + 2 = 3, w = 0.75 − 0.375
  }

  @Test("Adam's first step has the size of the rate, whatever the gradient's")
  func adam() {
    for slope: Float in [1e-6, 1, 1e6] {
      let w = Self.weight([1, 1], [slope, -slope])
      var optimizer = Optimizer(
        weights: GroupSettings(rule: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-12)),
        scales: GroupSettings(rule: .adam), parameters: [w])
      optimizer.step(.weights, of: [w], rate: 0.01)
      #expect(abs(w.values[0] - 0.99) < 1e-6)
      #expect(abs(w.values[1] - 1.01) < 1e-6)
    }
  }

  @Test("decay pulls weights, not biases, and is apart from Adam's gradient")
  func decay() {
    let w = Self.weight([2], [0])
    let b = Parameter(name: "b", kind: .bias, layers: ["conv"], values: [2])
    var sgd = Optimizer(
      weights: GroupSettings(rule: .sgd(momentum: 0), weightDecay: 0.5),
      scales: GroupSettings(rule: .adam), parameters: [w, b])
    sgd.step(.weights, of: [w, b], rate: 0.25)
    #expect(w.values == [1.75])
    #expect(b.values == [2])
    let v = Self.weight([2], [0])
    var adam = Optimizer(
      weights: GroupSettings(rule: .adam, weightDecay: 0.5), scales: GroupSettings(rule: .adam),
      parameters: [v])
    adam.step(.weights, of: [v], rate: 0.25)
    #expect(v.values == [1.75])
  }

  @Test("a gradient over its limit keeps its direction and takes the limit as its norm")
  func clipping() {
    let w = Self.weight([0, 0], [3, 4])
    var optimizer = Optimizer(
      weights: GroupSettings(rule: .sgd(momentum: 0), clipNorm: 1),
      scales: GroupSettings(rule: .adam), parameters: [w])
    optimizer.step(.weights, of: [w], rate: 1)
    #expect(abs(w.values[0] + 0.6) < 1e-6)
    #expect(abs(w.values[1] + 0.8) < 1e-6)
    let small = Self.weight([0], [0.5])
    #expect(Optimizer.clipFactor(.weights, [small], limit: 1) == 1)
  }

  @Test("scales move as log2, at most a tenth a step, never to zero")
  func scales() {
    // ∂L/∂log2 s = 8·0.5·ln 2; the step by SGD is rate times that.
    let s = Self.scale([0.5], [8])
    var optimizer = Optimizer(
      weights: GroupSettings(rule: .momentum), scales: GroupSettings(rule: .sgd(momentum: 0)),
      parameters: [s])
    optimizer.step(.scales, of: [s], rate: 0.01)
    let slope = 8 * 0.5 * 0.6931471805599453
    #expect(
      abs(Double(s.values[0]) - 0.5 * Elementary.exp(-0.01 * slope * 0.6931471805599453)) < 1e-7)

    let wild = Self.scale([1], [1e9])
    var other = Optimizer(
      weights: GroupSettings(rule: .momentum), scales: GroupSettings(rule: .sgd(momentum: 0)),
      parameters: [wild])
    for _ in 0..<100 {
      let before = wild.values[0]
      wild.gradient = [1e9]
      other.step(.scales, of: [wild], rate: 1)
      #expect(wild.values[0] >= before * 0.909)
    }
    #expect(wild.values[0] == 1.0 / 16)
  }

  @Test("a rate of zero changes neither parameters nor memory")
  func frozen() {
    let s = Self.scale([0.5], [8])
    var optimizer = Optimizer(
      weights: GroupSettings(rule: .momentum), scales: GroupSettings(rule: .adam), parameters: [s])
    let before = optimizer.states
    optimizer.step(.scales, of: [s], rate: 0)
    #expect(s.values == [0.5])
    #expect(optimizer.states == before)
  }

  @Test("a group's step leaves the other group alone")
  func groups() {
    let (w, s) = (Self.weight([1], [1]), Self.scale([1], [1]))
    var optimizer = Optimizer(
      weights: GroupSettings(rule: .momentum), scales: GroupSettings(rule: .adam),
      parameters: [w, s])
    optimizer.step(.weights, of: [w, s], rate: 0.5)
    #expect(w.values == [0.5])
    #expect(s.values == [1])
    optimizer.step(.scales, of: [w, s], rate: 0.01)
    #expect(w.values == [0.5])
    #expect(s.values[0] < 1)
  }
}
