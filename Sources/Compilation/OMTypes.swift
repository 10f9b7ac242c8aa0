// SPDX-License-Identifier: Apache-2.0
// Compilation: element types and formats, which have two numberings in OM files.

internal import Tensors

extension OMDataType {
  /// Proto names as people write them: `FLOAT16`.
  var shown: String {
    switch self {
    case .undefined: "UNDEFINED"
    case .float: "FLOAT"
    case .float16: "FLOAT16"
    case .int8: "INT8"
    case .uint8: "UINT8"
    case .int16: "INT16"
    case .uint16: "UINT16"
    case .int32: "INT32"
    case .int64: "INT64"
    case .uint32: "UINT32"
    case .uint64: "UINT64"
    case .bool: "BOOL"
    case .double: "DOUBLE"
    case .string: "STRING"
    case .bf16: "BF16"
    case .int4: "INT4"
    case .UNRECOGNIZED(let number): "type \(number)"
    }
  }

  /// The number that operator attributes and MODEL_INOUT_INFO use (`ge::DataType`).
  var interfaceCode: Int32 {
    OMDataType.interfaceCodes.first { $0.type == self }?.code ?? 28
  }

  /// The type of such a number; `undefined` for those not named here.
  init(interfaceCode: Int32) {
    self = OMDataType.interfaceCodes.first { $0.code == interfaceCode }?.type ?? .undefined
  }

  private static let interfaceCodes: [(type: OMDataType, code: Int32)] = [
    (.float, 0), (.float16, 1), (.int8, 2), (.uint8, 4), (.int16, 6), (.uint16, 7), (.int32, 3),
    (.int64, 9), (.uint32, 8), (.uint64, 10), (.bool, 12), (.double, 11), (.string, 13),
    (.bf16, 27), (.int4, 29), (.undefined, 28),
  ]

  init(_ type: ElementType) {
    self =
      switch type {
      case .float32: .float
      case .uint8: .uint8
      case .int8: .int8
      case .uint16: .uint16
      case .int16: .int16
      case .int32: .int32
      case .int64: .int64
      case .bool: .bool
      case .float16: .float16
      case .float64: .double
      case .uint32: .uint32
      case .uint64: .uint64
      }
  }

  /// The type that Quench computes with; nil where it has none.
  var elementType: ElementType? {
    ElementType.allCases.first { OMDataType($0) == self }
  }
}

/// Tensor formats of the `ge::Format` enumeration.
enum OMFormat {
  private static let names: [Int32: String] = [
    0: "NCHW", 1: "NHWC", 2: "ND", 3: "NC1HWC0", 4: "FRACTAL_Z", 12: "NC1HWC0_C04",
    13: "FRACTAL_Z_C04", 14: "CHWN", 16: "HWCN", 26: "MD", 27: "NDHWC", 28: "FRACTAL_ZZ",
    29: "FRACTAL_NZ", 30: "NCDHW", 32: "NDC1HWC0", 33: "FRACTAL_Z_3D", 39: "FRACTAL_Z_G",
  ]

  static func name(_ code: Int32) -> String { names[code] ?? "format \(code)" }

  /// The code of a name; ND for those not known.
  static func code(_ name: String) -> Int32 { names.first { $0.value == name }?.key ?? 2 }
}
