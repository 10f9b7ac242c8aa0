// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: what of a network trains, and what stands in the way.

internal import Finetuning

extension TrainingDisplay {
  /// Names what cannot be trained through.
  static func warn(about plan: TrainingPlan) {
    for obstacle in plan.obstacles {
      Terminal.warn(
        "\"\(obstacle.node)\" (\(obstacle.opType)) cannot be trained through: \(obstacle.reason)")
    }
  }

  /// What trains and what is frozen; nil when all trains.
  static func text(_ plan: TrainingPlan) -> String? {
    plan.obstacles.last.map { obstacle in
      "\(layers(plan.trained)) train above \"\(obstacle.node)\", "
        + "\(layers(plan.frozen.map(\.layer))) below run frozen in ONNX Runtime"
    }
  }

  /// "3 layers (\"a\", \"b\", …)".
  private static func layers(_ names: [String]) -> String {
    guard !names.isEmpty else { return "no layers" }
    let some = names.prefix(3).map { "\"\($0)\"" } + (names.count > 3 ? ["…"] : [])
    return "\(names.count) layer\(names.count == 1 ? "" : "s") (\(some.joined(separator: ", ")))"
  }
}
