// SPDX-License-Identifier: Apache-2.0
// ONNXModel: constants moved, cut and joined. Elements are bytes here, whatever their type.

internal import Diagnostics
internal import Tensors

extension ConstantEvaluator {
  /// The outputs of an operator that moves elements; nil for others.
  static func moved(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    switch context.node.opType {
    case "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze": try reshape(context, outputs)
    case "Concat": try concat(context, outputs)
    case "Split": try split(context, outputs)
    case "Gather": try gather(context, outputs)
    case "Slice": try slice(context, outputs)
    case "Expand": try expand(context, outputs)
    case "Transpose": try transpose(context, outputs)
    case "ConstantOfShape": try constantOfShape(context, outputs)
    case "Tile": try tile(context, outputs)
    case "Where": try choose(context, outputs)
    default: nil
    }
  }

  private static func reshape(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let type = outputs.first, let tensor = context.constant(0) else { return nil }
    return [try tensor.reshaped(to: type.shape)]
  }

  /// Row-major strides in elements.
  static func strides(_ shape: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    for axis in shape.indices.dropLast().reversed() {
      strides[axis] = strides[axis + 1] * shape[axis + 1]
    }
    return strides
  }

  /// Copies elements: output index to source element index through strides and a start.
  static func gathered(
    _ source: Tensor, _ type: TensorType, start: Int, strides: [Int]
  ) throws(QuenchError) -> Tensor {
    let size = source.elementType.size
    let count = Tensor.elementCount(of: type.shape) ?? 0
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count * size)
    var place = [Int](repeating: 0, count: type.shape.count)
    var index = start
    for _ in 0..<count {
      bytes.append(contentsOf: source.bytes[(index * size)..<((index + 1) * size)])
      for axis in place.indices.reversed() {
        place[axis] += 1
        index += strides[axis]
        if place[axis] < type.shape[axis] { break }
        index -= place[axis] * strides[axis]
        place[axis] = 0
      }
    }
    return try Tensor(source.elementType, shape: type.shape, bytes: bytes)
  }

  /// Strides that read `shape` as if it were broadcast to `target`.
  static func broadcastStrides(_ shape: [Int], to target: [Int]) -> [Int] {
    let own = strides(shape)
    let lead = target.count - shape.count
    return target.indices.map { axis in
      axis < lead || shape[axis - lead] == 1 ? 0 : own[axis - lead]
    }
  }

  private static func transpose(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let tensor = context.constant(0), let type = outputs.first else { return nil }
    let order = try context.permutation(rank: tensor.shape.count)
    let own = strides(tensor.shape)
    return [try gathered(tensor, type, start: 0, strides: order.map { own[$0] })]
  }

  private static func slice(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let tensor = context.constant(0), let type = outputs.first,
      let slices = try context.slices(of: tensor.shape)
    else { return nil }
    let own = strides(tensor.shape)
    guard !type.shape.contains(0) else {
      return [try Tensor(tensor.elementType, shape: type.shape, bytes: [])]
    }
    let start = zip(own, slices).reduce(0) { $0 + $1.0 * $1.1.first }
    // A step beyond the extent is never taken; cut so that the product cannot overflow.
    let steps = zip(own, slices).map { $0 * min(max($1.step, -1 << 31), 1 << 31) }
    return [try gathered(tensor, type, start: start, strides: steps)]
  }

  private static func expand(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let tensor = context.constant(0), let type = outputs.first else { return nil }
    let strides = broadcastStrides(tensor.shape, to: type.shape)
    return [try gathered(tensor, type, start: 0, strides: strides)]
  }

  private static func tile(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let tensor = context.constant(0), let type = outputs.first,
      let repeats = context.integers(1)
    else { return nil }
    // Seen as [r0, d0, r1, d1, …], where the r axes do not move the source.
    let own = strides(tensor.shape)
    let split = zip(repeats, tensor.shape).flatMap { [$0, $1] }
    let wide = try gathered(
      tensor, TensorType(tensor.elementType, split), start: 0, strides: own.flatMap { [0, $0] })
    return [try wide.reshaped(to: type.shape)]
  }

  private static func concat(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let type = outputs.first else { return nil }
    let rank = type.shape.count
    let axis = try context.axis(context.node.int("axis", default: 1), rank: rank)
    let tensors = context.constants.compactMap { $0 }
    let rows = Tensor.elementCount(of: Array(type.shape[..<axis])) ?? 0
    var bytes: [UInt8] = []
    for row in 0..<rows {
      for tensor in tensors {
        let size = tensor.bytes.count / rows
        bytes.append(contentsOf: tensor.bytes[(row * size)..<((row + 1) * size)])
      }
    }
    return [try Tensor(type.elementType, shape: type.shape, bytes: bytes)]
  }

  private static func split(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let tensor = context.constant(0) else { return nil }
    let rank = tensor.shape.count
    let axis = try context.axis(context.node.int("axis", default: 0), rank: rank)
    let own = strides(tensor.shape)
    var parts: [Tensor] = []
    var first = 0
    for type in outputs {
      parts.append(try gathered(tensor, type, start: first * own[axis], strides: own))
      first += type.shape[axis]
    }
    return parts
  }

  private static func gather(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let data = context.constant(0), let wanted = context.integers(1),
      let type = outputs.first
    else { return nil }
    let rank = data.shape.count
    let axis = try context.axis(context.node.int("axis", default: 0), rank: rank)
    let extent = data.shape[axis]
    let rows = Tensor.elementCount(of: Array(data.shape[..<axis])) ?? 0
    let inner = Tensor.elementCount(of: Array(data.shape[(axis + 1)...])) ?? 0
    let size = inner * data.elementType.size
    var bytes: [UInt8] = []
    for row in 0..<rows {
      for index in wanted {
        guard index >= -extent, index < extent else {
          throw context.refusal("index \(index) is outside extent \(extent)")
        }
        let start = (row * extent + (index < 0 ? index + extent : index)) * size
        bytes.append(contentsOf: data.bytes[start..<(start + size)])
      }
    }
    return [try Tensor(type.elementType, shape: type.shape, bytes: bytes)]
  }

  private static func constantOfShape(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let type = outputs.first else { return nil }
    let value = try context.node.tensor("value") ?? Tensor(floats: [0], shape: [1])
    guard value.count == 1 else { throw context.refusal("its value is not one number") }
    let strides = Array(repeating: 0, count: type.shape.count)
    return [try gathered(value, type, start: 0, strides: strides)]
  }

  private static func choose(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let condition = context.constant(0), let yes = context.constant(1),
      let no = context.constant(2), let type = outputs.first,
      yes.elementType == no.elementType, condition.elementType == .bool
    else { return nil }
    func wide(_ tensor: Tensor) throws(QuenchError) -> Tensor {
      try gathered(
        tensor, type, start: 0, strides: broadcastStrides(tensor.shape, to: type.shape))
    }
    let (flags, first, second) = (try wide(condition).bytes, try wide(yes), try wide(no))
    let size = type.elementType.size
    var bytes: [UInt8] = []
    for index in flags.indices {
      let source = flags[index] != 0 ? first : second
      bytes.append(contentsOf: source.bytes[(index * size)..<((index + 1) * size)])
    }
    return [try Tensor(type.elementType, shape: type.shape, bytes: bytes)]
  }
}
