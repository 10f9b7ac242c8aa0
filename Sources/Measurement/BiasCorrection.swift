// SPDX-License-Identifier: Apache-2.0
// Measurement: takes the systematic shift that quantisation gives each channel out of the biases.

public import Calibration
public import Datasets
public import Diagnostics
public import ONNXModel
internal import ONNXRuntime
public import Quantization
internal import Synchronization
internal import Tensors

/// Corrects biases layer by layer, the quantised network beside the float one.
///
/// Rounding and clipping are not zero-mean, so each channel of a layer's output is shifted. Each
/// layer in turn runs on what the *corrected* quantised layers before it gave; the mean difference
/// to the float network goes into its bias, whereby the shift of everything before is repaired too.
/// Where a Relu or Clip follows, the mean is taken only over elements that it lets through in one
/// of the networks: rare outliers that it cuts off anyway would shift the bulk.
///
/// Source: sequential empirical bias correction, Nagel et al., "Data-Free Quantization Through
/// Weight Equalization and Bias Correction" (2019), with the mean over active elements.
public enum BiasCorrection {
  /// With fewer active elements in all samples together, all elements count.
  static let fewestActive = 64

  /// Computes the corrections: one pass of the float and one of the quantised network.
  ///
  /// - Parameters:
  ///   - model: the folded model.
  ///   - config: which layers are INT8, and their scales. FP16 layers are corrected as well, for
  ///     what reaches them.
  ///   - scales: of that model.
  ///   - samples: calibration samples; 50 or more.
  ///   - preprocessing: turns a picture into the model's input.
  ///   - scratch: a directory for intermediate tensors: for each sample twice what is alive at
  ///     once in the network.
  ///   - policy: what to do with a sample that cannot be decoded.
  ///   - threads: model runs side by side; nil: as many as processors. No figure depends on it.
  ///   - progress: called after each layer.
  /// - Throws: `.data` when config or scales do not fit the model or a value is not finite; `.work`
  ///   when `scratch` is full; `.unavailable` without ONNX Runtime.
  public static func correct(
    model: Model, config: CalibrationConfig, scales: ScaleTable, samples: [Sample],
    preprocessing: Preprocessing, scratch: String, policy: CorruptSamplePolicy = .fail,
    threads: Int? = nil, progress: @escaping Progress = { _, _ in }
  ) throws(QuenchError) -> BiasShifts {
    let network = try SampledNetwork(model)
    let layers = try OperatorRules.layers(of: model)
    let quantized = try QuantizeGraph.qdq(model, config: config, scales: scales)
    let wanted = layers.map(\.output)
    var float = Side(try NetworkChain(model, wanted: wanted), scratch, samples.count)
    var int8 = Side(try NetworkChain(quantized, wanted: wanted), scratch, samples.count)

    let pass = SamplePass(
      samples, preprocessing, policy: policy, threads: threads, progress: { _, _ in })
    let count = try load(pass, network, into: [float.store, int8.store])
    let activations = ActivationLimits(model)
    var shifts = BiasShifts()
    for (number, layer) in layers.enumerated() {
      let steps = (float: try float.prepare(layer.output), int8: try int8.prepare(layer.output))
      let layout = try ChannelsOfOutput(layer, shape: float.chain.type(layer.output).shape)
      let limits = activations.limits(after: layer.output)
      let (exact, rough) = (float.store, int8.store)
      let sums = try ordered(count, pass.workers) { sample throws(QuenchError) in
        try steps.float.run(sample, exact)
        try steps.int8.run(sample, rough)
        return layout.differences(
          exact.floats(layer.output, sample: sample), rough.floats(layer.output, sample: sample),
          limits)
      }
      let shift = layout.shift(sums)
      guard shift.allSatisfy(\.isFinite) else {
        throw QuenchError(
          .data, "layer \"\(layer.name)\" gives values that are not finite", at: .node(layer.name))
      }
      _ = try ordered(count, pass.workers) { sample throws(QuenchError) in
        layout.add(shift, to: rough.floats(layer.output, sample: sample))
      }
      shifts.layers.append((layer.name, shift))
      float.drop(steps.float)
      int8.drop(steps.int8)
      progress(number + 1, layers.count)
    }
    return shifts
  }

