// SPDX-License-Identifier: Apache-2.0
// ONNXModel: what a file says about a tensor.

public import Tensors

/// One extent of a tensor as a file gives it.
public enum Dimension: Sendable, Hashable {
  /// A number, at least 0.
  case fixed(Int)
  /// A symbol; equal symbols mean equal extents.
  case named(String)
  /// Nothing is said.
  case unknown
}

/// The name, element type and shape of a tensor as a file gives them.
public struct ValueInfo: Sendable, Equatable {
  var message: WireValue

  init(message: WireValue) { self.message = message }

  /// A tensor of fixed shape.
  public init(_ name: String, _ elementType: ElementType, shape: [Int]) {
    self.init(name, elementType, dimensions: shape.map(Dimension.fixed))
  }

  /// A tensor of any shape.
  public init(_ name: String, _ elementType: ElementType, dimensions: [Dimension]) {
    message = WireValue()
    message.name = name
    self.elementType = elementType
    self.dimensions = dimensions
  }

  /// The tensor's name.
  public var name: String {
    get { message.name }
    set { message.name = newValue }
  }

  /// The element type; nil when it is not given or not one that Quench computes with.
  public var elementType: ElementType? {
    get { ElementType(rawValue: message.type.tensorType.elemType) }
    set { message.type.tensorType.elemType = newValue?.rawValue ?? 0 }
  }

  /// Whether a shape is given at all; without one even the rank is unknown.
  public var hasShape: Bool { message.type.tensorType.hasShape }

  /// The extents, outermost first; `[]` for a scalar and when no shape is given (`hasShape`).
  public var dimensions: [Dimension] {
    get {
      message.type.tensorType.shape.dim.map { extent in
        switch extent.value {
        // Some exporters write −1 or 0 for "any".
        case .dimValue(let value): value > 0 ? .fixed(Int(value)) : .unknown
        case .dimParam(let name): name.isEmpty ? .unknown : .named(name)
        case nil: .unknown
        }
      }
    }
    set {
      var shape = WireShape()
      shape.dim = newValue.map { dimension in
        var extent = WireExtent()
        switch dimension {
        case .fixed(let value): extent.dimValue = Int64(value)
        case .named(let name): extent.dimParam = name
        case .unknown: break
        }
        return extent
      }
      message.type.tensorType.shape = shape
    }
  }

  /// The shape, if every extent is a number.
  public var fixedShape: [Int]? {
    guard hasShape else { return nil }
    var shape: [Int] = []
    for dimension in dimensions {
      guard case .fixed(let extent) = dimension else { return nil }
      shape.append(extent)
    }
    return shape
  }
}
