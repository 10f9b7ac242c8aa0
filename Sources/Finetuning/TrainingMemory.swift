// SPDX-License-Identifier: Apache-2.0
// Finetuning: whether a run fits the memory, told before it starts.

internal import Diagnostics
internal import Glibc

/// The memory that a run takes, about and on the high side.
struct TrainingMemory {
  /// The network with its activations, gradients and scratch, by batch.
  let network: (Int) -> Int
  /// Bytes for each trainable number beside the network's own: the optimizer's memory, the best
  /// epoch, codes of frozen weights and a checkpoint on its way to disk.
  let state: Int
  /// Decoded pictures and teacher's outputs.
  let data: Int

  /// Bytes of the process that are there without training.
  static let base = 40 << 20

  init(
    parameters: [Parameter], settings: TrainingSettings, data: Int,
    network: @escaping (Int) -> Int
  ) {
    self.network = network
    self.data = data
    let largest = parameters.lazy.filter { $0.kind == .weight }.map(\.count).max() ?? 0
    // The order in which weights are frozen: eight bytes for each of one weight.
    let order = settings.weightFreeze == nil ? 0 : 8 * largest
    state = parameters.reduce(order) { sum, parameter in
      let group = ParameterGroup.of(parameter.kind)
      let codes = settings.weightFreeze != nil && parameter.kind == .weight ? 1 : 0
      let slots = (group == .weights ? settings.weights : settings.scales).rule.slots
      // All once more in a checkpoint, with the values.
      return sum + 4 * parameter.count * (slots + 1 + codes + (1 + slots + 1 + codes))
    }
  }

  func bytes(batch: Int) -> Int { network(batch) + state + data + TrainingMemory.base }

  /// Refuses a run that does not fit.
  ///
  /// - Throws: `.work` naming the largest batch that would fit, if any does.
  func check(batch: Int, limit: Int) throws(QuenchError) {
    let wanted = bytes(batch: batch)
    guard wanted > limit else { return }
    // The largest that fits, by halving: bytes grow with the batch.
    var (fits, tooMany) = (0, batch)
    while tooMany - fits > 1 {
      let middle = (fits + tooMany) / 2
      if bytes(batch: middle) <= limit { fits = middle } else { tooMany = middle }
    }
    let remedy =
      fits > 0
      ? "finetune: {batch: \(fits)}, or a larger memoryLimit"
      : "a larger memoryLimit: even a batch of 1 takes \(TrainingMemory.mebibytes(bytes(batch: 1)))"
    throw QuenchError(
      .work,
      "training with batches of \(batch) takes about \(TrainingMemory.mebibytes(wanted)), more than "
        + "the \(TrainingMemory.mebibytes(limit)) there are", try: remedy)
  }

  private static func mebibytes(_ bytes: Int) -> String { "\((bytes + (1 << 20) - 1) >> 20) MiB" }
}
