// SPDX-License-Identifier: Apache-2.0
// Measurement: a model of batch 1 over many samples at once.

public import Diagnostics
public import ONNXModel
internal import ONNXRuntime
internal import Synchronization
internal import Tensors

/// Runs a model of batch 1, with one float32 input and float32 outputs, over the samples of a batch,
/// side by side. The results do not depend on the threads.
public final class BatchRunner: Sendable {
  private let session: Session
  private let input: String
  private let shape: [Int]
  private let outputs: [String]
  private let threads: Int

  /// Opens the model in ONNX Runtime, with the settings of observing and evaluating.
  ///
  /// - Throws: `.unavailable` without ONNX Runtime; `.data` when the model does not have one input
  ///   of a fixed shape or ONNX Runtime refuses it.
  public init(_ model: Model, threads: Int) throws(QuenchError) {
    let inputs = model.graph.freeInputs
    guard inputs.count == 1, let shape = inputs[0].fixedShape else {
      throw QuenchError(.data, "the model does not have one input of a fixed shape")
    }
    session = try Session(RuntimeLibrary.load(), model: model.encode())
    input = inputs[0].name
    self.shape = shape
    outputs = model.graph.outputs.map(\.name)
    self.threads = max(1, threads)
  }

  /// Runs samples that lie one after the other.
  ///
  /// - Returns: for each output of the model, in its order, the results one after the other.
  /// - Throws: the error of the first sample that fails.
  public func run(_ batch: [Float], count: Int) throws(QuenchError) -> [[Float]] {
    let size = shape.reduce(1, *)
    precondition(batch.count == count * size, "whole samples")
    let results = Mutex([Result<[[Float]], QuenchError>?](repeating: nil, count: count))
    let next = Atomic(0)
    Workers.run(min(threads, max(1, count))) { [session, input, shape, outputs] _ in
      while true {
        let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard index < count else { return }
        let result = Result { () throws(QuenchError) -> [[Float]] in
          let sample = Tensor(
            floats: Array(batch[(index * size)..<((index + 1) * size)]), shape: shape)
          return try session.run([input: sample], outputs: outputs).map(\.floats)
        }
        results.withLock { $0[index] = result }
      }
    }
    var all = [[Float]](repeating: [], count: outputs.count)
    for result in results.withLock({ $0 }) {
      guard let result else { continue }
      for (index, values) in try result.get().enumerated() { all[index] += values }
    }
    return all
  }
}
