// SPDX-License-Identifier: Apache-2.0
// ONNXRuntime: what a run produced, lent without copying.

internal import COnnxRuntime
public import Diagnostics
public import Tensors

/// The outputs of one run. Their memory is the library's and ends with this value.
public struct RunOutputs: ~Copyable {
  private let library: RuntimeLibrary
  private let values: [OpaquePointer?]
  private let names: [String]

  init(_ library: RuntimeLibrary, _ values: [OpaquePointer?], _ names: [String]) {
    self.library = library
    self.values = values
    self.names = names
  }

  deinit {
    for value in values { library.api.table.pointee.release_value(value) }
  }

  /// How many there are: as many as were asked for.
  public var count: Int { values.count }

  /// Element type and shape of an output.
  ///
  /// - Throws: `.data` when it is no tensor of a type that Quench knows.
  public func type(_ index: Int) throws(QuenchError) -> (elementType: ElementType, shape: [Int]) {
    let value = try tensorValue(index)
    let api = library.api
    let info = try api.made("reading output \"\(names[index])\"") { out in
      api.table.pointee.tensor_info(value, out)
    }.pointer
    defer { api.table.pointee.release_tensor_info(info) }
    let (type, extents) = try SessionSignatures.describe(info, api)
    guard let elementType = ElementType(rawValue: type) else {
      throw QuenchError(
        .data, "the elements of output \"\(names[index])\" have the unsupported type \(type)",
        at: .tensor(names[index]))
    }
    return (elementType, extents.map(Int.init))
  }

  /// Lends the elements of a float32 output, row-major.
  ///
  /// - Throws: `.data` when it is not a float32 tensor; what `body` throws.
  public func withFloats<R>(
    _ index: Int, _ body: (UnsafeBufferPointer<Float>) throws(QuenchError) -> R
  ) throws(QuenchError) -> R {
    let (elementType, _) = try type(index)
    guard elementType == .float32 else {
      throw QuenchError(
        .data, "tensor \"\(names[index])\" holds \(elementType), not float32",
        at: .tensor(names[index]))
    }
    let bytes = try bytes(index)
    return try body(bytes.bindMemory(to: Float.self))
  }

  /// Lends an output of any element type.
  ///
  /// - Throws: as `type`; what `body` throws.
  public func withView<R>(
    _ index: Int, _ body: (TensorView) throws(QuenchError) -> R
  ) throws(QuenchError) -> R {
    let (elementType, shape) = try type(index)
    return try body(TensorView(elementType, shape: shape, bytes: try bytes(index)))
  }

  /// A copy of an output.
  ///
  /// - Throws: as `type`.
  public func tensor(_ index: Int) throws(QuenchError) -> Tensor {
    let (elementType, shape) = try type(index)
    return try Tensor(elementType, shape: shape, bytes: Array(bytes(index)))
  }

  /// The raw elements; they live as long as this value.
  private func bytes(_ index: Int) throws(QuenchError) -> UnsafeRawBufferPointer {
    let (elementType, shape) = try type(index)
    let count = (Tensor.elementCount(of: shape) ?? 0) * elementType.size
    guard count > 0 else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    let value = try tensorValue(index)
    var data: UnsafeMutableRawPointer?
    try library.api.check(
      library.api.table.pointee.tensor_data(value, &data), "reading output \"\(names[index])\"")
    return UnsafeRawBufferPointer(start: data, count: count)
  }

  private func tensorValue(_ index: Int) throws(QuenchError) -> OpaquePointer {
    var isTensor: Int32 = 0
    if let value = values[index] {
      let status = library.api.table.pointee.is_tensor(value, &isTensor)
      try library.api.check(status, "reading output \"\(names[index])\"")
      if isTensor != 0 { return value }
    }
    throw QuenchError(
      .data, "output \"\(names[index])\" is not a tensor", at: .tensor(names[index]))
  }
}
