// SPDX-License-Identifier: Apache-2.0
// ONNXModel: arithmetic on constants.

internal import Diagnostics
internal import Glibc
internal import Tensors

extension ConstantEvaluator {
  /// The outputs of an operator that computes; nil for others.
  static func computed(
    _ context: RuleContext, _ outputs: [TensorType], _ limit: Int
  ) throws(QuenchError) -> [Tensor]? {
    switch context.node.opType {
    case "Add", "Sub", "Mul", "Div", "Mod", "Pow", "Min", "Max":
      try binary(context, outputs)
    case "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Xor":
      try comparison(context, outputs)
    case "Neg", "Abs", "Sqrt", "Floor", "Ceil", "Round", "Reciprocal", "Sign", "Relu":
      unary(context)
    case "ReduceProd", "ReduceSum", "ReduceMin", "ReduceMax": try reduce(context, outputs)
    case "Cast": cast(context, outputs)
    case "Not": not(context)
    case "Range": try range(context, limit)
    default: nil
    }
  }

  // MARK: Two operands

  private static func binary(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let type = outputs.first, var result = context.constant(0) else { return nil }
    let name = context.node.opType
    if context.constants.count == 1 { return [result] }
    for other in context.constants.dropFirst() {
      guard let other, other.elementType == result.elementType else { return nil }
      let shape = try context.broadcast([result.shape, other.shape])
      let next: Tensor?
      switch type.elementType {
      case .int64: next = try integers(context, name, Int64.self, result, other, shape)
      case .int32: next = try integers(context, name, Int32.self, result, other, shape)
      case .float32: next = try floats(context, name, Float.self, result, other, shape)
      case .float64: next = try floats(context, name, Double.self, result, other, shape)
      default: next = nil
      }
      guard let next else { return nil }
      result = next
    }
    return [result]
  }

  private static func integers<T: FixedWidthInteger & BitwiseCopyable>(
    _ context: RuleContext, _ name: String, _ type: T.Type, _ a: Tensor, _ b: Tensor,
    _ shape: [Int]
  ) throws(QuenchError) -> Tensor? {
    // Overflow wraps, as the runtime's does; the one division that overflows wraps too.
    if name == "Div" || name == "Mod", b.values(as: type).contains(0) {
      throw context.refusal("it divides an integer by zero")
    }
    let operation: (T, T) -> T
    switch name {
    case "Add": operation = { $0 &+ $1 }
    case "Sub": operation = { $0 &- $1 }
    case "Mul": operation = { $0 &* $1 }
    case "Div": operation = { $0.dividedReportingOverflow(by: $1).partialValue }
    case "Min": operation = { Swift.min($0, $1) }
    case "Max": operation = { Swift.max($0, $1) }
    case "Mod":
      let isTruncated = context.node.int("fmod", default: 0) != 0
      operation = { x, y in
        let rest = x.remainderReportingOverflow(dividingBy: y).partialValue
        // The sign is the divisor's, unless fmod asks for C's rule.
        return !isTruncated && rest != 0 && (rest < 0) != (y < 0) ? rest &+ y : rest
      }
    default: return nil
    }
    return try combined(type, a, b, shape, a.elementType, operation)
  }

  private static func floats<T: BinaryFloatingPoint & BitwiseCopyable>(
    _ context: RuleContext, _ name: String, _ type: T.Type, _ a: Tensor, _ b: Tensor,
    _ shape: [Int]
  ) throws(QuenchError) -> Tensor? {
    let operation: (T, T) -> T
    switch name {
    case "Add": operation = { $0 + $1 }
    case "Sub": operation = { $0 - $1 }
    case "Mul": operation = { $0 * $1 }
    case "Div": operation = { $0 / $1 }
    // NaN goes through, as ONNX asks since opset 8 and the runtime does.
    case "Min": operation = { $0.isNaN || $1.isNaN ? .nan : Swift.min($0, $1) }
    case "Max": operation = { $0.isNaN || $1.isNaN ? .nan : Swift.max($0, $1) }
    case "Pow": operation = { T(Glibc.pow(Double($0), Double($1))) }
    default: return nil
    }
    return try combined(type, a, b, shape, a.elementType, operation)
  }

