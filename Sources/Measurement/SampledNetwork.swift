// SPDX-License-Identifier: Apache-2.0
// Measurement: a model that is fed with samples.

internal import Datasets
internal import Diagnostics
internal import ONNXModel
internal import ONNXRuntime
internal import Tensors

/// A model with one input, which a sample fills.
struct SampledNetwork: Sendable {
  let model: Model
  /// The input's name.
  let input: String
  private let shape: [Int]?

  /// - Throws: `.data` when the model has not exactly one float32 input.
  init(_ model: Model) throws(QuenchError) {
    let inputs = model.graph.freeInputs
    guard inputs.count == 1, let input = inputs.first else {
      throw QuenchError(
        .data,
        "the model has \(inputs.count) inputs (\(inputs.map(\.name).joined(separator: ", "))), "
          + "but a sample fills exactly one")
    }
    guard input.elementType == .float32 else {
      throw QuenchError(
        .data, "the model's input \"\(input.name)\" is not float32", at: .tensor(input.name))
    }
    self.model = model
    self.input = input.name
    shape = input.fixedShape
  }

  /// Opens the part of the model that computes the named tensors.
  func session(computing tensors: [String]) throws(QuenchError) -> Session {
    let cut = try ModelCut.exposing(tensors, of: model)
    return try Session(RuntimeLibrary.load(), model: cut.encode())
  }

  /// Refuses a sample that does not have the input's shape. A run would refuse it too.
  func check(_ tensor: Tensor, of sample: Sample) throws(QuenchError) {
    guard let shape, shape != tensor.shape || tensor.elementType != .float32 else { return }
    throw QuenchError(
      .data,
      "sample \"\(sample.name)\" becomes a \(tensor.elementType) tensor of shape \(tensor.shape), "
        + "but the model's input \"\(input)\" is \(shape)", at: .file(sample.path),
      try: "change `preprocess:` or `inputs:` in quench.yaml")
  }
}

extension Tensor {
  /// Lends the elements of a float32 tensor to code that throws our error.
  func lendFloats<R>(
    _ body: (UnsafeBufferPointer<Float>) throws(QuenchError) -> R
  ) throws(QuenchError) -> R {
    let result: Result<R, QuenchError> = withElements(as: Float.self) { values in
      do throws(QuenchError) {
        return .success(try body(values))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }
}
