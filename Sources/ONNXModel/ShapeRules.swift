// SPDX-License-Identifier: Apache-2.0
// ONNXModel: output types of the operators (ONNX operator specification, opsets 7 to 22).

internal import Diagnostics
internal import Tensors

/// Output types of the operators (ONNX operator specification, opsets 7 to 22).
enum ShapeRules {
  /// The output types; nil when there is no rule or the sizes depend on unknown values.
  static func outputs(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let opType = context.node.opType
    if sameAsInput.contains(opType) { return [try context.type(0)] }
    switch opType {
    case "Dropout":
      let type = try context.type(0)
      return [type, TensorType(.bool, type.shape)]
    case "IsNaN", "IsInf": return [TensorType(.bool, try context.type(0).shape)]
    case "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Mean", "Sum", "BitShift",
      "BitwiseAnd", "BitwiseOr", "BitwiseXor":
      return try elementwise(context)
    case "And", "Or", "Xor", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual":
      let shapes = try allTypes(context).map(\.shape)
      return [TensorType(.bool, try context.broadcast(shapes))]
    case "Where":
      let shapes = try allTypes(context).map(\.shape)
      return [TensorType(try context.type(1).elementType, try context.broadcast(shapes))]
    case "Cast":
      guard let type = ElementType(rawValue: Int32(clamping: context.node.int("to", default: 0)))
      else { return nil }
      return [TensorType(type, try context.type(0).shape)]
    case "CastLike":
      return [TensorType(try context.type(1).elementType, try context.type(0).shape)]
    case "QuantizeLinear", "AscendQuant":
      // `output_dtype` since opset 21; without it and without a zero point, uint8.
      let named = ElementType(
        rawValue: Int32(clamping: context.node.int("output_dtype", default: 0)))
      let fallback: ElementType = opType == "AscendQuant" ? .int8 : named ?? .uint8
      let type = context.has(2) ? try context.type(2).elementType : fallback
      return [TensorType(type, try context.type(0).shape)]
    case "DequantizeLinear":
      return [TensorType(try context.type(1).elementType, try context.type(0).shape)]
    case "AscendDequant":
      // Ascend's own operator; `dtype` counts as GE does: 0 is float32, 1 float16.
      let half = context.node.int("dtype", default: 0) == 1
      return [TensorType(half ? .float16 : .float32, try context.type(0).shape)]
    default:
      if let types = try windowed(context) { return types }
      return try moved(context)
    }
  }

  /// Operators whose first output is of the first input's type.
  private static let sameAsInput: Set<String> = [
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization",
    "BitwiseNot", "Ceil", "Celu", "Clip", "Cos", "Cosh", "CumSum", "Elu", "Erf", "Exp",
    "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity",
    "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax",
    "LpNormalization", "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu",
    "RMSNormalization", "Reciprocal", "Relu", "ReverseSequence", "Round", "Scatter",
    "ScatterElements", "ScatterND", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh",
    "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
    "Trilu",
  ]

  private static func elementwise(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let types = try allTypes(context)
    guard let first = types.first else { throw context.refusal("it has no input") }
    // Only the exponent of Pow and the count of BitShift may be of another type.
    if !["Pow", "BitShift"].contains(context.node.opType),
      let other = types.first(where: { $0.elementType != first.elementType })
    {
      throw context.refusal("it mixes \(first.elementType) and \(other.elementType)")
    }
    return [TensorType(first.elementType, try context.broadcast(types.map(\.shape)))]
  }

  static func allTypes(_ context: RuleContext) throws(QuenchError) -> [TensorType] {
    var types: [TensorType] = []
    for index in context.types.indices { types.append(try context.type(index)) }
    return types
  }
}