  /// Applies an operation to two tensors under broadcasting.
  private static func combined<T: BitwiseCopyable, R: BitwiseCopyable>(
    _ type: T.Type, _ a: Tensor, _ b: Tensor, _ shape: [Int], _ result: ElementType,
    _ operation: (T, T) -> R
  ) throws(QuenchError) -> Tensor {
    let left = try wide(a, shape).values(as: type)
    let right = try wide(b, shape).values(as: type)
    return Tensor(result, shape: shape, values: zip(left, right).map { operation($0, $1) })
  }

  private static func wide(_ tensor: Tensor, _ shape: [Int]) throws(QuenchError) -> Tensor {
    guard tensor.shape != shape else { return tensor }
    return try gathered(
      tensor, TensorType(tensor.elementType, shape), start: 0,
      strides: broadcastStrides(tensor.shape, to: shape))
  }

  private static func comparison(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let type = outputs.first, let a = context.constant(0), let b = context.constant(1),
      a.elementType == b.elementType
    else { return nil }
    let name = context.node.opType
    func compare<T: Comparable & BitwiseCopyable>(
      _ kind: T.Type
    ) throws(QuenchError) -> [Tensor]? {
      let operation: (T, T) -> UInt8
      switch name {
      case "Equal": operation = { $0 == $1 ? 1 : 0 }
      case "Less": operation = { $0 < $1 ? 1 : 0 }
      case "Greater": operation = { $0 > $1 ? 1 : 0 }
      case "LessOrEqual": operation = { $0 <= $1 ? 1 : 0 }
      case "GreaterOrEqual": operation = { $0 >= $1 ? 1 : 0 }
      default: return nil
      }
      return [try combined(kind, a, b, type.shape, .bool, operation)]
    }
    switch a.elementType {
    case .int64: return try compare(Int64.self)
    case .int32: return try compare(Int32.self)
    case .float32: return try compare(Float.self)
    case .float64: return try compare(Double.self)
    case .bool:
      let operation: (UInt8, UInt8) -> UInt8
      switch name {
      case "And": operation = { $0 != 0 && $1 != 0 ? 1 : 0 }
      case "Or": operation = { $0 != 0 || $1 != 0 ? 1 : 0 }
      case "Xor": operation = { ($0 != 0) != ($1 != 0) ? 1 : 0 }
      case "Equal": operation = { ($0 != 0) == ($1 != 0) ? 1 : 0 }
      default: return nil
      }
      return [try combined(UInt8.self, a, b, type.shape, .bool, operation)]
    default: return nil
    }
  }

  // MARK: One operand

