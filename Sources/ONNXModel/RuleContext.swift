// SPDX-License-Identifier: Apache-2.0
// ONNXModel: a node as shape rules and the constant evaluator see it.

internal import Diagnostics
internal import Tensors

/// A node with what is known of its inputs.
struct RuleContext {
  let node: Node
  /// Version of ONNX's own operator set.
  let opset: Int
  /// Types of the inputs; nil for one that is left out.
  let types: [TensorType?]
  /// Values of the inputs, where known and small enough.
  let constants: [Tensor?]

  /// The error for shapes that the operator cannot take.
  func refusal(_ reason: String) -> QuenchError {
    QuenchError(.data, "the \(node.title) cannot be applied: \(reason)", at: node.place)
  }

  /// The type of an input that the operator must have.
  func type(_ index: Int) throws(QuenchError) -> TensorType {
    guard index < types.count, let type = types[index] else {
      throw refusal("input \(index) is left out")
    }
    return type
  }

  /// The value of an input if it is there and known.
  func constant(_ index: Int) -> Tensor? {
    index < constants.count ? constants[index] : nil
  }

  /// Whether an input is there.
  func has(_ index: Int) -> Bool { index < types.count && types[index] != nil }

  /// The integers of a constant input.
  func integers(_ index: Int) -> [Int]? {
    guard let tensor = constant(index) else { return nil }
    switch tensor.elementType {
    case .int64: return tensor.values(as: Int64.self).map(Int.init)
    case .int32: return tensor.values(as: Int32.self).map(Int.init)
    default: return nil
    }
  }

  /// A list that older operator sets give as an attribute and newer ones as an input.
  ///
  /// - Returns: nil when it is given neither way; `.some(nil)` when it is an input of unknown value.
  func list(_ attribute: String, input index: Int) -> [Int]?? {
    if has(index) { return .some(integers(index)) }
    if let list = node.ints(attribute) { return .some(list) }
    return nil
  }

  /// An axis counted from the front.
  ///
  /// - Throws: `.data` when it is not in −rank…rank−1.
  func axis(_ axis: Int, rank: Int) throws(QuenchError) -> Int {
    guard axis >= -rank, axis < rank else {
      throw refusal("axis \(axis) is outside a tensor of rank \(rank)")
    }
    return axis < 0 ? axis + rank : axis
  }

  /// Axes counted from the front, each once.
  func axes(_ axes: [Int], rank: Int) throws(QuenchError) -> Set<Int> {
    var found: Set<Int> = []
    for value in axes {
      guard found.insert(try axis(value, rank: rank)).inserted else {
        throw refusal("axis \(value) is given twice")
      }
    }
    return found
  }

  /// The common shape under NumPy's broadcasting rule.
  func broadcast(_ shapes: [[Int]]) throws(QuenchError) -> [Int] {
    let rank = shapes.map(\.count).max() ?? 0
    var result = [Int](repeating: 1, count: rank)
    for shape in shapes {
      for (index, extent) in shape.enumerated() {
        let place = rank - shape.count + index
        if result[place] == 1 {
          result[place] = extent
        } else if extent != 1, extent != result[place] {
          throw refusal(
            "shapes \(shapes.map { "\($0)" }.joined(separator: " and ")) do not go together")
        }
      }
    }
    return result
  }
}

extension RuleContext {
  /// The target of Reshape with 0 and −1 resolved (ONNX, Reshape).
  func reshaped(_ shape: [Int], to target: [Int]) throws(QuenchError) -> [Int] {
    let keepsZero = node.int("allowzero", default: 0) != 0
    var result = target
    var open: Int?
    for (index, extent) in target.enumerated() {
      if extent == 0, !keepsZero {
        guard index < shape.count else {
          throw refusal("extent \(index) of \(target) is to be copied from shape \(shape)")
        }
        result[index] = shape[index]
      } else if extent == -1 {
        guard open == nil else { throw refusal("shape \(target) has more than one -1") }
        open = index
        result[index] = 1
      } else if extent < -1 {
        throw refusal("shape \(target) has a negative extent")
      }
    }
    let total = Tensor.elementCount(of: shape) ?? 0
    guard let known = Tensor.elementCount(of: result) else {
      throw refusal("shape \(target) is too large")
    }
    if let open {
      guard known > 0, total % known == 0 else {
        throw refusal("\(total) elements do not fill shape \(target)")
      }
      result[open] = total / known
    } else if known != total {
      throw refusal("\(total) elements do not fill shape \(target)")
    }
    return result
  }

