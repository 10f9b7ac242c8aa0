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
    let inputNames = try self.inputs.map { input throws(QuenchError) in
      guard inputs[input.name] != nil else {
        throw QuenchError(.data, "\(label) needs an input \"\(input.name)\", which is missing")
      }
      return input.name
    }
    for name in inputs.keys.sorted() where !inputNames.contains(name) {
      throw QuenchError(
        .data,
        "\(label) has no input \"\(name)\"\(NearestName.hint(name, among: inputNames))")
    }
    let outputNames = try outputs.map { name throws(QuenchError) in
      guard let pointer = names[name], self.outputs.contains(where: { $0.name == name }) else {
        let known = self.outputs.map(\.name)
        throw QuenchError(
          .data, "\(label) has no output \"\(name)\"\(NearestName.hint(name, among: known))")
      }
      return pointer
    }
    let tensors = inputNames.compactMap { inputs[$0] }
    let values = try withValues(of: tensors[...], []) { inputValues throws(QuenchError) in
      try call(inputNames.compactMap { names[$0] }, inputValues, outputNames)
    }
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
    _ inputNames: [UnsafePointer<CChar>], _ inputs: [OpaquePointer?],
    _ outputNames: [UnsafePointer<CChar>]
  ) throws(QuenchError) -> [OpaquePointer?] {
    var values = [OpaquePointer?](repeating: nil, count: outputNames.count)
    let status = library.api.table.pointee.run(
      handle.pointer, nil, inputNames, inputs, inputs.count, outputNames, outputNames.count,
      &values)
    try library.api.check(status, "running \(label)")
    return values
  }

  /// Lends the tensors as the library's values. The recursion keeps every buffer in place, because
  /// the library does not copy them.
  private func withValues<R>(
    of tensors: ArraySlice<Tensor>, _ values: [OpaquePointer?],
    _ body: ([OpaquePointer?]) throws(QuenchError) -> R
  ) throws(QuenchError) -> R {
    guard let tensor = tensors.first else { return try body(values) }
    let api = library.api
    let result: Result<R, QuenchError> = tensor.bytes.withUnsafeBytes { bytes in
      do throws(QuenchError) {
        let extents = tensor.shape.map(Int64.init)
        let value = try api.made("passing a tensor to \(label)") { out in
          api.table.pointee.create_tensor(
            library.memory.pointer, UnsafeMutableRawPointer(mutating: bytes.baseAddress),
            bytes.count, extents, extents.count, tensor.elementType.rawValue, out)
        }.pointer
        defer { api.table.pointee.release_value(value) }
        return .success(try withValues(of: tensors.dropFirst(), values + [value], body))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }
}
