// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Finetuning

@Suite("Freezing of weights")
struct WeightFreezeTests {
  static func coded(_ values: [Float], scales: [Float] = [1], inner: Int = 1) -> CodedWeight {
    CodedWeight(
      index: 0, weight: Parameter(name: "w", kind: .weight, layers: ["c"], values: values),
      scales: Parameter(name: "w", kind: .weightScale, layers: ["c"], values: scales),
      inner: inner, high: 7)
  }

  @Test("the share is 0 until the start, then 1 − (1 − t)³, and 1 after nine tenths of the run")
  func course() {
    let freeze = WeightFreeze(start: 0.1)
    let shares = (0...1000).map { freeze.share(after: $0, of: 1000) }
    #expect(shares[...100].allSatisfy { $0 == 0 })
    let left = 1 - 1.0 / 200
    #expect(shares[104] == 1 - left * left * left && shares[103] == 0)
    #expect(shares[300] == 1 - 0.75 * 0.75 * 0.75)
    #expect(shares[500] == 0.875)
    #expect(shares[899] < 1)
    #expect(shares[900...].allSatisfy { $0 == 1 })
    #expect(shares == shares.sorted())
    #expect(Set(shares).count == WeightFreeze.rounds + 1)
  }

  @Test("a run of a step, a start at once and one after nine tenths have a course too")
  func shortCourses() {
    #expect(WeightFreeze(start: 0).share(after: 0, of: 1) == 0)
    #expect(WeightFreeze(start: 0).share(after: 1, of: 1) == 1)
    let late = WeightFreeze(start: 0.95)
    #expect(late.share(after: 94, of: 100) == 0)
    #expect(late.share(after: 95, of: 100) == 1)
  }

  @Test("the elements nearest to a code are frozen first; what lies beyond the codes is at one")
  func nearestFirst() {
    // Distances: 0.25, 0.125, 0 (beyond 7), 0.125, 0.5.
    let weight = Self.coded([1.25, -2.125, -9.5, 3.125, 0.5])
    var frozen = FrozenWeights(
      parameters: [weight.weight, Parameter(name: "b", kind: .bias, layers: ["c"], values: [1])],
      coded: [weight])
    let free = FrozenWeights.free
    frozen.freeze([weight], share: 0.2)
    #expect(frozen.codes == [[free, free, -7, free, free], []])
    // Of two as near the earlier.
    frozen.freeze([weight], share: 0.4)
    #expect(frozen.codes[0] == [free, -2, -7, free, free])
    // A code is kept, wherever the element is meanwhile; a smaller share thaws nothing.
    weight.weight.values[1] = 5
    frozen.freeze([weight], share: 0)
    frozen.freeze([weight], share: 0.8)
    #expect(frozen.codes[0] == [1, -2, -7, 3, free])
    // As the layer rounds: halves to even.
    frozen.freeze([weight], share: 1)
    #expect(frozen.codes[0] == [1, -2, -7, 3, 0])
  }

  @Test("frozen elements are held at their codes, of the scales as they are, channel by channel")
  func hold() {
    // [2][2][2] with a scale for each position of the middle axis.
    let weight = Self.coded(
      [0.5, 1, 4, 8, 1.5, 2, 12, 16], scales: [0.5, 4], inner: 2)
    var frozen = FrozenWeights(parameters: [weight.weight], coded: [weight])
    frozen.freeze([weight], share: 1)
    #expect(frozen.codes == [[1, 2, 1, 2, 3, 4, 3, 4]])
    weight.weight.values = [Float](repeating: 99, count: 8)
    weight.scales.values = [0.25, 8]
    frozen.hold([weight])
    #expect(weight.weight.values == [0.25, 0.5, 8, 16, 0.75, 1, 24, 32])
  }

