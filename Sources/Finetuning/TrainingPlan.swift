// SPDX-License-Identifier: Apache-2.0
// Finetuning: what of a model can be trained, told before any work starts.

/// Which layers train, which are frozen, and which operators have no rule.
public struct TrainingPlan: Sendable, Equatable {
  /// An operator and where it sits.
  public struct Obstacle: Sendable, Equatable {
    /// The node's name.
    public var node: String
    /// Its ONNX operator.
    public var opType: String
    /// One plain sentence without a full stop.
    public var reason: String
  }

  /// A layer that cannot train because no gradient reaches it.
  public struct FrozenLayer: Sendable, Equatable {
    /// The layer's node.
    public var layer: String
    /// The node, further up, that passes no gradient on.
    public var below: String
  }

  /// The nodes whose weights or biases train, in graph order.
  public var trained: [String]
  /// The layers below an operator without a gradient, in graph order.
  public var frozen: [FrozenLayer]
  /// Operators that can be computed but pass no gradient on, though a layer lies below them.
  public var withoutGradient: [Obstacle]
  /// Operators that cannot be computed at all: such a model cannot be trained.
  public var unknown: [Obstacle]

  /// Whether anything can train.
  public var isTrainable: Bool { unknown.isEmpty && !trained.isEmpty }
}
