// SPDX-License-Identifier: Apache-2.0
// Compilation: the MODEL_INOUT_INFO partition: names, shapes and types of inputs and outputs.

internal import Diagnostics

/// What the MODEL_INOUT_INFO partition says.
///
/// Source: `ge_model_inout_types.h` of CANN's graph engine: records of type, length and value.
struct OMInterface: Equatable {
  var inputs: [Port] = []
  var outputs: [Port] = []

  /// One input or output.
  struct Port: Equatable {
    var name: String
    var type: OMDataType
    var format: String
    var size: UInt64
    var shape: [Int64]
  }

  static func decode(_ bytes: [UInt8]) throws(QuenchError) -> OMInterface {
    var reader = ByteReader(bytes[...], subject: "the MODEL_INOUT_INFO partition")
    var result = OMInterface()
    while reader.remaining > 0 {
      let type = try reader.integer(Int32.self)
      let length = try reader.count(UInt32.self)
      let value = try reader.take(length)
      switch type {
      case 0: result.inputs = try ports(value)
      case 1: result.outputs = try ports(value)
      default: continue
      }
    }
    return result
  }

  func encode() -> [UInt8] {
    var bytes: [UInt8] = []
    for (type, ports) in [(Int32(0), inputs), (Int32(1), outputs)] {
      var value: [UInt8] = []
      value.append(integer: UInt32(ports.count))
      for port in ports {
        let name = Array(port.name.utf8)
        value.append(integer: port.size)
        value.append(integer: OMFormat.code(port.format))
        value.append(integer: port.type.interfaceCode)
        value.append(integer: UInt32(name.count))
        value.append(integer: UInt32(8 * port.shape.count))
        value.append(integer: UInt32(8 * port.shape.count))
        value.append(integer: UInt32(0))
        value += name
        for _ in 0..<2 { for extent in port.shape { value.append(integer: extent) } }
      }
      bytes.append(integer: type)
      bytes.append(integer: UInt32(value.count))
      bytes += value
    }
    return bytes
  }

  private static func ports(_ bytes: ArraySlice<UInt8>) throws(QuenchError) -> [Port] {
    var reader = ByteReader(bytes, subject: "the MODEL_INOUT_INFO partition")
    var ports: [Port] = []
    for _ in 0..<(try reader.count(UInt32.self)) {
      let size = try reader.integer(UInt64.self)
      let format = try reader.integer(Int32.self)
      let type = try reader.integer(Int32.self)
      var lengths: [Int] = []
      for _ in 0..<4 { lengths.append(try reader.count(UInt32.self)) }
      let name = String(decoding: try reader.take(lengths[0]), as: UTF8.self)
      var dimensions = ByteReader(
        try reader.take(lengths[1]), subject: "a shape in the MODEL_INOUT_INFO partition")
      var shape: [Int64] = []
      while dimensions.remaining > 0 { shape.append(try dimensions.integer(Int64.self)) }
      try reader.skip(lengths[2])
      try reader.skip(lengths[3])
      ports.append(
        Port(
          name: name, type: OMDataType(interfaceCode: type), format: OMFormat.name(format),
          size: size, shape: shape))
    }
    return ports
  }
}
