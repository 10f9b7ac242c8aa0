// SPDX-License-Identifier: Apache-2.0
// Finetuning: how wrong the network is, and in which direction.

/// What training makes small.
public enum TrainingLoss: Sendable, Equatable, Codable {
  /// −ln p(label).
  case crossEntropy
  /// T²·KL(teacher ‖ student) of the class probabilities at temperature T; needs no labels.
  ///
  /// T² keeps the size of the gradient whatever the temperature (Hinton, Vinyals, Dean:
  /// Distilling the knowledge in a neural network, 2015).
  case distillation(temperature: Double)
  /// `share` of the cross entropy and the rest of the distillation.
  case both(share: Double, temperature: Double)

  /// Whether every sample must have a label.
  public var needsLabels: Bool { if case .distillation = self { false } else { true } }

  /// Whether the float model's outputs are needed.
  public var needsTeacher: Bool { self != .crossEntropy }

  /// The word in `quench.yaml`.
  public var name: String {
    switch self {
    case .crossEntropy: "crossEntropy"
    case .distillation: "distillation"
    case .both: "both"
    }
  }
}

/// Losses of a batch: sums in double, in the order of samples and classes, so that no thread count
/// or vector width can change a bit.
public enum BatchLoss {
  /// What one batch gives.
  public struct Result: Sendable, Equatable {
    /// The loss of each sample.
    public var losses: [Double]
    /// ∂(mean loss)/∂logits, `[count, classes]`.
    public var gradient: [Float]

    /// The mean over the batch.
    public var mean: Double { losses.reduce(0, +) / Double(max(1, losses.count)) }
  }

  /// Computes losses and, of their mean, the gradient.
  ///
  /// - Parameters:
  ///   - logits: the student's, `[count, classes]`.
  ///   - labels: one a sample where the loss needs them, each in 0..<classes.
  ///   - teacher: the float model's logits, like `logits`, where the loss needs them.
  /// - Precondition: the sizes fit.
  public static func evaluate(
    _ loss: TrainingLoss, logits: [Float], classes: Int, labels: [Int?], teacher: [Float]
  ) -> Result {
    precondition(classes > 0 && logits.count.isMultiple(of: classes), "whole rows of logits")
    let count = logits.count / classes
    precondition(!loss.needsLabels || labels.count == count, "one label a sample")
    precondition(!loss.needsTeacher || teacher.count == logits.count, "teacher's logits fit")
    var losses: [Double] = []
    losses.reserveCapacity(count)
    var gradient = [Float](repeating: 0, count: logits.count)
    for sample in 0..<count {
      let range = sample * classes..<(sample + 1) * classes
      var sum = 0.0
      func add(
        _ weight: Double, _ part: (value: Double, gradient: [Double])
      ) {
        sum += weight * part.value
        for (offset, slope) in part.gradient.enumerated() {
          gradient[range.lowerBound + offset] += Float(weight * slope / Double(count))
        }
      }
      switch loss {
      case .crossEntropy:
        add(1, crossEntropy(logits[range], label: labels[sample]))
      case .distillation(let temperature):
        add(1, distillation(logits[range], teacher[range], temperature))
      case .both(let share, let temperature):
        add(share, crossEntropy(logits[range], label: labels[sample]))
        add(1 - share, distillation(logits[range], teacher[range], temperature))
      }
      losses.append(sum)
    }
    return Result(losses: losses, gradient: gradient)
  }

  private static func crossEntropy(
    _ logits: ArraySlice<Float>, label: Int?
  ) -> (value: Double, gradient: [Double]) {
    guard let label, label >= 0, label < logits.count else {
      preconditionFailure("labels are checked before training starts")
    }
    var (gradient, logarithms) = softmax(logits, temperature: 1)
    gradient[label] -= 1
    return (-logarithms[label], gradient)
  }

  private static func distillation(
    _ logits: ArraySlice<Float>, _ teacher: ArraySlice<Float>, _ temperature: Double
  ) -> (value: Double, gradient: [Double]) {
    let student = softmax(logits, temperature: temperature)
    let wanted = softmax(teacher, temperature: temperature)
    var divergence = 0.0
    for index in wanted.shares.indices where wanted.shares[index] > 0 {
      divergence +=
        wanted.shares[index] * (wanted.logarithms[index] - student.logarithms[index])
    }
    let gradient = zip(student.shares, wanted.shares).map { ($0 - $1) * temperature }
    // Rounding can leave a tiny negative number where both agree.
    return (max(0, divergence) * temperature * temperature, gradient)
  }

  /// Class probabilities and their logarithms at a temperature.
  static func softmax(
    _ logits: ArraySlice<Float>, temperature: Double
  ) -> (shares: [Double], logarithms: [Double]) {
    // NaN is passed on: the run looks for it in the loss.
    let top = logits.reduce(-Double.infinity) { Swift.max($0, Double($1)) }
    let shifted = logits.map { (Double($0) - top) / temperature }
    let powers = shifted.map(Elementary.exp)
    let sum = powers.reduce(0, +)
    let logarithm = Elementary.log(sum)
    return (powers.map { $0 / sum }, shifted.map { $0 - logarithm })
  }

  /// The first class with the largest logit of each row; NaN is never larger.
  public static func topClasses(_ logits: [Float], classes: Int) -> [Int] {
    stride(from: 0, to: logits.count, by: classes).map { start in
      var best = 0
      for index in 1..<max(1, classes) where logits[start + index] > logits[start + best] {
        best = index
      }
      return best
    }
  }
}
