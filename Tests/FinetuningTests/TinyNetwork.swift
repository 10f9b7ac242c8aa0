// SPDX-License-Identifier: Apache-2.0

import Datasets
import Diagnostics
import Tensors

@testable import Finetuning

/// A linear classifier with one fake scale: logits = s·W·x, gradients written out by hand. With a
/// step W is read as codes of 4 bits.
///
/// What `TrainingRun` needs of a network and nothing more, in exact and obvious arithmetic.
final class TinyNetwork: TrainableNetwork {
  let classes = 3
  let inputCount = 4
  let parameters: [Parameter]
  let codedWeights: [CodedWeight]
  private var input: [Float] = []
  private var count = 0
  /// Turns the numbers of this forward pass, from 0, into NaN.
  var failsAtPass: Int?
  private var passes = 0

  init(
    weights: [Float] = (0..<12).map { Float(($0 * 7) % 5) * 0.125 - 0.25 }, step: Float? = nil
  ) {
    let weight = Parameter(name: "w", kind: .weight, layers: ["fc"], values: weights)
    parameters = [
      weight,
      Parameter(
        name: "x", kind: .activationScale, layers: ["fc"], values: [1], floors: [1.0 / 16]),
    ]
    codedWeights =
      step.map { step in
        let scale = Parameter(name: "w", kind: .weightScale, layers: ["fc"], values: [step])
        return [CodedWeight(index: 0, weight: weight, scales: scale, inner: 1, high: 7)]
      } ?? []
  }

  func forward(_ batch: [Float], count: Int, training: Bool) throws(QuenchError) -> [Float] {
    defer { passes += 1 }
    input = batch
    self.count = count
    let (w, s) = (weights, parameters[1].values[0])
    var logits = [Float](repeating: 0, count: count * classes)
    for sample in 0..<count {
      for row in 0..<classes {
        var sum: Float = 0
        for column in 0..<inputCount {
          sum += w[row * inputCount + column] * batch[sample * inputCount + column]
        }
        logits[sample * classes + row] = failsAtPass == passes ? .nan : s * sum
      }
    }
    return logits
  }

  func backward(_ gradient: [Float]) {
    let (w, s) = (weights, parameters[1].values[0])
    for sample in 0..<count {
      for row in 0..<classes {
        let slope = gradient[sample * classes + row]
        for column in 0..<inputCount {
          let x = input[sample * inputCount + column]
          parameters[0].gradient[row * inputCount + column] += s * slope * x
          parameters[1].gradient[0] += slope * w[row * inputCount + column] * x
        }
      }
    }
  }

  /// What the layer computes with.
  private var weights: [Float] {
    let values = parameters[0].values
    guard let step = codedWeights.first?.scales.values[0] else { return values }
    return values.map { max(-7, min(7, ($0 / step).rounded(.toNearestOrEven))) * step }
  }

  func zeroGradients() {
    for parameter in parameters {
      parameter.gradient = [Float](repeating: 0, count: parameter.count)
    }
  }

  func firstNonFinite() -> String? { "w" }

  /// Samples whose class a linear network can learn.
  static func samples(_ count: Int, labelled: Bool = true) -> [Sample] {
    (0..<count).map { Sample(path: "photo\($0).png", label: labelled ? label($0) : nil) }
  }

  private static func number(_ sample: String) -> Int {
    Int(sample.dropFirst(5).prefix { $0 != "." }) ?? 0
  }

  static func picture(_ sample: Sample) -> Tensor {
    let index = number(sample.path)
    let random = CounterRandom(seed: 99)
    let floats = (0..<4).map { draw in
      Float(random.number(below: 2001, .augmentation, epoch: 0, index: index, draw: draw) - 1000)
        / 500
    }
    return Tensor(floats: floats, shape: [1, 4])
  }

  private static func label(_ index: Int) -> Int {
    let x = picture(Sample(path: "photo\(index).png")).floats
    return x[0] > 0.5 ? 0 : x[1] > x[2] ? 1 : 2
  }

  static func data(
    _ count: Int = 120, labelled: Bool = true, share: Double = 0.2
  ) throws -> TrainingData {
    try TrainingData(samples(count, labelled: labelled), heldBackShare: share) {
      sample throws(QuenchError) in picture(sample)
    }
  }
}
