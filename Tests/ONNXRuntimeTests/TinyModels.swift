// SPDX-License-Identifier: Apache-2.0
// Tiny ONNX files written field by field, so that the binding is tested without our own writer.

import Glibc
import ONNXRuntime

/// The numbers of fields are those of onnx.proto.
enum TinyModels {
  /// `y = a · x` for x of shape `[1, 3]`, and `z = Relu(y)`, which is an output too.
  static func scaled(by factor: Float) -> [UInt8] {
    let multiply = node("Mul", ["x", "a"], ["y"])
    let relu = node("Relu", ["y"], ["z"])
    let constant =
      number(2, 1) + bytes(9, withUnsafeBytes(of: factor) { Array($0) }) + text(8, "a")
    let graph =
      bytes(1, multiply) + bytes(1, relu) + text(2, "tiny") + bytes(5, constant)
      + bytes(11, value("x", [1, 3])) + bytes(12, value("y", [1, 3]))
      + bytes(12, value("z", [1, 3]))
    return number(1, 8) + bytes(7, graph) + bytes(8, text(1, "") + number(2, 13))
  }

  /// `y = a + b`, any length.
  static func sum() -> [UInt8] {
    let graph =
      bytes(1, node("Add", ["a", "b"], ["y"])) + text(2, "sum") + bytes(11, value("a", [nil]))
      + bytes(11, value("b", [nil])) + bytes(12, value("y", [nil]))
    return number(1, 8) + bytes(7, graph) + bytes(8, text(1, "") + number(2, 13))
  }

  private static func node(_ type: String, _ inputs: [String], _ outputs: [String]) -> [UInt8] {
    inputs.flatMap { text(1, $0) } + outputs.flatMap { text(2, $0) } + text(4, type)
  }

  private static func value(_ name: String, _ shape: [Int?]) -> [UInt8] {
    let extents = shape.flatMap { extent in
      bytes(1, extent.map { number(1, UInt64($0)) } ?? text(2, "n"))
    }
    return text(1, name) + bytes(2, bytes(1, number(1, 1) + bytes(2, extents)))
  }

  private static func number(_ field: UInt64, _ value: UInt64) -> [UInt8] {
    varint(field << 3) + varint(value)
  }

  private static func bytes(_ field: UInt64, _ content: [UInt8]) -> [UInt8] {
    varint(field << 3 | 2) + varint(UInt64(content.count)) + content
  }

  private static func text(_ field: UInt64, _ content: String) -> [UInt8] {
    bytes(field, Array(content.utf8))
  }

  private static func varint(_ value: UInt64) -> [UInt8] {
    var rest = value
    var bytes: [UInt8] = []
    while rest > 127 {
      bytes.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }
}

/// Whether the tests of this module can run here.
let runtimeIsThere = RuntimeLibrary.find().map { access($0, R_OK) == 0 } ?? false
