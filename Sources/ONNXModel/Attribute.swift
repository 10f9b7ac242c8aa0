// SPDX-License-Identifier: Apache-2.0
// ONNXModel: a named setting of a node.

public import Diagnostics
internal import FoundationEssentials
internal import SwiftProtobuf
public import Tensors

/// A named setting of a node.
///
/// Wraps the message of the file, so that what Quench does not know about it survives.
public struct Attribute: Sendable, Equatable {
  var message: WireAttribute

  init(message: WireAttribute) { self.message = message }

  /// Makes an attribute.
  ///
  /// - Precondition: `value` is not `.other`, which only files can hold.
  public init(_ name: String, _ value: Value) {
    message = WireAttribute()
    message.name = name
    self.value = value
  }

  /// The name; unique within a node.
  public var name: String {
    get { message.name }
    set { message.name = newValue }
  }
}

extension Attribute {
  /// What an attribute can hold.
  public indirect enum Value: Sendable, Equatable {
    /// An integer.
    case int(Int64)
    /// A number.
    case float(Float)
    /// A text; bytes that are not UTF-8 show as replacement characters and are kept in the file.
    case string(String)
    /// A constant.
    case tensor(Tensor)
    /// A list of integers.
    case ints([Int64])
    /// A list of numbers.
    case floats([Float])
    /// A list of texts.
    case strings([String])
    /// The body of a control-flow node.
    case graph(Graph)
    /// A kind that Quench does not look into: lists of tensors or graphs, types, sparse tensors,
    /// references, tensors of an element type that it does not compute with.
    case other
  }

  /// What the attribute holds.
  ///
  /// Setting it drops what was held before and keeps the documentation text and unknown fields.
  public var value: Value {
    get {
      switch message.kind {
      case .float: .float(message.f)
      case .int: .int(message.i)
      case .string: .string(String(decoding: message.s, as: UTF8.self))
      case .tensor: (try? TensorDecoding.tensor(message.t)).map(Value.tensor) ?? .other
      case .graph: .graph(Graph(message: message.g, directory: nil))
      case .floats: .floats(message.floats)
      case .ints: .ints(message.ints)
      case .strings: .strings(message.strings.map { String(decoding: $0, as: UTF8.self) })
      case nil: .other
      }
    }
    set {
      message.clearValues()
      switch newValue {
      case .float(let value): message.set(.float) { $0.f = value }
      case .int(let value): message.set(.int) { $0.i = value }
      case .string(let value): message.set(.string) { $0.s = Data(value.utf8) }
      case .tensor(let value):
        message.set(.tensor) { $0.t = TensorDecoding.message(value, name: "") }
      case .graph(let value): message.set(.graph) { $0.g = value.encoded() }
      case .floats(let value): message.set(.floats) { $0.floats = value }
      case .ints(let value): message.set(.ints) { $0.ints = value }
      case .strings(let value):
        message.set(.strings) { $0.strings = value.map { Data($0.utf8) } }
      case .other: preconditionFailure("a value of no known kind cannot be made, only kept")
      }
    }
  }

  /// The held constant.
  ///
  /// - Throws: `.data` when the attribute holds no tensor, or one that is malformed or of an
  ///   element type that Quench does not compute with.
  public func tensor() throws(QuenchError) -> Tensor {
    guard message.kind == .tensor else {
      throw QuenchError(.data, "attribute \"\(name)\" holds no tensor")
    }
    return try TensorDecoding.tensor(message.t)
  }
}

extension WireAttribute {
  /// The kinds that Quench looks into; raw values are ONNX's AttributeType.
  enum Kind: Int32 {
    case float = 1
    case int = 2
    case string = 3
    case tensor = 4
    case graph = 5
    case floats = 6
    case ints = 7
    case strings = 8
  }

  /// The kind that `type` names. Files of IR version 1 left it out: then the field that is there.
  var kind: Kind? {
    if type != 0 { return Kind(rawValue: type) }
    if hasF { return .float }
    if hasI { return .int }
    if hasS { return .string }
    if hasT { return .tensor }
    if hasG { return .graph }
    if !floats.isEmpty { return .floats }
    if !ints.isEmpty { return .ints }
    return strings.isEmpty ? nil : .strings
  }

  mutating func set(_ kind: Kind, _ body: (inout WireAttribute) -> Void) {
    type = kind.rawValue
    body(&self)
  }

  mutating func clearValues() {
    clearF()
    clearI()
    clearS()
    clearT()
    clearG()
    floats = []
    ints = []
    strings = []
    tensors = []
    graphs = []
  }
}
