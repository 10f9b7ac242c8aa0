// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: ONNX Runtime for the part of a network that fine-tuning cannot train.

internal import Artifacts
internal import Diagnostics
internal import Finetuning
internal import Measurement
internal import ONNXModel

/// The frozen part of a network in ONNX Runtime.
///
/// It gives the same for the same sample in every epoch, so results are kept, by the sample's
/// content, until `heldBytes` are full.
final class FrozenRuntime: FrozenPart {
  let heldBytes = 64 << 20
  private let runner: BatchRunner
  private var held: [ContentDigest: [[Float]]] = [:]
  private var room: Int

  init(_ model: Model, threads: Int) throws(QuenchError) {
    runner = try BatchRunner(model, threads: threads)
    room = heldBytes
  }

  func run(_ batch: [Float], count: Int) throws(QuenchError) -> [[Float]] {
    let size = batch.count / count
    var keys: [ContentDigest] = []
    var missing: [Int] = []
    for sample in 0..<count {
      let part = batch[(sample * size)..<((sample + 1) * size)]
      let key = try ContentDigest.of(part.withUnsafeBytes { Array($0) })
      keys.append(key)
      if held[key] == nil { missing.append(sample) }
    }
    var fresh: [Int: [[Float]]] = [:]
    if !missing.isEmpty {
      let wanted =
        missing.count == count
        ? batch : missing.flatMap { batch[($0 * size)..<(($0 + 1) * size)] }
      let results = try runner.run(wanted, count: missing.count)
      for (position, sample) in missing.enumerated() {
        let own = results.map { values -> [Float] in
          let each = values.count / missing.count
          return Array(values[(position * each)..<((position + 1) * each)])
        }
        fresh[sample] = own
        keep(own, for: keys[sample])
      }
    }
    var all: [[Float]] = []
    for sample in 0..<count {
      let own = fresh[sample] ?? held[keys[sample]] ?? []
      if all.isEmpty { all = [[Float]](repeating: [], count: own.count) }
      for (index, values) in own.enumerated() { all[index] += values }
    }
    return all
  }

  private func keep(_ results: [[Float]], for key: ContentDigest) {
    let bytes = results.reduce(0) { $0 + 4 * $1.count }
    guard bytes <= room, held[key] == nil else { return }
    room -= bytes
    held[key] = results
  }
}
