// SPDX-License-Identifier: Apache-2.0
// ONNXModel: output types of operators that move, cut, join or reduce.

internal import Diagnostics
internal import Tensors

extension ShapeRules {
  /// The outputs of an operator that moves, cuts, joins or reduces; nil for others.
  static func moved(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    switch context.node.opType {
    case "Flatten": try flatten(context)
    case "Concat": try concat(context)
    case "Split": try split(context)
    case "Gather": try gather(context)
    case "GatherElements": try gatherElements(context)
    case "GatherND": try gatherND(context)
    case "Pad": try pad(context)
    case "Resize", "Upsample": try resize(context)
    case "Expand": try expand(context)
    case "Tile": try tile(context)
    case "DepthToSpace": try depthToSpace(context)
    case "SpaceToDepth": try spaceToDepth(context)
    case "TopK": try topK(context)
    case "OneHot": try oneHot(context)
    case "ConstantOfShape": try constantOfShape(context)
    case "Reshape": try reshape(context)
    case "Transpose": try transpose(context)
    case "Slice": try slice(context)
    case "Squeeze", "Unsqueeze": try squeeze(context)
    case "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
      "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare":
      try reduce(context)
    case "ArgMax", "ArgMin": try argument(context)
    default: nil
    }
  }

  private static func reshape(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    guard let target = context.integers(1) else { return nil }
    return [TensorType(type.elementType, try context.reshaped(type.shape, to: target))]
  }

  private static func transpose(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let order = try context.permutation(rank: type.shape.count)
    return [TensorType(type.elementType, order.map { type.shape[$0] })]
  }

  private static func slice(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    guard let slices = try context.slices(of: type.shape) else { return nil }
    return [TensorType(type.elementType, slices.map(\.count))]
  }

  private static func squeeze(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let shape =
      context.node.opType == "Squeeze"
      ? try context.squeezed(type.shape) : try context.unsqueezed(type.shape)
    return shape.map { [TensorType(type.elementType, $0)] }
  }

  private static func flatten(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let rank = type.shape.count
    let given = context.node.int("axis", default: 1)
    let axis = given == rank ? rank : try context.axis(given, rank: rank)
    let rows = Tensor.elementCount(of: Array(type.shape[..<axis])) ?? 0
    let columns = Tensor.elementCount(of: Array(type.shape[axis...])) ?? 0
    return [TensorType(type.elementType, [rows, columns])]
  }

  private static func concat(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let types = try allTypes(context)
    guard let first = types.first else { throw context.refusal("it has no input") }
    let axis = try context.axis(context.node.int("axis", default: 1), rank: first.shape.count)
    var shape = first.shape
    for other in types.dropFirst() {
      var rest = other.shape
      guard rest.count == shape.count, other.elementType == first.elementType else {
        throw context.refusal("\(first) and \(other) cannot be joined")
      }
      shape[axis] += rest[axis]
      rest[axis] = shape[axis]
      guard rest == shape else {
        throw context.refusal(
          "shapes \(first.shape) and \(other.shape) cannot be joined along axis \(axis)")
      }
    }
    return [TensorType(first.elementType, shape)]
  }

  private static func split(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let axis = try context.axis(context.node.int("axis", default: 0), rank: type.shape.count)
    guard let parts = try context.parts(of: type.shape[axis]) else { return nil }
    return parts.map { part in
      var shape = type.shape
      shape[axis] = part
      return TensorType(type.elementType, shape)
    }
  }

  private static func gather(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let (data, indices) = (try context.type(0), try context.type(1))
    let axis = try context.axis(context.node.int("axis", default: 0), rank: data.shape.count)
    let shape = data.shape[..<axis] + indices.shape + data.shape[(axis + 1)...]
    return [TensorType(data.elementType, Array(shape))]
  }

  private static func gatherElements(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    [TensorType(try context.type(0).elementType, try context.type(1).shape)]
  }

  private static func gatherND(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let (data, indices) = (try context.type(0), try context.type(1))
    let batch = context.node.int("batch_dims", default: 0)
    guard let depth = indices.shape.last, batch >= 0, batch < indices.shape.count,
      batch + depth <= data.shape.count
    else { throw context.refusal("indices \(indices.shape) do not fit \(data.shape)") }
    let shape = indices.shape.dropLast() + data.shape[(batch + depth)...]
    return [TensorType(data.elementType, Array(shape))]
  }

  private static func pad(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    guard case .some(let pads?) = context.list("pads", input: 1) else { return nil }
    var axes = Array(type.shape.indices)
    if context.has(3) {
      guard let given = context.integers(3) else { return nil }
      axes = []
      for value in given { axes.append(try context.axis(value, rank: type.shape.count)) }
    }
    guard pads.count == 2 * axes.count, pads.allSatisfy({ $0.magnitude < 1 << 30 }) else {
      throw context.refusal("pads \(pads) do not go with shape \(type.shape)")
    }
    var shape = type.shape
    for (index, axis) in axes.enumerated() { shape[axis] += pads[index] + pads[index + axes.count] }
    return [TensorType(type.elementType, shape)]
  }

  private static func expand(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    guard let target = context.integers(1) else { return nil }
    return [TensorType(type.elementType, try context.broadcast([type.shape, target]))]
  }

