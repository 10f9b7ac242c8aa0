// SPDX-License-Identifier: Apache-2.0
// Finetuning: a tensor of numbers that training may change.

/// What a parameter is; the optimizer groups by it.
public enum ParameterKind: String, Sendable, Codable, CaseIterable {
  /// The weight of a layer, or a constant factor of more than one element.
  case weight
  /// The bias of a layer, or a constant addend of more than one element.
  case bias
  /// The step of the fake quantizer of an activation: one element.
  case activationScale
  /// The steps of the fake quantizer of a weight: one, or one per output channel.
  case weightScale
}

/// A trainable tensor with its gradient. Owned by its `TrainableGraph`; not safe to share between
/// threads.
public final class Parameter {
  /// The initializer's name; of an activation's scale the tensor's name; of a weight's scales the
  /// weight's name. Unique together with `kind`.
  public let name: String
  /// What it is.
  public let kind: ParameterKind
  /// Number of elements.
  public let count: Int
  /// The layers (node names) that use it, in graph order.
  public internal(set) var layers: [String]
  /// The master values, in ONNX's own layout. Change them between `backward` and the next
  /// `forward`.
  public var values: [Float]
  /// The sum of the gradients since `zeroGradients`, same layout. For scales the LSQ factor is in.
  public var gradient: [Float]
  /// The smallest value an element may take: a sixteenth of a scale's first value, else −∞.
  /// `forward` raises elements that are below.
  public let floors: [Float]
  /// The largest value an element may take; empty for no bound. An activation's scale stays where
  /// the Clip that made the activation has the last code: a larger one would waste codes, and
  /// ONNX Runtime would compute the layer below in float.
  public let ceilings: [Float]

  init(
    name: String, kind: ParameterKind, layers: [String], values: [Float], floors: [Float] = [],
    ceilings: [Float] = []
  ) {
    self.name = name
    self.kind = kind
    self.layers = layers
    self.values = values
    self.floors = floors
    self.ceilings = ceilings
    count = values.count
    gradient = [Float](repeating: 0, count: values.count)
  }

  /// Raises what fell below its floor, so that scales stay positive, and lowers what outgrew its
  /// ceiling.
  func applyBounds() {
    for index in floors.indices where !(values[index] >= floors[index]) {
      values[index] = floors[index]
    }
    for index in ceilings.indices where values[index] > ceilings[index] {
      values[index] = ceilings[index]
    }
  }
}
