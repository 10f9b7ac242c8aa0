// SPDX-License-Identifier: Apache-2.0
// Measurement: lends the values of chosen tensors, sample by sample.

internal import Artifacts
internal import Datasets
internal import Diagnostics
internal import ONNXModel
internal import ONNXRuntime
internal import Tensors

/// Runs the part of a network that computes chosen tensors and lends their values.
///
/// The network's input may be one of them; its values are the sample's. Safe to use from several
/// threads.
struct TensorObserver: Sendable {
  private let network: SampledNetwork
  private let session: Session?
  private let computed: [String]
  private let observesInput: Bool
  /// The tensors, each once: the input first if it is one, then the others by name.
  let order: [String]

  /// - Throws: `.data` when the model computes no tensor of that name.
  init(_ network: SampledNetwork, tensors: [String]) throws(QuenchError) {
    let names = Array(Set(tensors)).sorted()
    self.network = network
    observesInput = names.contains(network.input)
    computed = names.filter { $0 != network.input }
    order = (observesInput ? [network.input] : []) + computed
    session = computed.isEmpty ? nil : try network.session(computing: computed)
  }

  /// Runs the network and lends each tensor's values with its index in `order`.
  func lend(
    _ sample: Sample, _ tensor: Tensor,
    _ body: (Int, UnsafeBufferPointer<Float>) throws(QuenchError) -> Void
  ) throws(QuenchError) {
    try network.check(tensor, of: sample)
    if observesInput {
      try tensor.lendFloats { values throws(QuenchError) in try body(0, values) }
    }
    guard let session else { return }
    let first = observesInput ? 1 : 0
    try session.run([network.input: tensor], outputs: computed) { lent throws(QuenchError) in
      for index in computed.indices {
        try lent.withFloats(index) { values throws(QuenchError) in
          try body(first + index, values)
        }
      }
    }
  }

  /// The error for a value that no range can hold.
  static func notFinite(_ isNaN: Bool, tensor: String, sample: Sample) -> QuenchError {
    QuenchError(
      .data,
      "tensor \"\(tensor)\" holds \(isNaN ? "NaN" : "an infinity") for sample \"\(sample.name)\"",
      at: .tensor(tensor), try: "look at that sample and at `preprocess:`, or leave it out")
  }
}

/// Which model a table belongs to.
enum ModelDigest {
  /// Refuses a table that was made from another model.
  ///
  /// A model that was read and not changed is written as the bytes it was read from, so its file is
  /// not needed.
  static func check(
    _ model: Model, is wanted: String, of what: String
  ) throws(QuenchError) {
    let digest = try ContentDigest.of(model.encode()).hex
    guard digest == wanted else {
      throw QuenchError(
        .data,
        "\(what) belong to the model \(wanted.prefix(12))…, this one is \(digest.prefix(12))…",
        try: "quench observe and quench calibrate with this model")
    }
  }
}
