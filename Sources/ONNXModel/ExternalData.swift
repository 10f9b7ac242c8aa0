// SPDX-License-Identifier: Apache-2.0
// ONNXModel: weights in a file beside the model.

internal import Diagnostics
internal import Glibc
internal import Tensors

/// Where the elements of a tensor stand outside the model file (ONNX, "External Data").
///
/// The file must lie in the model's directory or below it, symbolic links resolved: a model from
/// elsewhere must not be able to read other files into an artefact.
struct ExternalData {
  let message: WireTensor
  let directory: String?

  init(of message: WireTensor, in directory: String?) {
    self.message = message
    self.directory = directory
  }

  /// The checked place: resolved path and byte range.
  struct Location {
    let path: String
    let offset: Int
    let count: Int
  }

  /// Finds the place and checks that the file has these bytes; reads nothing.
  ///
  /// - Throws: `.noInput` when the file is missing, `.data` when it lies outside the model's
  ///   directory or is too short.
  func locate() throws(QuenchError) -> Location {
    let size = try TensorDecoding.signature(message).byteCount
    let entries = Dictionary(
      message.externalData.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
    guard let location = entries["location"], !location.isEmpty else {
      throw QuenchError(.data, "external data names no file")
    }
    guard let directory else {
      throw QuenchError(.data, "external data in \"\(location)\" without a model file beside it")
    }
    let path = try resolve(location, in: directory)
    let offset = try number("offset", entries) ?? 0
    let length = try number("length", entries) ?? size
    guard length == size else {
      throw QuenchError(
        .data, "external data has length \(length), but its shape needs \(size) bytes")
    }
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw QuenchError(.noInput, "external data file \"\(location)\" is no regular file")
    }
    let available = Int(status.st_size)
    guard offset <= available, size <= available - offset else {
      throw QuenchError(
        .data,
        "external data file \"\(location)\" has \(available) bytes, "
          + "but \(size) from byte \(offset) on are needed",
        try: "copy the file again, it may be truncated")
    }
    return Location(path: path, offset: offset, count: size)
  }

  /// Maps the place and copies its bytes once.
  func tensor() throws(QuenchError) -> Tensor {
    let (type, shape, _) = try TensorDecoding.signature(message)
    let place = try locate()
    guard place.count > 0 else { return try Tensor(type, shape: shape, bytes: []) }
    let descriptor = open(place.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { throw cannot("open", place.path) }
    defer { close(descriptor) }
    // Asked again of what was opened: reading a mapping beyond the end would kill the process.
    var status = stat()
    guard fstat(descriptor, &status) == 0, Int(status.st_size) >= place.offset + place.count else {
      throw QuenchError(.noInput, "external data file \"\(place.path)\" is being changed")
    }
    // A mapping starts on a page; what stands before the offset is skipped.
    let lead = place.offset % Int(sysconf(Int32(_SC_PAGESIZE)))
    let length = lead + place.count
    guard
      let base = mmap(nil, length, PROT_READ, MAP_PRIVATE, descriptor, place.offset - lead),
      base != MAP_FAILED
    else { throw cannot("map", place.path) }
    defer { munmap(base, length) }
    let bytes = Array(UnsafeRawBufferPointer(start: base + lead, count: place.count))
    return try Tensor(type, shape: shape, bytes: bytes)
  }

  private func resolve(_ location: String, in directory: String) throws(QuenchError) -> String {
    let outside = QuenchError(
      .data, "external data file \"\(location)\" lies outside the model's directory",
      try: "put the file beside the model and name it without a path")
    guard !location.hasPrefix("/"), !location.utf8.contains(0) else { throw outside }
    // Refused before looking, so that the answer does not tell what exists elsewhere.
    guard !location.split(separator: "/").contains("..") else { throw outside }
    guard let root = realPath(directory) else { throw cannot("find directory", directory) }
    guard let path = realPath("\(directory)/\(location)") else {
      throw QuenchError(
        .noInput,
        "external data file \"\(location)\" is missing: \(String(cString: strerror(errno)))",
        try: "put it into the model's directory")
    }
    guard path.hasPrefix(root.hasSuffix("/") ? root : root + "/") else { throw outside }
    return path
  }

  private func realPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  private func number(
    _ key: String, _ entries: [String: String]
  ) throws(QuenchError) -> Int? {
    guard let text = entries[key], !text.isEmpty else { return nil }
    guard let value = Int(text), value >= 0 else {
      throw QuenchError(.data, "external data has \(key) \"\(text)\", which is no byte count")
    }
    return value
  }

  private func cannot(_ verb: String, _ path: String) -> QuenchError {
    QuenchError(.noInput, "cannot \(verb) \"\(path)\": \(String(cString: strerror(errno)))")
  }
}
