// SPDX-License-Identifier: Apache-2.0
// Measurement: what the calibrated ranges lose of other samples.

public import Calibration
public import Datasets
public import Diagnostics
public import ONNXModel
internal import ONNXRuntime
internal import Tensors

/// Runs a model over samples that calibration has not seen and counts what lies outside the ranges.
public enum CoverageCounter {
  /// Counts: one forward pass a sample for all tensors, exact comparison with the thresholds.
  ///
  /// - Parameters:
  ///   - model: the folded model that the scales belong to.
  ///   - scales: the ranges; every tensor in it is counted.
  ///   - samples: what to run; best such that are not in the calibration set.
  ///   - preprocessing: turns a picture into the model's input.
  ///   - limit: acceptable share beyond a range and of energy lost, 0…1.
  ///   - policy: what to do with a sample that cannot be decoded.
  ///   - threads: model runs side by side; nil: as many as processors. No figure depends on it.
  ///   - progress: called after each sample.
  /// - Throws: `.data` when the scales are of another model, a tensor is unknown, or a value is NaN
  ///   or infinite; `.unavailable` without ONNX Runtime.
  public static func count(
    model: Model, scales: ScaleTable, samples: [Sample], preprocessing: Preprocessing,
    limit: Double = CoverageTable.usualLimit, policy: CorruptSamplePolicy = .fail,
    threads: Int? = nil, progress: @escaping Progress = { _, _ in }
  ) throws(QuenchError) -> CoverageTable {
    try ModelDigest.check(model, is: scales.model, of: "the scales")
    let network = try SampledNetwork(model)
    let names = scales.tensors.keys.sorted()
    let observer = try TensorObserver(network, tensors: names)
    let ranges = observer.order.map { scales.tensors[$0].map { CoverageAccumulator($0) } }
    let empty = ranges.compactMap { $0 }

    let pass = SamplePass(
      samples, preprocessing, policy: policy, threads: threads, progress: progress)
    let start = (counters: empty, samples: 0)
    let (totals, _) = try pass.run(into: start) {
      _, sample, tensor throws(QuenchError) -> [CoverageAccumulator] in
      var counters = empty
      try observer.lend(sample, tensor) { index, values throws(QuenchError) in
        counters[index].add(values)
        let counter = counters[index]
        guard counter.nans == 0, counter.min.isFinite, counter.max.isFinite else {
          throw TensorObserver.notFinite(
            counter.nans > 0, tensor: observer.order[index], sample: sample)
        }
      }
      return counters
    } fold: { totals, _, counters in
      for index in counters.indices { totals.counters[index].merge(counters[index]) }
      totals.samples += 1
    }

    var tensors: [String: TensorCoverage] = [:]
    for (name, counter) in zip(observer.order, totals.counters) {
      guard let scale = scales.tensors[name] else { continue }
      tensors[name] = try TensorCoverage(counter, scale: scale, tensor: name, limit: limit)
    }
    return CoverageTable(samples: totals.samples, limit: limit, tensors: tensors)
  }
}
