// SPDX-License-Identifier: Apache-2.0
// Finetuning: the part of a network that does not train, run by someone else.

public import Diagnostics
public import ONNXModel

/// Runs the frozen part of a network. Finetuning knows no runtime: whoever starts a run brings one.
public protocol FrozenPart: AnyObject {
  /// Computes the model's outputs of some samples.
  ///
  /// - Parameter batch: `count` samples, each in the layout of the model's input.
  /// - Returns: for each output of the model, in its order, `count` results one after the other.
  ///   The same samples must give the same bytes.
  func run(_ batch: [Float], count: Int) throws(QuenchError) -> [[Float]]
  /// Bytes of results that it may come to hold.
  var heldBytes: Int { get }
}

extension FrozenPart {
  /// Holds nothing.
  public var heldBytes: Int { 0 }
}

/// Opens a model of batch 1 with one float32 input and float32 outputs.
public typealias FrozenPartOpener = (Model) throws(QuenchError) -> any FrozenPart
