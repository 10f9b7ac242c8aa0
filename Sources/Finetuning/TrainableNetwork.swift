// SPDX-License-Identifier: Apache-2.0
// Finetuning: what a training run asks of a network.

public import Diagnostics

/// A network with parameters, run forward and backward over batches.
public protocol TrainableNetwork: AnyObject {
  /// Everything that can train, in an order that never changes.
  var parameters: [Parameter] { get }
  /// The weights among them that layers read as codes.
  var codedWeights: [CodedWeight] { get }
  /// Numbers in one sample's result.
  var classes: Int { get }
  /// Numbers in one sample.
  var inputCount: Int { get }
  /// Logits `[count, classes]` of `count` samples.
  func forward(_ batch: [Float], count: Int, training: Bool) throws(QuenchError) -> [Float]
  /// Adds the gradients of all parameters, given those of the last logits.
  func backward(_ gradient: [Float])
  /// Sets all gradients to zero.
  func zeroGradients()
  /// The first tensor of the last pass that holds NaN or an infinity, by name.
  func firstNonFinite() -> String?
}

extension TrainableGraph: TrainableNetwork {}

extension TrainableNetwork {
  /// The scales in the order of the parameters, by names that tell the two kinds apart.
  var scaleParameters: [Parameter] {
    parameters.filter { ParameterGroup.of($0.kind) == .scales }
  }
}

extension Parameter {
  /// The name in reports.
  var title: String { kind == .weightScale ? "\(name) (weight)" : name }
}
