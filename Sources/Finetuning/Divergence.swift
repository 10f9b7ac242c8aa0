// SPDX-License-Identifier: Apache-2.0
// Finetuning: training that runs away, and where.

internal import Diagnostics

/// Says when training diverged: a number that is none, or a loss ten times what it was.
enum Divergence {
  private static let remedy = "a smaller finetune: {learningRate: …}, perhaps a tenth"

  /// The smoothed loss above which a run is given up.
  ///
  /// The floor keeps a run alive that began next to a loss of nothing: there, ten times is noise.
  static func limit(_ reference: Double) -> Double { 10 * max(reference, 0.05) }

  static func notFinite(_ network: any TrainableNetwork, step: Int) -> QuenchError {
    let tensor = network.firstNonFinite()
    return QuenchError(
      .work, "training diverged at step \(step): NaN or an infinity in the network",
      at: tensor.map { place($0, network.parameters) }, try: remedy)
  }

  static func firstBadGradient(_ parameters: [Parameter]) -> Parameter? {
    parameters.first { parameter in !parameter.gradient.allSatisfy(\.isFinite) }
  }

  static func badGradient(_ parameter: Parameter, step: Int) -> QuenchError {
    QuenchError(
      .work,
      "training diverged at step \(step): the gradient of \"\(parameter.name)\" holds NaN or an "
        + "infinity", at: place(parameter.name, [parameter]), try: remedy)
  }

  /// Names the layer whose gradient is largest beside its weights.
  static func grown(
    _ parameters: [Parameter], step: Int, from reference: Double, to loss: Double
  ) -> QuenchError {
    func norm(_ values: [Float]) -> Double {
      values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    }
    var worst: (ratio: Double, parameter: Parameter)?
    for parameter in parameters where parameter.kind == .weight {
      let ratio = norm(parameter.gradient) / max(norm(parameter.values), 1e-30)
      if ratio > worst?.ratio ?? -1 { worst = (ratio, parameter) }
    }
    return QuenchError(
      .work,
      "training diverged at step \(step): the loss grew from \(reference) to \(loss), more than "
        + "tenfold",
      at: worst.map { place($0.parameter.name, [$0.parameter]) }, try: remedy)
  }

  private static func place(_ name: String, _ parameters: [Parameter]) -> Place {
    guard let layer = parameters.first(where: { $0.name == name })?.layers.first else {
      return .tensor(name)
    }
    return .node(layer)
  }
}
