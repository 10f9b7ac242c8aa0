// SPDX-License-Identifier: Apache-2.0
// Measurement: two models' answers to one sample.

internal import Calibration
internal import Datasets
internal import Diagnostics

/// What two classifiers said about one sample.
struct ClassComparison: Sendable {
  /// Both name the same class.
  var agrees: Bool
  /// Whether each was right; nil without a label.
  var rightOfReference: (top1: Bool, top5: Bool)?
  var rightOfCandidate: (top1: Bool, top5: Bool)?

  init(
    _ exact: UnsafeBufferPointer<Float>, _ approximate: UnsafeBufferPointer<Float>,
    sample: Sample
  ) throws(QuenchError) {
    agrees = ClassComparison.best(exact) == ClassComparison.best(approximate)
    guard let label = sample.label else { return }
    guard exact.indices.contains(label) else {
      throw QuenchError(
        .data,
        "the label \(label) of sample \"\(sample.name)\" is none of the \(exact.count) classes",
        at: .file(sample.path), try: "set `labelOffset:` or mend the labels")
    }
    rightOfReference = ClassComparison.right(exact, label)
    rightOfCandidate = ClassComparison.right(approximate, label)
  }

  /// The class with the largest number; of equal ones the first.
  static func best(_ scores: UnsafeBufferPointer<Float>) -> Int {
    var best = 0
    for index in scores.indices where scores[index] > scores[best] { best = index }
    return best
  }

  /// Whether the label is the first, and whether it is among the first five; of equal scores the
  /// smaller class goes first.
  static func right(
    _ scores: UnsafeBufferPointer<Float>, _ label: Int
  ) -> (top1: Bool, top5: Bool) {
    var ahead = 0
    for index in scores.indices
    where scores[index] > scores[label] || (scores[index] == scores[label] && index < label) {
      ahead += 1
    }
    return (ahead == 0, ahead < 5)
  }
}

/// The comparison of one sample.
struct SampleComparison: Sendable {
  /// One for each compared tensor.
  var tensors: [ErrorAccumulator] = []
  /// The class scores, each side's mean taken off. An offset that all classes share is ignored by
  /// Softmax, but it can be most of the energy of the scores.
  var centered = ErrorAccumulator()
  /// nil when the model is no classifier.
  var classes: ClassComparison?

  /// Scores without their mean, which is taken in double.
  static func centered(_ scores: UnsafeBufferPointer<Float>) -> [Float] {
    var sum = 0.0
    for score in scores { sum += Double(score) }
    let mean = sum / Double(max(1, scores.count))
    return scores.map { Float(Double($0) - mean) }
  }
}
