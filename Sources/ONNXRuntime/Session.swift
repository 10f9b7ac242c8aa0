// SPDX-License-Identifier: Apache-2.0
// ONNXRuntime: a loaded model.

internal import COnnxRuntime
public import Diagnostics
internal import Glibc
public import Tensors

/// A model that ONNX Runtime loaded, ready to run.
///
/// `run` may be called from several threads at once on the same session, and gives the same bytes
/// whatever their number. `@unchecked Sendable`: everything stored is constant after `init`, and
/// ONNX Runtime documents `Run` as thread-safe.
public final class Session: @unchecked Sendable {
  /// The model's inputs, in its order; initializers are not among them.
  public let inputs: [Signature]
  /// The model's outputs, in its order.
  public let outputs: [Signature]

  let library: RuntimeLibrary
  private let handle: RuntimeHandle
  /// C strings of all names, made once: a run then allocates nothing for them.
  private let names: [String: UnsafePointer<CChar>]
  /// Kept by session: what an error of a run is about.
  private let label: String

  /// Loads a model.
  ///
  /// - Parameters:
  ///   - model: a serialised ONNX `ModelProto`; external data must have been inlined.
  ///   - label: what to call it in messages, such as its path.
  /// - Throws: `.data` when ONNX Runtime refuses the model, with its words.
  public init(
    _ library: RuntimeLibrary, model: [UInt8], options: SessionOptions = .reproducible,
    label: String = "the model"
  ) throws(QuenchError) {
    guard !model.isEmpty else {
      throw QuenchError(.data, "loading \(label) failed: it is empty")
    }
    let api = library.api
    let handle = try options.withHandle(api) { options throws(QuenchError) in
      try api.made("loading \(label)") { out in
        model.withUnsafeBytes { bytes in
          bytes.baseAddress.flatMap {
            api.table.pointee.create_session(library.env, $0, bytes.count, options, out)
          }
        }
      }
    }
    self.library = library
    self.handle = handle
    self.label = label
    do throws(QuenchError) {
      inputs = try SessionSignatures.inputs(of: handle.pointer, library)
      outputs = try SessionSignatures.outputs(of: handle.pointer, library)
    } catch {
      api.table.pointee.release_session(handle.pointer)
      throw error
    }
    var names: [String: UnsafePointer<CChar>] = [:]
    for name in inputs.map(\.name) + outputs.map(\.name) where names[name] == nil {
      names[name] = strdup(name).map { UnsafePointer($0) }
    }
    self.names = names
  }

  deinit {
    library.api.table.pointee.release_session(handle.pointer)
    for name in names.values { free(UnsafeMutablePointer(mutating: name)) }
  }

  /// Runs the model and lends its outputs, in the order asked for, without copying them.
  ///
  /// The inputs are not copied either. The outputs' memory is the library's and is given back when
  /// `body` returns.
  /// - Parameters:
  ///   - inputs: a tensor for each input, by name.
  ///   - outputs: names among `self.outputs`.
  /// - Throws: `.data` for unknown names, missing inputs and tensors of a wrong shape or type;
  ///   what `body` throws.
  public func run<R>(
    _ inputs: [String: Tensor], outputs: [String],
    _ body: (borrowing RunOutputs) throws(QuenchError) -> R
  ) throws(QuenchError) -> R {
    try lend(inputs.map { ($0.key, $0.value) }[...], [:]) { views throws(QuenchError) in
      try run(views: views, outputs: outputs, body)
    }
  }

  /// The same for inputs whose elements lie somewhere else; they are only read, during the call.
  ///
  /// - Throws: as the other `run`.
  public func run<R>(
    views: [String: TensorView], outputs: [String],
    _ body: (borrowing RunOutputs) throws(QuenchError) -> R
  ) throws(QuenchError) -> R {
    for name in views.keys.sorted() where !inputs.contains(where: { $0.name == name }) {
      let known = inputs.map(\.name)
      throw QuenchError(
        .data, "\(label) has no input \"\(name)\"\(NearestName.hint(name, among: known))")
    }
    let outputNames = try outputs.map { name throws(QuenchError) in
      guard let pointer = names[name], self.outputs.contains(where: { $0.name == name }) else {
        let known = self.outputs.map(\.name)
        throw QuenchError(
          .data, "\(label) has no output \"\(name)\"\(NearestName.hint(name, among: known))")
      }
      return pointer
    }
    let values = try call(views, outputNames)
    let lent = RunOutputs(library, values, outputs)
    return try body(lent)
  }

  /// Runs the model and returns copies of its outputs, in the order asked for.
  ///
  /// - Throws: as the other `run`.
  public func run(
    _ inputs: [String: Tensor], outputs: [String]
  ) throws(QuenchError) -> [Tensor] {
    try run(inputs, outputs: outputs) { lent throws(QuenchError) in
      var tensors: [Tensor] = []
      for index in 0..<lent.count { tensors.append(try lent.tensor(index)) }
      return tensors
    }
  }

  private func call(
    _ views: [String: TensorView], _ outputNames: [UnsafePointer<CChar>]
  ) throws(QuenchError) -> [OpaquePointer?] {
    let table = library.api.table.pointee
    var inputNames: [UnsafePointer<CChar>] = []
    var inputValues: [OpaquePointer?] = []
    defer { for value in inputValues { table.release_value(value) } }
    for input in inputs {
      guard let view = views[input.name], let name = names[input.name] else {
        throw QuenchError(.data, "\(label) needs an input \"\(input.name)\", which is missing")
      }
      let extents = view.shape.map(Int64.init)
      let value = try library.api.made("passing a tensor to \(label)") { out in
        table.create_tensor(
          library.memory.pointer, UnsafeMutableRawPointer(mutating: view.bytes.baseAddress),
          view.bytes.count, extents, extents.count, view.elementType.rawValue, out)
      }
      inputNames.append(name)
      inputValues.append(value.pointer)
    }
    var values = [OpaquePointer?](repeating: nil, count: outputNames.count)
    try library.api.check(
      table.run(
        handle.pointer, nil, inputNames, inputValues, inputValues.count, outputNames,
        outputNames.count, &values), "running \(label)")
    return values
  }

  /// Lends the elements of tensors. The recursion keeps every buffer in place, because the library
  /// does not copy them.
  private func lend<R>(
    _ tensors: ArraySlice<(String, Tensor)>, _ views: [String: TensorView],
    _ body: ([String: TensorView]) throws(QuenchError) -> R
  ) throws(QuenchError) -> R {
    guard let (name, tensor) = tensors.first else { return try body(views) }
    let result: Result<R, QuenchError> = tensor.bytes.withUnsafeBytes { bytes in
      var views = views
      views[name] = TensorView(tensor.elementType, shape: tensor.shape, bytes: bytes)
      do throws(QuenchError) {
        return .success(try lend(tensors.dropFirst(), views, body))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }
}

/// A tensor whose elements someone else owns and keeps in place.
public struct TensorView {
  /// What one element is.
  public let elementType: ElementType
  /// Extents, outermost first.
  public let shape: [Int]
  /// The elements, row-major.
  public let bytes: UnsafeRawBufferPointer

  /// Describes elements in memory.
  ///
  /// - Precondition: `bytes` fill the shape.
  public init(_ elementType: ElementType, shape: [Int], bytes: UnsafeRawBufferPointer) {
    precondition(
      bytes.count == (Tensor.elementCount(of: shape) ?? -1) * elementType.size,
      "the elements must fill the shape")
    self.elementType = elementType
    self.shape = shape
    self.bytes = bytes
  }
}
