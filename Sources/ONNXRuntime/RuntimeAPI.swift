// SPDX-License-Identifier: Apache-2.0
// ONNXRuntime: the function table, and the one place where its statuses become errors.

internal import COnnxRuntime
internal import Diagnostics

/// The library's function table.
///
/// `@unchecked Sendable`: the table is constant memory of the library, which is never closed.
struct RuntimeAPI: @unchecked Sendable {
  let table: UnsafePointer<cort_table>

  /// Opens the library.
  ///
  /// - Returns: the table and the version.
  /// - Throws: `.unavailable` with what to do.
  static func open(_ path: String) throws(QuenchError) -> (RuntimeAPI, String) {
    var table: UnsafePointer<cort_table>?
    var detail = [CChar](repeating: 0, count: 1024)
    let result = cort_open(path, &detail, detail.count, &table)
    let text = String(
      decoding: detail.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    if result == cort_opened, let table { return (RuntimeAPI(table: table), text) }

    let remedy =
      "bash Examples/quickstart.sh, which installs it into \(RuntimeLocation.dependencies)/, "
      + "or \(RuntimeLocation.variable)=/path/to/libonnxruntime.so.1.28.0"
    switch result {
    case cort_no_entry_point:
      throw QuenchError(
        .unavailable, "\"\(path)\" is not the ONNX Runtime library", at: .file(path), try: remedy)
    case cort_too_old:
      throw QuenchError(
        .unavailable,
        "ONNX Runtime \(text) cannot be used, 1.\(cort_api_version) or newer is needed",
        at: .file(path), try: remedy)
    default:
      guard path != RuntimeLocation.plainName else {
        throw QuenchError(.unavailable, "ONNX Runtime was not found", try: remedy)
      }
      throw QuenchError(
        .unavailable, "ONNX Runtime cannot be loaded: \(text)", at: .file(path), try: remedy)
    }
  }

  /// The funnel: every status of the library passes here, is released here and becomes our error.
  ///
  /// - Parameters:
  ///   - status: what a function returned; nil is success.
  ///   - action: what was being done, for the message: "running the model".
  func check(
    _ status: OpaquePointer?, _ action: @autoclosure () -> String
  ) throws(QuenchError) {
    guard let status else { return }
    let code = table.pointee.error_code(status)
    let words = String(cString: table.pointee.error_message(status))
    table.pointee.release_status(status)
    throw QuenchError(
      RuntimeAPI.kind(ofCode: code), "\(action()) failed: \(RuntimeAPI.oneSentence(words))")
  }

  /// Makes an object of the library: calls `make` with an out parameter, checks, wraps.
  func made(
    _ action: @autoclosure () -> String,
    _ make: (UnsafeMutablePointer<OpaquePointer?>) -> OpaquePointer?
  ) throws(QuenchError) -> RuntimeHandle {
    var object: OpaquePointer?
    try check(make(&object), action())
    guard let object else {
      throw QuenchError(.work, "\(action()) failed: ONNX Runtime returned nothing")
    }
    return RuntimeHandle(pointer: object)
  }

  /// What a user can mend is `.data` or `.noInput`; the rest is a failed stage.
  private static func kind(ofCode code: Int32) -> QuenchError.Kind {
    switch code {
    case 3: .noInput
    case 2, 4, 7, 9, 10: .data  // argument, model, protobuf, not implemented, graph
    default: .work
    }
  }

  /// The library's text on one line, without a full stop at its end.
  private static func oneSentence(_ words: String) -> String {
    var text = words.split(whereSeparator: \.isNewline).joined(separator: " ")
    while text.last == "." || text.last == " " { text.removeLast() }
    return text
  }
}

/// A pointer to an object of the library.
///
/// `@unchecked Sendable`: these objects are either immutable after they were made (environment,
/// memory description, default allocator) or documented as safe to use from several threads
/// (sessions), which is all that is shared.
struct RuntimeHandle: @unchecked Sendable {
  let pointer: OpaquePointer
}
