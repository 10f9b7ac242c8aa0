// SPDX-License-Identifier: Apache-2.0
// ONNXRuntime: names, types and shapes of a session's inputs and outputs.

internal import COnnxRuntime
internal import Diagnostics
public import Tensors

/// An input or output of a session.
public struct Signature: Sendable, Equatable {
  /// Its name in the model.
  public let name: String
  /// nil for what is no tensor or has elements that Quench does not know.
  public let elementType: ElementType?
  /// Extents, outermost first; nil where the model leaves one open.
  public let shape: [Int?]
}

/// Reads signatures from a session.
enum SessionSignatures {
  static func inputs(
    of session: OpaquePointer, _ library: RuntimeLibrary
  ) throws(QuenchError) -> [Signature] {
    let table = library.api.table.pointee
    return try all(
      session, library, count: table.input_count, name: table.input_name, type: table.input_type)
  }

  static func outputs(
    of session: OpaquePointer, _ library: RuntimeLibrary
  ) throws(QuenchError) -> [Signature] {
    let table = library.api.table.pointee
    return try all(
      session, library, count: table.output_count, name: table.output_name,
      type: table.output_type)
  }

  private typealias Count =
    @convention(c) (OpaquePointer, UnsafeMutablePointer<Int>) -> OpaquePointer?
  private typealias Name =
    @convention(c) (
      OpaquePointer, Int, OpaquePointer, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    ) -> OpaquePointer?
  private typealias TypeInfo =
    @convention(c) (OpaquePointer, Int, UnsafeMutablePointer<OpaquePointer?>) -> OpaquePointer?

  private static func all(
    _ session: OpaquePointer, _ library: RuntimeLibrary, count: Count, name: Name, type: TypeInfo
  ) throws(QuenchError) -> [Signature] {
    let api = library.api
    let what = "reading the model's inputs and outputs"
    var total = 0
    try api.check(count(session, &total), what)
    var signatures: [Signature] = []
    for index in 0..<total {
      var text: UnsafeMutablePointer<CChar>?
      try api.check(name(session, index, library.allocator.pointer, &text), what)
      defer { release(text, library) }
      let info = try api.made(what) { type(session, index, $0) }.pointer
      defer { api.table.pointee.release_type_info(info) }
      var tensor: OpaquePointer?
      try api.check(api.table.pointee.tensor_info_of_type(info, &tensor), what)
      let description = try tensor.map { tensor throws(QuenchError) in
        try describe(tensor, api)
      }
      signatures.append(
        Signature(
          name: text.map { String(cString: $0) } ?? "",
          elementType: description.flatMap { ElementType(rawValue: $0.type) },
          shape: description?.extents.map { $0 < 0 ? nil : Int($0) } ?? []))
    }
    return signatures
  }

  /// The element type, as ONNX numbers it, and the extents; −1 where one is open.
  static func describe(
    _ info: OpaquePointer, _ api: RuntimeAPI
  ) throws(QuenchError) -> (type: Int32, extents: [Int64]) {
    let what = "reading a tensor's shape"
    var type: Int32 = 0
    try api.check(api.table.pointee.element_type(info, &type), what)
    var rank = 0
    try api.check(api.table.pointee.rank(info, &rank), what)
    var extents = [Int64](repeating: 0, count: rank)
    try api.check(api.table.pointee.extents(info, &extents, rank), what)
    return (type, extents)
  }

  private static func release(_ text: UnsafeMutablePointer<CChar>?, _ library: RuntimeLibrary) {
    let status = library.api.table.pointee.allocator_free(library.allocator.pointer, text)
    // Freeing cannot fail in a way that a caller could mend; the status is only given back.
    library.api.table.pointee.release_status(status)
  }
}
