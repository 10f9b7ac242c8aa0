// SPDX-License-Identifier: Apache-2.0
// Finetuning: what the float network says about the samples.

internal import Datasets
public import Diagnostics

/// The float network's outputs, for distillation and for agreement.
public struct Teacher {
  private enum Source {
    case none
    /// Logits of all samples, in their order.
    case cached([Float], classes: Int)
    /// Asked anew for every batch, because pictures are changed.
    case live(any TrainableNetwork)
  }

  private let source: Source

  /// No teacher: labels alone.
  public static var none: Teacher { Teacher(source: .none) }

  /// A teacher for a run.
  ///
  /// Without augmentation its outputs are computed once and the network is let go.
  /// - Parameters:
  ///   - network: the float network.
  ///   - batch: samples a pass.
  ///   - progress: called after each pass with samples done and in all.
  /// - Throws: what decoding samples and running the network throw.
  public static func make(
    _ network: any TrainableNetwork, data: TrainingData, augmentation: Augmentation, batch: Int,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(QuenchError) -> Teacher {
    if augmentation.isOn { return Teacher(source: .live(network)) }
    var logits: [Float] = []
    logits.reserveCapacity(data.samples.count * network.classes)
    for start in stride(from: 0, to: data.samples.count, by: batch) {
      let indices = Array(start..<min(start + batch, data.samples.count))
      logits += try network.forward(
        try data.pictures(indices), count: indices.count, training: false)
      progress(indices.count + start, data.samples.count)
    }
    guard logits.allSatisfy(\.isFinite) else {
      throw QuenchError(
        .data, "the float network gives NaN or an infinity",
        at: network.firstNonFinite().map { .tensor($0) })
    }
    return Teacher(source: .cached(logits, classes: network.classes))
  }

  /// How many of the held-back samples the float network names as their labels do.
  ///
  /// - Returns: nil without labels or cached outputs.
  func rightClasses(_ data: TrainingData) -> (right: Int, of: Int)? {
    guard data.isLabelled, case .cached(let logits, let classes) = source else { return nil }
    let right = data.heldBack.count { index in
      let row = Array(logits[index * classes..<(index + 1) * classes])
      return BatchLoss.topClasses(row, classes: classes) == [data.samples[index].label]
    }
    return (right, data.heldBack.count)
  }

  /// Whether there is one.
  var isThere: Bool { if case .none = source { false } else { true } }

  /// The logits of some samples; empty without a teacher.
  ///
  /// - Parameter pictures: as the student sees them.
  func logits(_ indices: [Int], pictures: [Float]) throws(QuenchError) -> [Float] {
    switch source {
    case .none: return []
    case .cached(let logits, let classes):
      return indices.flatMap { logits[$0 * classes..<($0 + 1) * classes] }
    case .live(let network):
      return try network.forward(pictures, count: indices.count, training: false)
    }
  }
}