  private static func unary(_ context: RuleContext) -> [Tensor]? {
    guard let tensor = context.constant(0) else { return nil }
    let name = context.node.opType
    func integers<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) -> [Tensor]? {
      let values = tensor.values(as: type)
      let result: [T]
      switch name {
      case "Neg": result = values.map { 0 &- $0 }
      case "Abs": result = values.map { $0 < 0 ? 0 &- $0 : $0 }
      case "Sign": result = values.map { $0.signum() }
      case "Relu": result = values.map { max($0, 0) }
      default: return nil
      }
      return [Tensor(tensor.elementType, shape: tensor.shape, values: result)]
    }
    func floats<T: BinaryFloatingPoint & BitwiseCopyable>(_ type: T.Type) -> [Tensor]? {
      let values = tensor.values(as: type)
      let result: [T]
      switch name {
      case "Neg": result = values.map { -$0 }
      case "Abs": result = values.map { $0.magnitude }
      case "Sqrt": result = values.map { $0.squareRoot() }
      case "Floor": result = values.map { $0.rounded(.down) }
      case "Ceil": result = values.map { $0.rounded(.up) }
      case "Round": result = values.map { $0.rounded(.toNearestOrEven) }
      case "Reciprocal": result = values.map { 1 / $0 }
      case "Sign": result = values.map { $0 > 0 ? 1 : $0 < 0 ? -1 : 0 }
      case "Relu": result = values.map { $0 < 0 ? 0 : $0 }
      default: return nil
      }
      return [Tensor(tensor.elementType, shape: tensor.shape, values: result)]
    }
    switch tensor.elementType {
    case .int64: return integers(Int64.self)
    case .int32: return integers(Int32.self)
    case .float32: return floats(Float.self)
    case .float64: return floats(Double.self)
    default: return nil
    }
  }

  private static func not(_ context: RuleContext) -> [Tensor]? {
    guard let tensor = context.constant(0), tensor.elementType == .bool else { return nil }
    return [
      Tensor(.bool, shape: tensor.shape, values: tensor.bytes.map { $0 == 0 ? 1 : 0 as UInt8 })
    ]
  }

  /// Reduction over all axes, as shape arithmetic uses it.
  private static func reduce(
    _ context: RuleContext, _ outputs: [TensorType]
  ) throws(QuenchError) -> [Tensor]? {
    guard let tensor = context.constant(0), tensor.elementType == .int64, tensor.count > 0,
      let type = outputs.first, Tensor.elementCount(of: type.shape) == 1
    else { return nil }
    let values = tensor.values(as: Int64.self)
    let result: Int64
    switch context.node.opType {
    case "ReduceProd": result = values.reduce(1, &*)
    case "ReduceSum": result = values.reduce(0, &+)
    case "ReduceMin": result = values.min() ?? 0
    default: result = values.max() ?? 0
    }
    return [Tensor(int64s: [result], shape: type.shape)]
  }

  private static func range(
    _ context: RuleContext, _ limit: Int
  ) throws(QuenchError) -> [Tensor]? {
    guard context.constant(0)?.elementType == .int64,
      let first = context.integers(0)?.first, let last = context.integers(1)?.first,
      let delta = context.integers(2)?.first
    else { return nil }
    guard delta != 0 else { throw context.refusal("its step is 0") }
    let bound = 1 << 40
    guard [first, last, delta].allSatisfy({ $0.magnitude < bound }) else {
      throw context.refusal("its range is too large")
    }
    let values = stride(from: first, to: last, by: delta)
    guard (last - first) / delta <= limit else { return nil }
    let list = values.map(Int64.init)
    return [Tensor(int64s: list, shape: [list.count])]
  }

  private static func cast(_ context: RuleContext, _ outputs: [TensorType]) -> [Tensor]? {
    guard let tensor = context.constant(0), let type = outputs.first?.elementType else {
      return nil
    }
    if tensor.elementType == type { return [tensor] }
    func written(_ values: [Double], _ exact: [Int64]?) -> Tensor? {
      let shape = tensor.shape
      // A value that the target cannot hold has no defined result: left to the runtime.
      switch type {
      case .float32:
        return Tensor(floats: exact?.map { Float($0) } ?? values.map { Float($0) }, shape: shape)
      case .float64:
        return Tensor(
          .float64, shape: shape, values: exact?.map { Double($0) } ?? values)
      case .int64:
        guard let whole = exact ?? truncated(values, Int64.self) else { return nil }
        return Tensor(int64s: whole, shape: shape)
      case .int32:
        let whole = exact?.map { Int32(truncatingIfNeeded: $0) } ?? truncated(values, Int32.self)
        return whole.map { Tensor(.int32, shape: shape, values: $0) }
      case .bool:
        let flags: [UInt8] =
          exact?.map { $0 == 0 ? 0 : 1 } ?? values.map { $0 == 0 ? 0 : 1 }
        return Tensor(.bool, shape: shape, values: flags)
      default: return nil
      }
    }
    let result: Tensor?
    switch tensor.elementType {
    case .int64: result = written([], tensor.values(as: Int64.self))
    case .int32: result = written([], tensor.values(as: Int32.self).map(Int64.init))
    case .bool: result = written([], tensor.bytes.map { $0 == 0 ? 0 : 1 })
    case .float32: result = written(tensor.floats.map(Double.init), nil)
    case .float64: result = written(tensor.values(as: Double.self), nil)
    default: result = nil
    }
    return result.map { [$0] }
  }

  private static func truncated<T: FixedWidthInteger>(
    _ values: [Double], _ type: T.Type
  ) -> [T]? {
    var result: [T] = []
    for value in values {
      guard let whole = T(exactly: value.rounded(.towardZero)) else { return nil }
      result.append(whole)
    }
    return result
  }
}
