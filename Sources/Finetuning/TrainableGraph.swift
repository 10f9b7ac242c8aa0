// SPDX-License-Identifier: Apache-2.0
// Finetuning: a folded ONNX network that can be run forward and backward.

public import Calibration
public import Diagnostics
public import ONNXModel
public import Quantization

/// How a `TrainableGraph` computes.
public struct TrainableGraphOptions: Sendable {
  /// Threads that share the work; the results do not depend on it. At least 1.
  public var threads = 1
  /// Bits of weight codes, 2...8; codes −(2^(b−1) − 1)...2^(b−1) − 1.
  public var weightBits = 8
  /// Bits of activation codes, 2...8.
  public var activationBits = 8

  /// The defaults: one thread, 8 bits.
  public init(threads: Int = 1, weightBits: Int = 8, activationBits: Int = 8) {
    self.threads = threads
    self.weightBits = weightBits
    self.activationBits = activationBits
  }
}

/// What a trained graph comes to.
public struct TrainedModel: Sendable {
  /// The folded model with the trained weights and biases.
  public var model: Model
  /// The scales, ready for `QuantizeGraph`. `model` (the digest) is left as it was: the caller
  /// writes the model and knows the new one.
  public var scales: ScaleTable?
  /// The configuration with the trained scales in its lines; nil when there was none.
  public var config: CalibrationConfig?
}

/// A folded ONNX network with fake quantization, run forward and backward over batches.
///
/// Every sample is computed as the network, whose batch is 1, computes it; a batch is many of them.
/// The same input gives the same bytes, whatever the threads and the instruction set.
/// Not safe to share between threads.
public final class TrainableGraph {
  /// Everything that can train, in graph order: of each layer weight, bias, scales.
  public let parameters: [Parameter]
  /// Numbers in one sample's result.
  public let classes: Int
  /// Numbers in one sample.
  public let inputCount: Int

  /// Builds the graph.
  ///
  /// - Parameters:
  ///   - model: a folded model: batch 1, one float32 input, one float32 output. A last Softmax is
  ///     left out, so that the result is logits.
  ///   - config: which layers are INT8 and the quantizers of their inputs; nil with `scales`: all
  ///     that have scales.
  ///   - scales: the scales of weights; nil with `config` nil: no fake quantization at all.
  /// - Throws: `.data` when an operator has no rule (named, with its place), or what
  ///   `QuantizedModel.resolve` throws.
  public init(
    _ model: Model, config: CalibrationConfig?, scales: ScaleTable?,
    options: TrainableGraphOptions = TrainableGraphOptions()
  ) throws(QuenchError) {
    throw QuenchError(.unavailable, "the tape is not in this version")
  }

  /// Which layers of a folded model train, and what stands in the way of others.
  ///
  /// - Throws: what shape inference throws.
  public static func check(_ model: Model) throws(QuenchError) -> TrainingPlan {
    throw QuenchError(.unavailable, "the tape is not in this version")
  }

  /// Bytes that training with batches of `count` takes: parameters, activations, gradients and
  /// scratch, about; on the high side.
  public func estimatedBytes(count: Int) -> Int { 0 }

  /// Computes logits, and keeps what `backward` needs.
  ///
  /// - Parameters:
  ///   - batch: `count` samples, each in the layout of the model's input (NCHW for images).
  ///   - training: false when no `backward` follows.
  /// - Returns: `[count, classes]`.
  /// - Throws: `.data` when `batch` does not hold `count` samples.
  public func forward(
    _ batch: [Float], count: Int, training: Bool
  ) throws(QuenchError) -> [Float] {
    []
  }

  /// Adds the gradients of all parameters, given those of the logits of the last `forward`.
  ///
  /// - Parameter gradient: `[count, classes]`.
  /// - Precondition: the last `forward` was for training.
  public func backward(_ gradient: [Float]) {}

  /// Sets all gradients to zero.
  public func zeroGradients() {
    for parameter in parameters {
      for index in 0..<parameter.count { parameter.gradient[index] = 0 }
    }
  }

  /// The first parameter or intermediate result of the last `forward` that holds NaN or an
  /// infinity, by the name of its tensor; nil when all are finite.
  public func firstNonFinite() -> String? { nil }

  /// The model and the scales as they are now.
  ///
  /// Fewer than 8 bits of weights: the model holds the rounded weights, which are the same codes
  /// in INT8.
  /// - Throws: `.usage` with fewer than 8 bits of activations, which the QDQ model cannot say.
  public func exported() throws(QuenchError) -> TrainedModel {
    throw QuenchError(.unavailable, "the tape is not in this version")
  }
}
