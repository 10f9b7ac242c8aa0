// SPDX-License-Identifier: Apache-2.0
// Tensors: element types.

/// The element types that Quench computes with. Raw values are ONNX's `TensorProto.DataType`.
public enum ElementType: Int32, Sendable, CaseIterable, Codable {
  case float32 = 1
  case uint8 = 2
  case int8 = 3
  case uint16 = 4
  case int16 = 5
  case int32 = 6
  case int64 = 7
  case bool = 9
  case float16 = 10
  case float64 = 11
  case uint32 = 12
  case uint64 = 13

  /// Bytes of one element.
  public var size: Int {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16, .float16: 2
    case .float32, .int32, .uint32: 4
    case .float64, .int64, .uint64: 8
    }
  }

  /// The Swift type with this layout, for checks.
  public func matches<T>(_ type: T.Type) -> Bool {
    switch self {
    case .float32: T.self == Float.self
    case .uint8: T.self == UInt8.self
    case .bool: T.self == UInt8.self || T.self == Bool.self
    case .int8: T.self == Int8.self
    case .uint16, .float16: T.self == UInt16.self
    case .int16: T.self == Int16.self
    case .int32: T.self == Int32.self
    case .int64: T.self == Int64.self
    case .float64: T.self == Double.self
    case .uint32: T.self == UInt32.self
    case .uint64: T.self == UInt64.self
    }
  }
}
