// SPDX-License-Identifier: Apache-2.0
// ONNXModel: tensors in and out of messages.

internal import Diagnostics
internal import FoundationEssentials
internal import Tensors

/// Tensors in and out of messages (ONNX, TensorProto). No count in a message is believed.
enum TensorDecoding {
  /// The tensor of a message that holds its own data.
  static func tensor(_ message: WireTensor) throws(QuenchError) -> Tensor {
    let (type, shape) = try check(message)
    return try Tensor(type, shape: shape, bytes: bytes(message, type))
  }

  /// The message of a tensor, with raw data.
  static func message(_ tensor: Tensor, name: String) -> WireTensor {
    var message = WireTensor()
    message.dims = tensor.shape.map(Int64.init)
    message.dataType = tensor.elementType.rawValue
    if !name.isEmpty { message.name = name }
    message.rawData = Data(tensor.bytes)
    return message
  }

  /// Type and shape of a message.
  static func signature(
    _ message: WireTensor
  ) throws(QuenchError) -> (type: ElementType, shape: [Int], byteCount: Int) {
    guard let type = ElementType(rawValue: message.dataType) else {
      throw QuenchError(
        .data, "element type \(typeName(message.dataType)) is not supported")
    }
    let shape = message.dims.map(Int.init)
    guard let count = Tensor.elementCount(of: shape),
      case (let size, let overflow) = count.multipliedReportingOverflow(by: type.size), !overflow
    else { throw QuenchError(.data, "shape \(shape) is not possible") }
    return (type, shape, size)
  }

  /// Whether the data fills the shape; cheap.
  @discardableResult
  static func check(_ message: WireTensor) throws(QuenchError) -> (ElementType, [Int]) {
    let (type, shape, size) = try signature(message)
    guard !message.isExternal else {
      throw QuenchError(.data, "external data is only supported for weights of the main graph")
    }
    // Presence decides, except that an empty field may be left out.
    let held =
      message.hasRawData && (!message.rawData.isEmpty || size == 0)
      ? message.rawData.count : typedCount(message, type) * type.size
    guard held == size else {
      throw QuenchError(
        .data, "\(held) bytes of data do not fill a \(type) tensor of shape \(shape)")
    }
    return (type, shape)
  }

  private static func typedCount(_ message: WireTensor, _ type: ElementType) -> Int {
    switch type {
    case .float32: message.floatData.count
    case .float64: message.doubleData.count
    case .int64: message.int64Data.count
    case .uint32, .uint64: message.uint64Data.count
    case .int32, .int16, .int8, .uint16, .uint8, .bool, .float16: message.int32Data.count
    }
  }

  private static func bytes(_ message: WireTensor, _ type: ElementType) -> [UInt8] {
    if !message.rawData.isEmpty { return [UInt8](message.rawData) }
    switch type {
    case .float32: return raw(message.floatData)
    case .float64: return raw(message.doubleData)
    case .int64: return raw(message.int64Data)
    case .uint64: return raw(message.uint64Data)
    case .uint32: return raw(message.uint64Data.map { UInt32(truncatingIfNeeded: $0) })
    case .int32: return raw(message.int32Data)
    case .int16, .uint16, .float16:
      return raw(message.int32Data.map { UInt16(truncatingIfNeeded: $0) })
    case .int8, .uint8: return message.int32Data.map { UInt8(truncatingIfNeeded: $0) }
    case .bool: return message.int32Data.map { $0 == 0 ? 0 : 1 }
    }
  }

  private static func raw<T: BitwiseCopyable>(_ values: [T]) -> [UInt8] {
    values.withUnsafeBytes { Array($0) }
  }

  /// ONNX's name of a data type, for messages.
  static func typeName(_ code: Int32) -> String {
    let names: [Int32: String] = [
      0: "undefined", 8: "string", 14: "complex64", 15: "complex128", 16: "bfloat16",
      17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
      21: "uint4", 22: "int4", 23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2",
    ]
    return names[code].map { "\"\($0)\"" } ?? "number \(code)"
  }
}

extension WireTensor {
  /// Whether the data stands in another file.
  var isExternal: Bool { dataLocation == 1 }
}
