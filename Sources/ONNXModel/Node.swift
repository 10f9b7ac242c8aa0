// SPDX-License-Identifier: Apache-2.0
// ONNXModel: one operator application.

public import Diagnostics
public import Tensors

/// One operator applied to named tensors.
public struct Node: Sendable, Equatable {
  var message: WireNode

  init(message: WireNode) { self.message = message }

  /// Makes a node.
  public init(
    _ opType: String, name: String, inputs: [String], outputs: [String],
    attributes: [Attribute] = [], domain: String = ""
  ) {
    message = WireNode()
    message.name = name
    message.opType = opType
    message.input = inputs
    message.output = outputs
    message.attribute = attributes.map(\.message)
    if !domain.isEmpty { message.domain = domain }
  }

  /// The name; may be empty in a file, never after folding.
  public var name: String {
    get { message.name }
    set { message.name = newValue }
  }

  /// The operator, such as `Conv`.
  public var opType: String {
    get { message.opType }
    set { message.opType = newValue }
  }

  /// The operator set; `""` is ONNX's own, however the file spells it.
  public var domain: String {
    get { message.domain == "ai.onnx" ? "" : message.domain }
    set { message.domain = newValue }
  }

  /// Names of the tensors read; `""` stands for an optional input that is left out.
  public var inputs: [String] {
    get { message.input }
    set { message.input = newValue }
  }

  /// Names of the tensors made; `""` stands for an optional output that is left out.
  public var outputs: [String] {
    get { message.output }
    set { message.output = newValue }
  }

  /// The settings, in the order of the file.
  public var attributes: [Attribute] {
    get { message.attribute.map(Attribute.init(message:)) }
    set { message.attribute = newValue.map(\.message) }
  }

  /// The node in words for messages: `Conv node "conv1"`.
  public var title: String {
    let type = domain.isEmpty ? opType : "\(domain).\(opType)"
    if !name.isEmpty { return "\(type) node \"\(name)\"" }
    return "\(type) node that makes \"\(outputs.first ?? "")\""
  }

  /// The place of the node for errors.
  public var place: Place { .node(name.isEmpty ? outputs.first ?? opType : name) }
}

// MARK: - Attributes by name

extension Node {
  /// The attribute of that name. Setting nil removes it; setting another renames and puts it in
  /// the place of the old one, or at the end.
  public subscript(attribute name: String) -> Attribute? {
    get { message.attribute.first { $0.name == name }.map(Attribute.init(message:)) }
    set {
      let index = message.attribute.firstIndex { $0.name == name }
      switch (index, newValue) {
      case (let index?, let new?): message.attribute[index] = new.message
      case (let index?, nil): message.attribute.remove(at: index)
      case (nil, let new?): message.attribute.append(new.message)
      case (nil, nil): break
      }
    }
  }

  /// Sets an attribute to a value, in its place or at the end.
  public mutating func set(_ name: String, _ value: Attribute.Value) {
    var attribute = self[attribute: name] ?? Attribute(name, value)
    attribute.value = value
    self[attribute: name] = attribute
  }

  /// An integer attribute, or `defaultValue` when it is absent or of another kind.
  public func int(_ name: String, default defaultValue: Int) -> Int {
    guard let found = wire(name), found.kind == .int else { return defaultValue }
    return Int(found.i)
  }

  /// A list of integers, nil when it is absent or of another kind.
  public func ints(_ name: String) -> [Int]? {
    guard let found = wire(name), found.kind == .ints || found.type == 0 else { return nil }
    return found.ints.map(Int.init)
  }

  /// A number, or `defaultValue` when it is absent or of another kind.
  public func float(_ name: String, default defaultValue: Float) -> Float {
    guard let found = wire(name), found.kind == .float else { return defaultValue }
    return found.f
  }

  /// A text, nil when it is absent or of another kind.
  public func string(_ name: String) -> String? {
    guard let found = wire(name), found.kind == .string else { return nil }
    return String(decoding: found.s, as: UTF8.self)
  }

  /// A constant, nil when it is absent.
  ///
  /// - Throws: `.data` when it is no tensor, malformed, or of an unsupported element type.
  public func tensor(_ name: String) throws(QuenchError) -> Tensor? {
    guard let found = self[attribute: name] else { return nil }
    do {
      return try found.tensor()
    } catch {
      throw error.located(at: place)
    }
  }

  /// The bodies of a control-flow node.
  var subgraphs: [Graph] {
    message.attribute.flatMap { attribute in
      (attribute.hasG ? [attribute.g] : []) + attribute.graphs
    }.map { Graph(message: $0, directory: nil) }
  }

  private func wire(_ name: String) -> WireAttribute? {
    message.attribute.first { $0.name == name }
  }
}