  /// Puts the network's input for every sample in the stores.
  ///
  /// - Returns: how many samples there are, corrupt ones left out.
  private static func load(
    _ pass: SamplePass, _ network: SampledNetwork, into stores: [SampleStore]
  ) throws(QuenchError) -> Int {
    guard let shape = network.model.graph.freeInputs.first?.fixedShape else {
      throw QuenchError(
        .data, "the model's input \"\(network.input)\" has no fixed shape",
        at: .tensor(network.input), try: "quench fold --input \(network.input)=1x3x224x224")
    }
    for store in stores { try store.add(network.input, .float32, shape: shape) }
    let (total, _) = try pass.run(into: 0) { _, sample, tensor throws(QuenchError) -> Tensor in
      try network.check(tensor, of: sample)
      return tensor
    } fold: { total, _, tensor in
      tensor.withElements(as: Float.self) { values in
        for store in stores {
          _ = store.floats(network.input, sample: total).update(fromContentsOf: values)
        }
      }
      total += 1
    }
    return total
  }

  /// Results for all samples, by their number; worked on by several threads.
  ///
  /// - Throws: the error of the earliest sample that failed.
  private static func ordered<R: Sendable>(
    _ count: Int, _ workers: Int,
    _ body: @escaping @Sendable (Int) throws(QuenchError) -> R
  ) throws(QuenchError) -> [R] {
    let state = Mutex(OrderedResults<R>())
    Workers.run(min(workers, count)) { _ in
      while true {
        let taken = state.withLock { state -> Int? in
          guard state.next < count, state.failure == nil else { return nil }
          defer { state.next += 1 }
          return state.next
        }
        guard let sample = taken else { return }
        do throws(QuenchError) {
          let result = try body(sample)
          state.withLock { $0.results[sample] = result }
        } catch {
          state.withLock { state in
            if sample < state.failure?.index ?? Int.max { state.failure = (sample, error) }
          }
        }
      }
    }
    let end = state.withLock { $0 }
    if let failure = end.failure { throw failure.error }
    return (0..<count).compactMap { end.results[$0] }
  }
}

/// Results by sample, while workers fill them in.
private struct OrderedResults<R: Sendable>: Sendable {
  var next = 0
  var results: [Int: R] = [:]
  var failure: (index: Int, error: QuenchError)?
}

/// One of the two networks: its chain of steps and its tensors.
private struct Side {
  var chain: NetworkChain
  let store: SampleStore

  init(_ chain: NetworkChain, _ scratch: String, _ samples: Int) {
    self.chain = chain
    store = SampleStore(directory: scratch, samples: samples)
  }

  /// Opens the step to a tensor and makes room for what it leaves.
  mutating func prepare(_ tensor: String) throws(QuenchError) -> OpenStep {
    let step = try chain.step(to: tensor)
    for name in step.outputs {
      let type = try chain.type(name)
      try store.add(name, type.elementType, shape: type.shape)
    }
    return OpenStep(
      step: step, session: try Session(RuntimeLibrary.load(), model: step.model.encode()))
  }

  func drop(_ step: OpenStep) {
    for name in step.step.dead { store.drop(name) }
  }
}

/// A step that can run.
private struct OpenStep: Sendable {
  let step: NetworkChain.Step
  let session: Session

  func run(_ sample: Int, _ store: SampleStore) throws(QuenchError) {
    var views: [String: TensorView] = [:]
    for name in step.inputs { views[name] = store.view(name, sample: sample) }
    try session.run(views: views, outputs: step.outputs) { lent throws(QuenchError) in
      for (index, name) in step.outputs.enumerated() {
        try lent.withView(index) { view throws(QuenchError) in
          try store.write(name, sample: sample, view)
        }
      }
    }
  }
}
