// SPDX-License-Identifier: Apache-2.0
// Finetuning: what of a model can be trained, told before any work starts.

internal import Diagnostics

/// Which layers train, which are frozen, and which operators stand in the way.
///
/// An operator that the tape cannot compute cuts the network: it and everything that it depends on
/// runs frozen, as the deployed model does, and what lies between there and the result trains.
public struct TrainingPlan: Sendable, Equatable, Codable {
  /// An operator and where it sits.
  public struct Obstacle: Sendable, Equatable, Codable {
    /// The node's name.
    public var node: String
    /// Its ONNX operator.
    public var opType: String
    /// One plain sentence without a full stop.
    public var reason: String
  }

  /// A layer that cannot train because an obstacle depends on it.
  public struct FrozenLayer: Sendable, Equatable, Codable {
    /// The layer's node.
    public var layer: String
    /// The obstacle's node, further up towards the result.
    public var below: String
  }

  /// The nodes whose weights or biases train, in graph order.
  public var trained: [String]
  /// The layers below an obstacle, in graph order.
  public var frozen: [FrozenLayer]
  /// The operators that cannot be computed on the tape, in graph order.
  public var obstacles: [Obstacle]
  /// The tensors that the frozen part hands to the trained one, in graph order.
  public var cut: [String]

  /// Whether anything can train.
  public var isTrainable: Bool { !trained.isEmpty }

  /// The error for a model that the plan leaves nothing of, or whose frozen part no one can run:
  /// names the obstacle nearest to the result.
  var refusal: QuenchError {
    guard let obstacle = obstacles.last else {
      return QuenchError(.data, "no layer of the model can train: it has no weights that matter")
    }
    let others = obstacles.count > 1 ? " (and \(obstacles.count - 1) more)" : ""
    let what =
      isTrainable
      ? "the model cannot train above \"\(obstacle.node)\" without a runtime for what lies below"
      : "no layer can train: \"\(obstacle.node)\" lies above all of them"
    return QuenchError(
      .data, "\(what): \(obstacle.reason)\(others)", at: .node(obstacle.node),
      try: "finetune: {enabled: false}, or an export of the model without this operator")
  }
}
