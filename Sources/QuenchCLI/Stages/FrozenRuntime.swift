// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: ONNX Runtime for the part of a network that fine-tuning cannot train.

internal import Diagnostics
internal import Finetuning
internal import Measurement
internal import ONNXModel

/// The frozen part of a network in ONNX Runtime.
final class FrozenRuntime: FrozenPart {
  private let runner: BatchRunner

  init(_ model: Model, threads: Int) throws(QuenchError) {
    runner = try BatchRunner(model, threads: threads)
  }

  func run(_ batch: [Float], count: Int) throws(QuenchError) -> [[Float]] {
    try runner.run(batch, count: count)
  }
}