  @Test(
    "a scale's slope is that of a sum over frozen codes, by difference; free elements add nothing")
  func scaleGradient() {
    // L = Σ gᵢ·wᵢ with wᵢ = cᵢ·s: the slope by s is Σ gᵢ·cᵢ, by differences too.
    let codes: [Float] = [1, -2, 7, 3, -7, 0]
    let gradient: [Float] = [0.5, 1, -0.25, 2, 0.125, 8]
    let scales: [Float] = [0.5, 2]
    let weight = Self.coded(
      zip(codes.indices, codes).map { $1 * scales[$0 / 3] }, scales: scales, inner: 3)
    var frozen = FrozenWeights(parameters: [weight.weight], coded: [weight])
    weight.weight.gradient = gradient
    weight.scales.gradient = [10, 20]
    frozen.addScaleGradients([weight])
    #expect(weight.scales.gradient == [10, 20])

    func loss(_ scales: [Float]) -> Double {
      weight.scales.values = scales
      frozen.hold([weight])
      return zip(weight.weight.values, gradient).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    frozen.freeze([weight], share: 1)
    frozen.addScaleGradients([weight])
    // LSQ's factor for 3 elements a scale and 7 codes.
    let factor = 1 / (3.0 * 7).squareRoot()
    let slopes = [
      (loss([0.75, 2]) - loss([0.25, 2])) / 0.5, (loss([0.5, 2.5]) - loss([0.5, 1.5])) / 1,
    ]
    #expect(slopes == [-3.25, 5.125])
    for (index, start) in [10.0, 20].enumerated() {
      #expect(abs(Double(weight.scales.gradient[index]) - start - slopes[index] * factor) < 1e-5)
    }
  }

  @Test("frozen elements' gradients count nowhere, not in the norm that is clipped either")
  func clippedNorm() {
    let weight = Self.coded([0.5, 1, 1.125, -0.25], scales: [0.5], inner: 4)
    var frozen = FrozenWeights(parameters: [weight.weight], coded: [weight])
    frozen.freeze([weight], share: 0.5)
    weight.weight.gradient = [30, 40, 3, 4]
    frozen.clearGradients([weight])
    #expect(weight.weight.gradient == [0, 0, 3, 4])
    #expect(Optimizer.clipFactor(.weights, [weight.weight], limit: 2.5) == 0.5)
  }

  @Test("what is held rounds to its code, for every code and scales of any size")
  func exact() {
    let codes = (-127...127).map(Float.init)
    for scale: Float in [1e-30, 0.1, 1.0 / 3, 0.0007312, 7e8] {
      let weight = CodedWeight(
        index: 0,
        weight: Parameter(name: "w", kind: .weight, layers: [], values: codes.map { $0 * scale }),
        scales: Parameter(name: "w", kind: .weightScale, layers: [], values: [scale]),
        inner: 1, high: 127)
      #expect(codes.indices.map { weight.position(of: $0).rounded() } == codes)
    }
  }

  @Test(
    "during a run ever more weights stand still, at the end all do, and the guard counts from then")
  func run() throws {
    var settings = TrainingRunTests.settings(epochs: 20)
    settings.weightFreeze = WeightFreeze(start: 0.25)
    settings.patience = 0
    let step: Float = 0.09375
    let network = TinyNetwork(step: step)
    var moved: [Int] = []
    var before = network.parameters[0].values
    let training = try TrainingRun(
      network, settings: settings, data: TinyNetwork.data(), teacher: .none, checkpoints: nil,
      identity: [])
    let outcome = try training.run { progress in
      let now = network.parameters[0].values
      let atCode = now.count { ($0 / step).rounded() * step == $0 }
      let share = settings.weightFreeze?.share(after: progress.step, of: progress.total) ?? 0
      #expect(atCode >= Int((12 * share).rounded()))
      moved.append(zip(before, now).count { $0 != $1 })
      before = now
    }
    let total = outcome.report.steps
    #expect(moved[..<(total / 4)].allSatisfy { $0 == 12 })
    #expect(moved[(total * 9 / 10 + 1)...].allSatisfy { $0 == 0 })
    #expect(outcome.keepsTuned)
  }

  @Test("epochs without gain count only when all weights are frozen")
  func patience() throws {
    // Weights at their codes and a rate that moves nothing: no epoch gains.
    var settings = TrainingRunTests.settings(epochs: 50, rate: 1e-30)
    settings.weightFreeze = WeightFreeze(start: 0.5)
    settings.scaleRate.peak = 0
    settings.patience = 3
    let (outcome, _) = try TrainingRunTests.run(settings, network: TinyNetwork(step: 0.125))
    #expect(outcome.report.epochs.count == 47)
  }
}
