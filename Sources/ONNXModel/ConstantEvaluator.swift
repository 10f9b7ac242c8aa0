// SPDX-License-Identifier: Apache-2.0
// ONNXModel: runs operators on constants.

internal import Diagnostics
internal import Tensors

/// Runs the operators that constant expressions are made of, as ONNX's specification defines them.
///
/// Meant for shape arithmetic and for small preparations of weights: plain loops, no limits on
/// element types beyond what `Tensor` holds.
enum ConstantEvaluator {
  /// The outputs of a node.
  ///
  /// - Parameter elementLimit: nothing larger is made.
  /// - Returns: nil when an input's value is not known, or the operator is not one of these, or
  ///   the result would be too large.
  /// - Throws: `.data` when the operator cannot take these values.
  static func evaluate(
    _ context: RuleContext, elementLimit: Int
  ) throws(QuenchError) -> [Tensor]? {
    switch context.node.opType {
    case "Constant": return try constant(context.node).map { [$0] }
    case "Shape":
      let shape = try context.type(0).shape
      let (first, end) = try bounds(context, rank: shape.count)
      let part = first < end ? Array(shape[first..<end]) : []
      return [Tensor(int64s: part.map(Int64.init), shape: [part.count])]
    case "Size":
      let count = Tensor.elementCount(of: try context.type(0).shape) ?? 0
      return [Tensor(int64s: [Int64(count)], shape: [])]
    default: break
    }
    for (index, type) in context.types.enumerated() where type != nil {
      guard context.constant(index) != nil else { return nil }
    }
    // The shape rule tells the size beforehand, and has checked the shapes.
    var types: [TensorType] = []
    for output in try ShapeRules.outputs(context) ?? [] {
      guard let output, output.isPossible,
        Tensor.elementCount(of: output.shape) ?? Int.max <= elementLimit
      else { return nil }
      types.append(output)
    }
    if let moved = try moved(context, types) { return moved }
    return try computed(context, types, elementLimit)
  }

  /// The value of a Constant node; nil for texts and sparse tensors.
  static func constant(_ node: Node) throws(QuenchError) -> Tensor? {
    guard let attribute = node.attributes.first else { return nil }
    switch (attribute.name, attribute.value) {
    case ("value", .tensor(let tensor)): return tensor
    case ("value", .other): return nil
    case ("value_int", .int(let value)): return Tensor(int64s: [value], shape: [])
    case ("value_ints", .ints(let values)): return Tensor(int64s: values, shape: [values.count])
    case ("value_float", .float(let value)): return Tensor(floats: [value], shape: [])
    case ("value_floats", .floats(let values)):
      return Tensor(floats: values, shape: [values.count])
    default: return nil
    }
  }

  /// The part of the shape that Shape gives (attributes since opset 15).
  private static func bounds(
    _ context: RuleContext, rank: Int
  ) throws(QuenchError) -> (Int, Int) {
    func clamp(_ value: Int) -> Int {
      min(max(value < 0 ? max(value, -rank) + rank : value, 0), rank)
    }
    return (
      clamp(context.node.int("start", default: 0)), clamp(context.node.int("end", default: rank))
    )
  }
}
