// SPDX-License-Identifier: Apache-2.0
// Measurement: how much each layer alone suffers from 8 bits.

public import Calibration
public import Datasets
public import Diagnostics
public import ONNXModel
internal import ONNXRuntime
internal import Quantization
internal import Tensors

/// Runs each layer twice on the same float input, once as it is and once with quantised input and
/// weights, and compares the outputs.
///
/// Both forms stand side by side in one model (`ProbeModel`), so a sample costs one forward pass and
/// a second run of the layers, not a pass for each layer.
public enum LayerProbe {
  /// Measures the relative error Σ(y − ŷ)²/Σ(y − ȳ)² and the SQNR of every layer's output.
  ///
  /// The bias is added in both forms as it is: its 32-bit rounding is far below that of 8 bits.
  /// - Parameters:
  ///   - model: the folded model that the scales belong to.
  ///   - scales: of activations and weights.
  ///   - samples: what to run; a few dozen are enough.
  ///   - preprocessing: turns a picture into the model's input.
  ///   - threshold: relative error above which a layer is to stay FP16.
  ///   - policy: what to do with a sample that cannot be decoded.
  ///   - threads: model runs side by side; nil: as many as processors. No figure depends on it.
  ///   - progress: called after each sample of each part of the model.
  /// - Returns: the layers in the model's order.
  /// - Throws: `.data` when the scales are of another model or lack a layer, or a value is NaN or
  ///   infinite; `.unavailable` without ONNX Runtime.
  public static func assess(
    model: Model, scales: ScaleTable, samples: [Sample], preprocessing: Preprocessing,
    threshold: Double, policy: CorruptSamplePolicy = .fail, threads: Int? = nil,
    progress: @escaping Progress = { _, _ in }
  ) throws(QuenchError) -> SensitivityTable {
    try assess(
      model: model, scales: scales, samples: samples, preprocessing: preprocessing,
      threshold: threshold, policy: policy, threads: threads,
      outputLimit: ProbeModel.outputLimit, progress: progress)
  }

  /// The same with another limit for the outputs that are alive at once.
  static func assess(
    model: Model, scales: ScaleTable, samples: [Sample], preprocessing: Preprocessing,
    threshold: Double, policy: CorruptSamplePolicy = .fail, threads: Int? = nil,
    outputLimit: Int, progress: @escaping Progress = { _, _ in }
  ) throws(QuenchError) -> SensitivityTable {
    try ModelDigest.check(model, is: scales.model, of: "the scales")
    let network = try SampledNetwork(model)
    let layers = try OperatorRules.layers(of: network.model)
    let parts = try ProbeModel.parts(of: layers, in: network.model, limit: outputLimit)
    var table = SensitivityTable(threshold: threshold, samples: 0, layers: [])
    for (number, part) in parts.enumerated() {
      let pass = SamplePass(samples, preprocessing, policy: policy, threads: threads) {
        done, total in
        progress(number * total + done, parts.count * total)
      }
      let probe = try ProbeModel(part, in: network.model, scales: scales)
      let (totals, _) = try measure(probe, network, pass)
      table.samples = totals.samples
      for (layer, sums) in zip(part, totals.layers) {
        table.layers.append(
          LayerSensitivity(
            name: layer.name, type: layer.opType, output: sums, threshold: threshold,
            macs: layer.macs))
      }
    }
    return table
  }

  private static func measure(
    _ probe: ProbeModel, _ network: SampledNetwork, _ pass: SamplePass
  ) throws(QuenchError) -> (
    total: (layers: [ErrorAccumulator], samples: Int),
    skipped: [(sample: Sample, error: QuenchError)]
  ) {
    let session = try Session(RuntimeLibrary.load(), model: probe.model.encode())
    let pairs = probe.pairs
    let outputs = pairs.map(\.float) + pairs.map(\.quantized)
    let start = (layers: pairs.map { _ in ErrorAccumulator() }, samples: 0)
    return try pass.run(into: start) {
      _, sample, tensor throws(QuenchError) -> [ErrorAccumulator] in
      try network.check(tensor, of: sample)
      return try session.run([network.input: tensor], outputs: outputs) {
        lent throws(QuenchError) in
        var sums: [ErrorAccumulator] = []
        for index in pairs.indices {
          var sum = ErrorAccumulator()
          try lent.withFloats(index) { exact throws(QuenchError) in
            try lent.withFloats(pairs.count + index) { approximate throws(QuenchError) in
              sum.add(reference: exact, candidate: approximate)
            }
          }
          try sum.requireFinite(tensor: pairs[index].float, sample: sample)
          sums.append(sum)
        }
        return sums
      }
    } fold: { totals, _, sums in
      for index in sums.indices { totals.layers[index].merge(sums[index]) }
      totals.samples += 1
    }
  }
}

extension ErrorAccumulator {
  /// Refuses sums that NaN or an infinity got into.
  func requireFinite(tensor: String, sample: Sample) throws(QuenchError) {
    guard squaredError.isFinite, squaredReference.isFinite, squaredCandidate.isFinite else {
      throw TensorObserver.notFinite(squaredError.isNaN, tensor: tensor, sample: sample)
    }
  }
}