  /// One axis of Slice: first index, step and count (ONNX, Slice: clamping rules).
  static func slice(
    extent: Int, start: Int, end: Int, step: Int
  ) -> (first: Int, count: Int) {
    func clamp(_ value: Int, _ low: Int, _ high: Int) -> Int {
      // An end below −extent means "from the very first"; adding must not overflow.
      let counted = value < 0 ? (value < -extent - 1 ? low : value + extent) : value
      return min(max(counted, low), high)
    }
    guard extent > 0 else { return (0, 0) }
    if step > 0 {
      let first = clamp(start, 0, extent)
      let last = clamp(end, 0, extent)
      guard last > first else { return (first, 0) }
      return (first, (last - first - 1) / step + 1)
    }
    let first = clamp(start, 0, extent - 1)
    let last = end < -extent ? -1 : clamp(end, -1, extent - 1)
    guard first > last else { return (first, 0) }
    // By magnitude: the smallest integer has no negative.
    return (first, (first - last - 1) / Int(clamping: step.magnitude) + 1)
  }

  /// The slices of every axis; nil when they are not known.
  func slices(of shape: [Int]) throws(QuenchError) -> [(first: Int, count: Int, step: Int)]? {
    guard case .some(let starts?) = list("starts", input: 1),
      case .some(let ends?) = list("ends", input: 2)
    else { return nil }
    var axes = Array(starts.indices)
    switch list("axes", input: 3) {
    case .some(let given?): axes = given
    case .some(nil): return nil
    case nil: break
    }
    var steps = [Int](repeating: 1, count: starts.count)
    if has(4) {
      guard let given = integers(4) else { return nil }
      steps = given
    }
    guard ends.count == starts.count, axes.count == starts.count, steps.count == starts.count,
      !steps.contains(0)
    else { throw refusal("starts, ends, axes and steps do not go together") }
    var result = shape.map { (first: 0, count: $0, step: 1) }
    for (index, value) in axes.enumerated() {
      let axis = try axis(value, rank: shape.count)
      let (first, count) = RuleContext.slice(
        extent: shape[axis], start: starts[index], end: ends[index], step: steps[index])
      result[axis] = (first, count, steps[index])
    }
    return result
  }

  /// The axes that Squeeze removes.
  func squeezed(_ shape: [Int]) throws(QuenchError) -> [Int]? {
    var gone: Set<Int>
    switch list("axes", input: 1) {
    case .some(let given?): gone = try axes(given, rank: shape.count)
    case .some(nil): return nil
    case nil: gone = Set(shape.indices.filter { shape[$0] == 1 })
    }
    if let wrong = gone.sorted().first(where: { shape[$0] != 1 }) {
      throw refusal("axis \(wrong) of shape \(shape) is not 1")
    }
    return shape.indices.filter { !gone.contains($0) }.map { shape[$0] }
  }

  /// The shape after Unsqueeze.
  func unsqueezed(_ shape: [Int]) throws(QuenchError) -> [Int]? {
    guard case .some(let given?) = list("axes", input: 1) else { return nil }
    let rank = shape.count + given.count
    let new = try axes(given, rank: rank)
    var rest = shape[...]
    return (0..<rank).map { new.contains($0) ? 1 : rest.removeFirst() }
  }

  /// The sizes of the parts of Split.
  func parts(of extent: Int) throws(QuenchError) -> [Int]? {
    switch list("split", input: 1) {
    case .some(let sizes?):
      guard sizes.allSatisfy({ $0 >= 0 }), sizes.count == node.outputs.count,
        sizes.reduce(0, { $0 &+ $1 }) == extent
      else { throw refusal("parts \(sizes) do not add up to \(extent)") }
      return sizes
    case .some(nil): return nil
    case nil:
      let count = node.outputs.count
      guard count > 0 else { throw refusal("it has no output") }
      let size = (extent + count - 1) / count
      // The last part may be smaller (since opset 18); never negative.
      return (0..<count).map { max(0, min(size, extent - $0 * size)) }
    }
  }

  /// The order of axes of Transpose.
  func permutation(rank: Int) throws(QuenchError) -> [Int] {
    let order = node.ints("perm") ?? Array((0..<rank).reversed())
    guard order.sorted() == Array(0..<rank) else {
      throw refusal("\(order) is no order of \(rank) axes")
    }
    return order
  }
}
