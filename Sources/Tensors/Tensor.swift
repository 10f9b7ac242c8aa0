// SPDX-License-Identifier: Apache-2.0
// Tensors: a shape and its elements.

public import Diagnostics

/// A dense tensor: row-major elements in the machine's (little-endian) order.
///
/// - Invariant: `bytes.count == shape.product * elementType.size`.
public struct Tensor: Sendable, Equatable {
  /// What one element is.
  public let elementType: ElementType
  /// Extents, outermost first; `[]` is a scalar.
  public let shape: [Int]
  /// The elements, row-major.
  public private(set) var bytes: [UInt8]

  /// Wraps raw bytes.
  ///
  /// - Throws: `.data` when the byte count does not fit the shape or an extent is negative.
  public init(_ elementType: ElementType, shape: [Int], bytes: [UInt8]) throws(QuenchError) {
    guard let count = Tensor.elementCount(of: shape),
      case (let size, let overflow) = count.multipliedReportingOverflow(by: elementType.size),
      !overflow, size == bytes.count
    else {
      throw QuenchError(
        .data, "\(bytes.count) bytes do not fill a \(elementType) tensor of shape \(shape)")
    }
    self.elementType = elementType
    self.shape = shape
    self.bytes = bytes
  }

  /// A tensor from Swift values.
  ///
  /// - Precondition: `values` fill `shape` and have the layout of `elementType`.
  public init<T: BitwiseCopyable>(_ elementType: ElementType, shape: [Int], values: [T]) {
    precondition(elementType.matches(T.self), "\(T.self) is not the layout of \(elementType)")
    precondition(Tensor.elementCount(of: shape) == values.count, "values must fill the shape")
    self.elementType = elementType
    self.shape = shape
    self.bytes = values.withUnsafeBytes { Array($0) }
  }

  /// A float tensor.
  public init(floats: [Float], shape: [Int]) {
    self.init(.float32, shape: shape, values: floats)
  }

  /// An int64 tensor, as ONNX uses for shapes and axes.
  public init(int64s: [Int64], shape: [Int]) {
    self.init(.int64, shape: shape, values: int64s)
  }

  /// Number of elements.
  public var count: Int { bytes.count / elementType.size }

  /// The product of the extents; nil when one is negative or the product overflows.
  public static func elementCount(of shape: [Int]) -> Int? {
    var product = 1
    for extent in shape {
      guard extent >= 0 else { return nil }
      let (next, overflow) = product.multipliedReportingOverflow(by: extent)
      if overflow { return nil }
      product = next
    }
    return product
  }

  /// The elements as Swift values.
  ///
  /// - Precondition: `T` has the layout of `elementType`.
  public func values<T: BitwiseCopyable>(as type: T.Type) -> [T] {
    withElements(as: type) { Array($0) }
  }

  /// The elements of a float32 tensor.
  public var floats: [Float] { values(as: Float.self) }

  /// Lends the elements without copying.
  public func withElements<T: BitwiseCopyable, R>(
    as type: T.Type, _ body: (UnsafeBufferPointer<T>) throws -> R
  ) rethrows -> R {
    precondition(elementType.matches(T.self), "\(T.self) is not the layout of \(elementType)")
    return try bytes.withUnsafeBytes { try body($0.bindMemory(to: T.self)) }
  }

  /// Lends the elements for writing.
  public mutating func withMutableElements<T: BitwiseCopyable, R>(
    as type: T.Type, _ body: (UnsafeMutableBufferPointer<T>) throws -> R
  ) rethrows -> R {
    precondition(elementType.matches(T.self), "\(T.self) is not the layout of \(elementType)")
    return try bytes.withUnsafeMutableBytes { try body($0.bindMemory(to: T.self)) }
  }

  /// The same elements under another shape.
  ///
  /// - Throws: `.data` when the element counts differ.
  public func reshaped(to shape: [Int]) throws(QuenchError) -> Tensor {
    try Tensor(elementType, shape: shape, bytes: bytes)
  }
}
