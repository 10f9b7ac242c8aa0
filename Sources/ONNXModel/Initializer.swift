// SPDX-License-Identifier: Apache-2.0
// ONNXModel: a named constant of the graph.

public import Diagnostics
public import Tensors

/// A named constant of the graph.
///
/// One that was read keeps the message of the file until `tensor()` is asked for; data in another
/// file is not touched before that.
public struct Initializer: Sendable {
  private enum Content: Sendable {
    case message(WireTensor, directory: String?)
    case tensor(Tensor)
  }

  /// The tensor's name.
  public var name: String
  private var content: Content

  init(message: WireTensor, directory: String?) {
    name = message.name
    content = .message(message, directory: directory)
  }

  /// A constant from a tensor.
  public init(_ name: String, _ tensor: Tensor) {
    self.name = name
    content = .tensor(tensor)
  }

  /// The extents; `[]` for a scalar. Not checked against the data before `tensor()`.
  public var shape: [Int] {
    switch content {
    case .message(let message, _): message.dims.map(Int.init)
    case .tensor(let tensor): tensor.shape
    }
  }

  /// The element type, if it is one that Quench computes with.
  public var knownElementType: ElementType? {
    switch content {
    case .message(let message, _): ElementType(rawValue: message.dataType)
    case .tensor(let tensor): tensor.elementType
    }
  }

  /// The element type.
  ///
  /// A type that Quench does not compute with (texts, bfloat16, 4-bit and 8-bit floats) shows as
  /// `uint8`; `tensor()` refuses it by name, `knownElementType` is nil.
  public var elementType: ElementType { knownElementType ?? .uint8 }

  /// The elements: copied once from the file's message, or mapped from the external file.
  ///
  /// - Throws: `.data` when the data does not fit the shape or the type is not supported,
  ///   `.noInput` when an external file is missing.
  public func tensor() throws(QuenchError) -> Tensor {
    switch content {
    case .tensor(let tensor): return tensor
    case .message(let message, let directory):
      do {
        guard message.isExternal else { return try TensorDecoding.tensor(message) }
        return try ExternalData(of: message, in: directory).tensor()
      } catch {
        throw error.located(at: .tensor(name))
      }
    }
  }

  /// The file beside the model that holds the elements; nil when they are in the model, or when
  /// that file is missing or refused.
  var externalFile: String? {
    guard case .message(let message, let directory?) = content, message.isExternal,
      (try? ExternalData(of: message, in: directory).locate()) != nil,
      let location = message.externalData.first(where: { $0.key == "location" })?.value
    else { return nil }
    return directory.isEmpty || directory == "." ? location : "\(directory)/\(location)"
  }

  /// Checks length, type and external place without reading the elements.
  func check() throws(QuenchError) {
    guard case .message(let message, let directory) = content else { return }
    do {
      if message.isExternal {
        _ = try ExternalData(of: message, in: directory).locate()
      } else if knownElementType != nil {
        try TensorDecoding.check(message)
      }
    } catch {
      throw error.located(at: .tensor(name))
    }
  }

  /// The message for a file; external data is taken in.
  func encoded() throws(QuenchError) -> WireTensor {
    switch content {
    case .tensor(let tensor): return TensorDecoding.message(tensor, name: name)
    case .message(var message, _):
      if message.isExternal {
        // Only what says where the data is goes: text and unknown fields stay.
        let inlined = TensorDecoding.message(try tensor(), name: name)
        message.rawData = inlined.rawData
        message.externalData = []
        message.clearDataLocation()
      }
      if message.name != name { message.name = name }
      return message
    }
  }

  /// The message without taking external data in.
  var unresolvedMessage: WireTensor {
    switch content {
    case .tensor(let tensor): return TensorDecoding.message(tensor, name: name)
    case .message(var message, _):
      if message.name != name { message.name = name }
      return message
    }
  }
}
