// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import Finetuning

@Suite("Losses")
struct LossTests {
  static let logits: [Float] = [1, -2, 0.5, 3, 3, -1]
  static let teacher: [Float] = [2, 0, -1, 0, 4, 1]

  @Test(
    "the gradient is the slope of the loss",
    arguments: [
      TrainingLoss.crossEntropy, .distillation(temperature: 1), .distillation(temperature: 3),
      .both(share: 0.3, temperature: 2),
    ])
  func gradient(loss: TrainingLoss) {
    func value(_ logits: [Float]) -> Double {
      BatchLoss.evaluate(
        loss, logits: logits, classes: 3, labels: [2, 0], teacher: Self.teacher
      ).mean
    }
    let result = BatchLoss.evaluate(
      loss, logits: Self.logits, classes: 3, labels: [2, 0], teacher: Self.teacher)
    for index in Self.logits.indices {
      // 1/256 is exact in float32, so the quotient's error is that of the central difference.
      var (up, down) = (Self.logits, Self.logits)
      up[index] += 1 / 256
      down[index] -= 1 / 256
      let slope = (value(up) - value(down)) * 128
      #expect(abs(slope - Double(result.gradient[index])) < 2e-5)
    }
  }

  @Test("cross entropy is the negative logarithm of the label's share")
  func crossEntropy() {
    let result = BatchLoss.evaluate(
      .crossEntropy, logits: [0, 0, 0, 0], classes: 4, labels: [1], teacher: [])
    #expect(abs(result.mean - log(4)) < 1e-15)
    #expect(result.gradient == [0.25, -0.75, 0.25, 0.25])
  }

  @Test("distillation is zero, with no slope, where the student equals the teacher")
  func same() {
    // Logits that differ by a constant are the same probabilities.
    let result = BatchLoss.evaluate(
      .distillation(temperature: 2), logits: Self.logits.map { $0 + 4 }, classes: 3,
      labels: [nil, nil], teacher: Self.logits)
    #expect(result.losses.allSatisfy { $0 < 1e-12 })
    #expect(result.gradient.allSatisfy { abs($0) < 1e-7 })
  }

  @Test("large logits overflow nothing")
  func large() {
    let result = BatchLoss.evaluate(
      .both(share: 0.5, temperature: 1), logits: [3e4, -3e4], classes: 2, labels: [1],
      teacher: [-3e4, 3e4])
    #expect(result.mean.isFinite)
    #expect(result.gradient == [1, -1])
  }

  @Test("NaN in the logits is NaN in the loss")
  func notANumber() {
    let result = BatchLoss.evaluate(
      .distillation(temperature: 1), logits: [.nan, 1], classes: 2, labels: [nil],
      teacher: [0, 0])
    #expect(result.gradient.contains { $0.isNaN })
  }

  @Test("the top class is the first of the largest")
  func topClass() {
    #expect(BatchLoss.topClasses([1, 3, 3, -1, -1, -2], classes: 3) == [1, 0])
  }

  @Test("own exponential, logarithm, cosine and power agree with the C library to the last places")
  func elementary() {
    for step in -7000...7000 {
      let x = Double(step) / 10.1
      #expect(abs(Elementary.exp(x) / exp(x) - 1) < 1e-14)
    }
    for exponent in -300...300 {
      let x = 1.2345 * pow(10, Double(exponent))
      #expect(abs(Elementary.log(x) - log(x)) <= 4e-16 * abs(log(x)))
    }
    #expect(abs(Elementary.log(1 + 1e-9) - log1p(1e-9)) < 1e-16)
    for step in 0...100 {
      let x = Double(step) / 100
      #expect(abs(Elementary.cosine(halfTurns: x) - cos(x * Double.pi)) < 1e-15)
    }
    #expect(abs(Elementary.power(0.999, 1000) - pow(0.999, 1000)) < 1e-14)
    #expect(Elementary.power(0.9, 0) == 1)
  }
}