  private static func tile(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    guard let repeats = context.integers(1) else { return nil }
    guard repeats.count == type.shape.count, repeats.allSatisfy({ $0 >= 0 && $0 < 1 << 30 })
    else { throw context.refusal("repeats \(repeats) do not go with shape \(type.shape)") }
    return [TensorType(type.elementType, zip(type.shape, repeats).map { $0 &* $1 })]
  }

  private static func depthToSpace(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let block = context.node.int("blocksize", default: 0)
    guard type.shape.count == 4, block > 0, block < 1 << 15, type.shape[1] % (block * block) == 0
    else { throw context.refusal("blocksize \(block) does not go with shape \(type.shape)") }
    let shape = type.shape
    return [
      TensorType(
        type.elementType,
        [shape[0], shape[1] / (block * block), shape[2] * block, shape[3] * block])
    ]
  }

  private static func spaceToDepth(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let block = context.node.int("blocksize", default: 0)
    guard type.shape.count == 4, block > 0, block < 1 << 15, type.shape[2] % block == 0,
      type.shape[3] % block == 0
    else { throw context.refusal("blocksize \(block) does not go with shape \(type.shape)") }
    let shape = type.shape
    return [
      TensorType(
        type.elementType,
        [shape[0], shape[1] * block * block, shape[2] / block, shape[3] / block])
    ]
  }

  private static func topK(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let axis = try context.axis(context.node.int("axis", default: -1), rank: type.shape.count)
    guard
      let count = context.has(1) ? context.integers(1)?.first : context.node.int("k", default: 0)
    else { return nil }
    guard count >= 0, count <= type.shape[axis] else {
      throw context.refusal("it asks for \(count) of \(type.shape[axis])")
    }
    var shape = type.shape
    shape[axis] = count
    return [TensorType(type.elementType, shape), TensorType(.int64, shape)]
  }

  private static func oneHot(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let indices = try context.type(0)
    guard let depth = context.integers(1)?.first else { return nil }
    let rank = indices.shape.count + 1
    let axis = try context.axis(context.node.int("axis", default: -1), rank: rank)
    var shape = indices.shape
    shape.insert(depth, at: axis)
    return [TensorType(try context.type(2).elementType, shape)]
  }

  private static func constantOfShape(_ context: RuleContext) throws(QuenchError) -> [TensorType?]?
  {
    guard let shape = context.integers(0) else { return nil }
    let value = try context.node.tensor("value")
    return [TensorType(value?.elementType ?? .float32, shape)]
  }

  private static func reduce(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let keeps = context.node.int("keepdims", default: 1) != 0
    var reduced = Set(type.shape.indices)
    switch context.list("axes", input: 1) {
    case .some(let given?):
      if !given.isEmpty {
        reduced = try context.axes(given, rank: type.shape.count)
      } else if context.node.int("noop_with_empty_axes", default: 0) != 0 {
        return [type]
      }
    case .some(nil): return nil
    case nil:
      if context.node.int("noop_with_empty_axes", default: 0) != 0 { return [type] }
    }
    let shape = type.shape.indices.compactMap { axis in
      reduced.contains(axis) ? (keeps ? 1 : nil) : type.shape[axis]
    }
    return [TensorType(type.elementType, shape)]
  }

  private static func argument(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let axis = try context.axis(context.node.int("axis", default: 0), rank: type.shape.count)
    var shape = type.shape
    if context.node.int("keepdims", default: 1) != 0 {
      shape[axis] = 1
    } else {
      shape.remove(at: axis)
    }
    return [TensorType(.int64, shape)]
  }

  /// Resize of all versions and Upsample: `sizes` if given, else floor(extent · scale).
  private static func resize(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let type = try context.type(0)
    let rank = type.shape.count
    // Since opset 18 the lists may speak of some axes only.
    var axes: [Int] = []
    for value in context.node.ints("axes") ?? Array(type.shape.indices) {
      axes.append(try context.axis(value, rank: rank))
    }
    var shape = type.shape
    if context.has(3) {
      guard let sizes = context.integers(3) else { return nil }
      guard sizes.count == axes.count else {
        throw context.refusal("sizes \(sizes) do not go with shape \(shape)")
      }
      // Policies other than "stretch" keep the aspect ratio; they are left to the runtime.
      if let policy = context.node.string("keep_aspect_ratio_policy"), policy != "stretch" {
        return nil
      }
      for (axis, size) in zip(axes, sizes) { shape[axis] = size }
      return [TensorType(type.elementType, shape)]
    }
    let isOld = context.node.opType == "Upsample" || context.opset < 11
    var scales: [Float]?
    if context.has(isOld ? 1 : 2) {
      guard let tensor = context.constant(isOld ? 1 : 2), tensor.elementType == .float32 else {
        return nil
      }
      scales = tensor.floats
    } else if case .floats(let list)? = context.node[attribute: "scales"]?.value {
      scales = list
    }
    guard let scales, scales.count == axes.count,
      scales.allSatisfy({ $0 > 0 && $0 < 65_536 })
    else { throw context.refusal("its scales do not go with shape \(shape)") }
    for (axis, scale) in zip(axes, scales) {
      shape[axis] = Int((Float(shape[axis]) * scale).rounded(.down))
    }
    return [TensorType(type.elementType, shape)]
  }
}
