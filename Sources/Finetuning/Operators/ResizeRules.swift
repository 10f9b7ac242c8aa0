// SPDX-License-Identifier: Apache-2.0
// Finetuning: the rule for Resize, nearest and linear, over height and width.

internal import Diagnostics
internal import ONNXModel
internal import Tensors

extension TapeBuilder {
  static let resizeRules: [String: Rule] = [
    "Resize": { (b, n) throws(QuenchError) in try b.resize(n) }
  ]

  private func resize(_ node: Node) throws(QuenchError) {
    let input = try tensor(node.inputs[0], layout: .channelsLast)
    let shape = try shape(node.outputs[0])
    let mode = node.string("mode") ?? "nearest"
    guard input.shape.count == 4, shape.count == 4, shape[1] == input.shape[1],
      ["nearest", "linear"].contains(mode), node.int("antialias", default: 0) == 0
    else {
      throw refusal(node, "fine-tuning takes Resize of height and width, nearest or linear")
    }
    let scales = try scales(node)
    var taps: [(from: [Int32], factors: [Double])] = []
    for axis in 2...3 {
      let scale = scales?[axis] ?? Double(shape[axis]) / Double(input.shape[axis])
      taps.append(
        try self.taps(
          node, isLinear: mode == "linear", length: input.shape[axis], results: shape[axis],
          scale: scale))
    }
    let (channels, width) = (shape[1], input.shape[3])
    let middle = TapeTensor(
      "\(input.name) (resized)", shape: [1, channels, shape[2], width], layout: .channelsLast)
    append(
      Taps(
        node: node.name, input: input, output: middle,
        extents: (1, input.shape[2], width * channels), results: shape[2], from: taps[0].from,
        factors: taps[0].factors))
    append(
      Taps(
        node: node.name, input: middle, output: try declare(node.outputs[0], layout: .channelsLast),
        extents: (shape[2], width, channels), results: shape[3], from: taps[1].from,
        factors: taps[1].factors))
  }

  /// The factors that the node gives; nil when it gives sizes.
  private func scales(_ node: Node) throws(QuenchError) -> [Double]? {
    guard node.inputs.count > 2, !node.inputs[2].isEmpty else { return nil }
    let tensor = try constant(node.inputs[2])
    guard tensor.elementType == .float32, tensor.count == 4 else { return nil }
    return tensor.floats.map { Double($0) }
  }

  /// Where each result along an axis comes from: one source, or two with their shares.
  ///
  /// Source: ONNX operator specification, Resize, `coordinate_transformation_mode`.
  private func taps(
    _ node: Node, isLinear: Bool, length: Int, results: Int, scale: Double
  ) throws(QuenchError) -> (from: [Int32], factors: [Double]) {
    let transformation = node.string("coordinate_transformation_mode") ?? "half_pixel"
    let rounding = node.string("nearest_mode") ?? "round_prefer_floor"
    var from: [Int32] = []
    var factors: [Double] = []
    for index in 0..<results {
      let x: Double
      switch transformation {
      case "half_pixel": x = (Double(index) + 0.5) / scale - 0.5
      case "pytorch_half_pixel": x = results > 1 ? (Double(index) + 0.5) / scale - 0.5 : 0
      case "asymmetric": x = Double(index) / scale
      case "align_corners":
        x = results > 1 ? Double(index) * Double(length - 1) / Double(results - 1) : 0
      default:
        throw refusal(node, "fine-tuning takes no Resize with the coordinates \(transformation)")
      }
      func clamped(_ position: Double) -> Int32 {
        Int32(max(0, min(Double(length - 1), position)))
      }
      guard isLinear else {
        let position =
          switch rounding {
          case "floor": x.rounded(.down)
          case "ceil": x.rounded(.up)
          case "round_prefer_ceil": (x + 0.5).rounded(.down)
          default: (x - 0.5).rounded(.up)
          }
        from.append(clamped(position))
        factors.append(1)
        continue
      }
      let below = x.rounded(.down)
      from += [clamped(below), clamped(below + 1)]
      factors += [1 - (x - below), x - below]
    }
    return (from, factors)
  }
}
