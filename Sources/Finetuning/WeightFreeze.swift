// SPDX-License-Identifier: Apache-2.0
// Finetuning: freezing weights at their codes, a few at a time, while the others learn on.

/// When weights are frozen, and how many of them.
///
/// With few bits, weights near the border of two codes jump between them until the last step: a
/// small step of the weight is a large one of what the layer computes with, and no rate is small
/// enough to end it. A weight that is frozen at its code jumps no more, and what that costs the
/// weights that still learn make up for. At first many are frozen at a time, then ever fewer: the
/// last ones have most to make up for. After nine tenths of the run all are frozen.
///
/// Sources: Zhou et al., "Incremental Network Quantization", ICLR 2017, for quantizing weights in
/// parts while the rest is retrained; Nagel et al., "Overcoming Oscillations in
/// Quantization-Aware Training", ICML 2022, for freezing as the remedy for jumping weights. The
/// cubic course is that of Zhu and Gupta, "To prune, or not to prune", 2017.
public struct WeightFreeze: Sendable, Equatable, Codable {
  /// Share of the steps after which the first weights are frozen, 0 up to below 1.
  public var start: Double

  /// Share of the steps after which all are.
  static let end = 0.9
  /// Times at which some are frozen: choosing them takes longer than a step.
  static let rounds = 200

  /// The number of steps after which the first are frozen.
  func firstStep(of total: Int) -> Int { LearningRate.firstStep(from: start, of: total) }

  /// The number of steps after which all are frozen.
  func lastStep(of total: Int) -> Int {
    max(firstStep(of: total), LearningRate.firstStep(from: WeightFreeze.end, of: total))
  }

  /// Share of the weights that are frozen after so many steps: 1 − (1 − t)³ with t from 0 to 1
  /// between the first and the last step, in 200 parts.
  func share(after step: Int, of total: Int) -> Double {
    let (first, last) = (firstStep(of: total), lastStep(of: total))
    guard step < last else { return 1 }
    guard step > first else { return 0 }
    let round = (step - first) * WeightFreeze.rounds / (last - first)
    let left = 1 - Double(round) / Double(WeightFreeze.rounds)
    return 1 - left * left * left
  }
}

/// A weight and the codes that a layer reads it as.
public struct CodedWeight {
  /// The position of the weight among the network's parameters.
  let index: Int
  let weight: Parameter
  let scales: Parameter
  /// Neighboring elements that share a scale.
  let inner: Int
  /// The largest code; the smallest is its negative.
  let high: Float

  func scale(of element: Int) -> Float {
    scales.values[channel(of: element)]
  }

  /// The position of an element's scale.
  func channel(of element: Int) -> Int { element / inner % scales.count }

  /// The element in steps of its scale, within the codes; not rounded.
  func position(of element: Int) -> Float {
    max(-high, min(high, weight.values[element] / scale(of: element)))
  }
}

/// The weights that are frozen, and where.
struct FrozenWeights: Sendable, Equatable {
  /// Of each parameter nothing, or of each element its code; `free` while it learns.
  private(set) var codes: [[Float]]

  static let free = Float.infinity

  /// Nothing is frozen yet.
  init(parameters: [Parameter], coded: [CodedWeight]) {
    codes = parameters.map { _ in [] }
    for weight in coded {
      codes[weight.index] = [Float](repeating: FrozenWeights.free, count: weight.weight.count)
    }
  }

  /// Continues with the codes of a checkpoint.
  init(codes: [[Float]]) { self.codes = codes }

  /// Freezes elements of each weight, those nearest to a code first, until `share` of it is frozen.
  mutating func freeze(_ coded: [CodedWeight], share: Double) {
    for weight in coded {
      let wanted = Int((share * Double(weight.weight.count)).rounded())
      let frozen = codes[weight.index].count { $0 != FrozenWeights.free }
      guard wanted > frozen else { continue }
      // The distance's bits above the element's number: distances are not negative, so they
      // are in the order of their bits, and the earlier of two elements as near goes first.
      var order: [UInt64] = []
      order.reserveCapacity(weight.weight.count - frozen)
      for element in 0..<weight.weight.count
      where codes[weight.index][element] == FrozenWeights.free {
        let position = weight.position(of: element)
        let distance = (position - position.rounded(.toNearestOrEven)).magnitude
        order.append(UInt64(distance.bitPattern) << 32 | UInt64(element))
      }
      order.sort()
      for key in order.prefix(wanted - frozen) {
        let element = Int(key & 0xffff_ffff)
        codes[weight.index][element] = weight.position(of: element).rounded(.toNearestOrEven)
      }
    }
  }

  /// Adds to the gradients of scales what frozen elements ask of them.
  ///
  /// An element is code · s, so by s it is the code; the straight-through gradient of LSQ, which is
  /// the code less w / s, is 0 for it.
  func addScaleGradients(_ coded: [CodedWeight]) {
    for weight in coded {
      let codes = codes[weight.index]
      let count = weight.scales.count
      var slopes = [Double](repeating: 0, count: count)
      for element in codes.indices where codes[element] != FrozenWeights.free {
        slopes[weight.channel(of: element)] +=
          Double(weight.weight.gradient[element]) * Double(codes[element])
      }
      let factor = FakeQuantizeRange(low: Double(-weight.high), high: Double(weight.high))
        .gradientFactor(elements: codes.count / count)
      for index in 0..<count { weight.scales.gradient[index] += Float(slopes[index] * factor) }
    }
  }

  /// Takes away what moves nothing: it would only count in the norm that is clipped.
  func clearGradients(_ coded: [CodedWeight]) {
    for weight in coded {
      let codes = codes[weight.index]
      for element in codes.indices where codes[element] != FrozenWeights.free {
        weight.weight.gradient[element] = 0
      }
    }
  }

  /// Puts frozen elements back to their codes, of the scales as they are now.
  func hold(_ coded: [CodedWeight]) {
    for weight in coded {
      let codes = codes[weight.index]
      for element in codes.indices where codes[element] != FrozenWeights.free {
        weight.weight.values[element] = codes[element] * weight.scale(of: element)
      }
    }
  }
}
