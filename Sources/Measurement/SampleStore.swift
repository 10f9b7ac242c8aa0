// SPDX-License-Identifier: Apache-2.0
// Measurement: tensors of all samples at once, on disk rather than in memory.

internal import Diagnostics
internal import Glibc
internal import ONNXRuntime
internal import Tensors

/// Named tensors, one for each sample, in mapped files without a name.
///
/// The pages belong to the system, which writes them out when memory is short; the space is
/// reserved, so a full disk is an error here and not a signal later.
///
/// `@unchecked Sendable`: tensors are added and dropped by one thread while no other is at work;
/// workers touch the elements of different samples only.
final class SampleStore: @unchecked Sendable {
  private struct Slab {
    let elementType: ElementType
    let shape: [Int]
    let base: UnsafeMutableRawPointer
    let stride: Int
    let length: Int
  }

  private let directory: String
  private let samples: Int
  private var slabs: [String: Slab] = [:]

  init(directory: String, samples: Int) {
    self.directory = directory
    self.samples = samples
  }

  deinit { for slab in slabs.values { munmap(slab.base, slab.length) } }

  func contains(_ name: String) -> Bool { slabs[name] != nil }

  /// Makes room for a tensor of every sample.
  ///
  /// - Throws: `.work` when the disk is full or the directory cannot be written.
  func add(_ name: String, _ elementType: ElementType, shape: [Int]) throws(QuenchError) {
    let size = (Tensor.elementCount(of: shape) ?? 0) * elementType.size
    // Cache lines, so that two workers never write to one.
    let stride = max(64, (size + 63) / 64 * 64)
    let length = stride * samples
    var template = Array("\(directory)/quench-XXXXXX".utf8CString)
    let file = mkstemp(&template)
    guard file >= 0 else { throw cannot(errno) }
    defer { close(file) }
    unlink(template)
    let failure = posix_fallocate(file, 0, length)
    guard failure == 0 else { throw cannot(failure) }
    let base = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
    guard let base, base != MAP_FAILED else { throw cannot(errno) }
    slabs[name] = Slab(
      elementType: elementType, shape: shape, base: base, stride: stride, length: length)
  }

  /// Gives a tensor's room back.
  func drop(_ name: String) {
    if let slab = slabs.removeValue(forKey: name) { munmap(slab.base, slab.length) }
  }

  /// Copies a sample's tensor in.
  func write(_ name: String, sample: Int, _ view: TensorView) throws(QuenchError) {
    let target = bytes(name, sample)
    guard let slab = slabs[name], slab.elementType == view.elementType, slab.shape == view.shape
    else {
      throw QuenchError(
        .data, "tensor \"\(name)\" has shape \(view.shape), which is not what the model says",
        at: .tensor(name))
    }
    target.copyMemory(from: view.bytes)
  }

  /// A sample's tensor in place.
  func view(_ name: String, sample: Int) -> TensorView {
    guard let slab = slabs[name] else { preconditionFailure("\"\(name)\" was never stored") }
    return TensorView(
      slab.elementType, shape: slab.shape, bytes: UnsafeRawBufferPointer(bytes(name, sample)))
  }

  /// A sample's float32 elements in place.
  func floats(_ name: String, sample: Int) -> UnsafeMutableBufferPointer<Float> {
    precondition(slabs[name]?.elementType == .float32, "only float32 tensors are corrected")
    return bytes(name, sample).bindMemory(to: Float.self)
  }

  private func bytes(_ name: String, _ sample: Int) -> UnsafeMutableRawBufferPointer {
    guard let slab = slabs[name] else { preconditionFailure("\"\(name)\" was never stored") }
    precondition(sample >= 0 && sample < samples, "no such sample")
    return UnsafeMutableRawBufferPointer(
      start: slab.base + sample * slab.stride,
      count: (Tensor.elementCount(of: slab.shape) ?? 0) * slab.elementType.size)
  }

  private func cannot(_ code: Int32) -> QuenchError {
    QuenchError(
      .work,
      "cannot keep intermediate tensors in \"\(directory)\": \(String(cString: strerror(code)))",
      try: "fewer samples, or a disk with more room")
  }
}
