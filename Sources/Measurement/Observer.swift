// SPDX-License-Identifier: Apache-2.0
// Measurement: the values of activations, kept as exact histograms.

internal import Artifacts
public import Calibration
public import Datasets
public import Diagnostics
internal import ONNXModel
internal import ONNXRuntime
internal import Synchronization
internal import Tensors

/// Runs a model over samples and keeps a histogram of every observed tensor.
///
/// Histograms are integers that merge exactly (`Histogram`), so neither the order of the samples
/// nor the number of workers changes a byte. Memory does not depend on the number of samples.
public enum Observer {
  /// Observes: one forward pass a sample, batch size 1.
  ///
  /// - Parameters:
  ///   - model: the bytes of the folded model; their digest goes into the result.
  ///   - tensors: names of float32 tensors, computed ones or the model's input.
  ///   - samples: what to run, in this order.
  ///   - preprocessing: turns a picture into the model's input.
  ///   - policy: what to do with a sample that cannot be decoded.
  ///   - threads: model runs side by side; nil: as many as processors.
  ///   - progress: called after each sample.
  /// - Throws: `.data` when a tensor is unknown or not float32, or when a value is NaN or infinite
  ///   (naming the tensor and the sample); `.unavailable` without ONNX Runtime; what the reader
  ///   throws for a corrupt sample.
  public static func observe(
    model: [UInt8], tensors: [String], samples: [Sample], preprocessing: Preprocessing,
    policy: CorruptSamplePolicy = .fail, threads: Int? = nil,
    progress: @escaping Progress = { _, _ in }
  ) throws(QuenchError) -> ObservationRun {
    let network = try SampledNetwork(Model.decode(model, path: "the folded model"))
    let observer = try TensorObserver(network, tensors: tensors)
    let pass = SamplePass(
      samples, preprocessing, policy: policy, threads: threads,
      // A shard may hold corrupt images alone; what counts is the sum of all shards.
      acceptsNone: true, progress: progress)
    let tables = (0..<pass.workers).map { _ in HistogramTable(count: observer.order.count) }
    let (count, skipped) = try pass.run(into: 0) { worker, sample, tensor throws(QuenchError) in
      let table = tables[worker]
      try observer.lend(sample, tensor) { index, values throws(QuenchError) in
        table.histograms[index].add(values)
        let histogram = table.histograms[index]
        guard histogram.nans == 0, histogram.infinities == 0 else {
          throw TensorObserver.notFinite(
            histogram.nans > 0, tensor: observer.order[index], sample: sample)
        }
      }
    } fold: { total, _, _ in
      total += 1
    }

    var merged: [String: Histogram] = [:]
    for (index, name) in observer.order.enumerated() {
      var histogram = Histogram()
      for table in tables { histogram.merge(table.histograms[index]) }
      merged[name] = histogram
    }
    let observations = Observations(
      model: try ContentDigest.of(model).hex, preprocessing: try preprocessing.digest().hex,
      samples: count, tensors: merged)
    return ObservationRun(observations: observations, skipped: skipped)
  }
}

/// What `Observer.observe` found.
public struct ObservationRun: Sendable {
  /// The histograms; `samples` counts those that ran.
  public var observations: Observations
  /// The samples that were left out because they are corrupt, in their order, each with the reason.
  public var skipped: [(sample: Sample, error: QuenchError)]
}

/// One worker's histograms.
///
/// `@unchecked Sendable`: written by one worker's thread alone, read after that thread was joined.
private final class HistogramTable: @unchecked Sendable {
  var histograms: [Histogram]

  init(count: Int) { histograms = Array(repeating: Histogram(), count: count) }
}
