// SPDX-License-Identifier: Apache-2.0
// Finetuning: from a PTQ network and samples to a tuned network, or to PTQ again.

internal import Artifacts
public import Calibration
public import Datasets
public import Diagnostics
internal import Glibc
public import ONNXModel
public import Quantization

/// The files that a network is quantized from.
public struct QuantizableNetwork: Sendable {
  /// The folded float model, with corrected biases or trained weights.
  public var model: Model
  /// Which layer runs how.
  public var config: CalibrationConfig
  /// The scales.
  public var scales: ScaleTable

  /// Makes a network from its parts.
  public init(model: Model, config: CalibrationConfig, scales: ScaleTable) {
    self.model = model
    self.config = config
    self.scales = scales
  }
}

/// What tuning came to.
public struct TuningResult: Sendable {
  /// The network to hand on; nil when that is PTQ as it came.
  public var network: QuantizableNetwork?
  /// What happened.
  public var report: TrainingReport
  /// Samples that were left out as corrupt.
  public var skipped: [(sample: Sample, error: QuenchError)]

  /// Puts a result together.
  public init(
    network: QuantizableNetwork?, report: TrainingReport,
    skipped: [(sample: Sample, error: QuenchError)]
  ) {
    self.network = network
    self.report = report
    self.skipped = skipped
  }
}

/// What is known before the first step.
public struct TuningPlan: Sendable, Equatable {
  /// Layers whose weights train.
  public var trainedLayers: Int
  /// Samples that train.
  public var trainedSamples: Int
  /// Samples that judge.
  public var heldBackSamples: Int
  /// Steps of the whole run.
  public var steps: Int
  /// Bytes that the process takes, about and on the high side.
  public var memory: Int
  /// Bytes that it may take; nil when nothing says.
  public var memoryLimit: Int?
}

/// What a tuning tells while it runs.
public enum TuningEvent: Sendable {
  /// Everything is checked, and work begins.
  case begins(TuningPlan)
  /// What will train, what cannot, and why; told before any work.
  case plan(TrainingPlan)
  /// The float network names few of the held-back samples as their labels do: labels are shifted,
  /// or of other classes.
  case doubtfulLabels(right: Int, of: Int)
  /// The float network has seen so many of the samples.
  case teacher(done: Int, total: Int)
  /// A step ended.
  case step(TrainingProgress)
}

/// Tunes a quantized network on samples.
public struct NetworkTuning {
  /// What to tune; it is also where tuning begins.
  public var ptq: QuantizableNetwork
  /// The float network to follow.
  public var teacher: Model
  /// The samples.
  public var samples: [Sample]
  /// Turns pictures into the network's input.
  public var preprocessing: Preprocessing
  /// What to do with samples that cannot be decoded.
  public var policy: CorruptSamplePolicy
  /// What the project wants.
  public var options: TrainingOptions
  /// Where `options` came from, for messages.
  public var optionsPath: String
  /// Threads; no result depends on them.
  public var threads: Int
  /// Where checkpoints lie; nil for none.
  public var checkpoints: CheckpointStore?
  /// Opens what runs below an operator that cannot train; nil: such networks are refused.
  public var frozenPart: FrozenPartOpener?
  /// Whether training is to stop, asked between steps.
  public var isStopping: () -> Bool = { false }

  /// The version of the arithmetic: a checkpoint of another one is not continued from.
  private static let arithmetic = "quench training 5"

  /// Makes a tuning from its parts.
  public init(
    ptq: QuantizableNetwork, teacher: Model, samples: [Sample], preprocessing: Preprocessing,
    policy: CorruptSamplePolicy = .fail, options: TrainingOptions, optionsPath: String,
    threads: Int = 1, checkpoints: CheckpointStore? = nil, frozenPart: FrozenPartOpener? = nil
  ) {
    self.ptq = ptq
    self.teacher = teacher
    self.samples = samples
    self.preprocessing = preprocessing
    self.policy = policy
    self.options = options
    self.optionsPath = optionsPath
    self.threads = threads
    self.checkpoints = checkpoints
    self.frozenPart = frozenPart
  }

  /// Trains.
  ///
  /// - Throws: `.data` when operators without a rule, named with the place, leave nothing to train,
  ///   and for unusable data; what `frozenPart` throws; `.work` when memory does not suffice,
  ///   training diverges, or a checkpoint cannot be written; `.interrupted` when it was stopped.
  public func run(
    events: (TuningEvent) -> Void = { _ in }
  ) throws(QuenchError) -> TuningResult {
    let plan = try TrainableGraph.check(ptq.model)
    guard plan.isTrainable else { throw plan.refusal }
    events(.plan(plan))
    let settings = try options.settings(
      isLabelled: samples.allSatisfy { $0.label != nil }, path: optionsPath)

    var graphOptions = TrainableGraphOptions()
    graphOptions.threads = threads
    graphOptions.weightBits = options.weightBits ?? 8
    let isQuantized = options.fakeQuantization ?? true
    if !isQuantized {
      try requireSomethingToLearn(settings)
      try RenewedScales.check(ptq)
    }
    let graph = try TrainableGraph(
      ptq.model, config: isQuantized ? ptq.config : nil, scales: isQuantized ? ptq.scales : nil,
      options: graphOptions, frozenPart: frozenPart)
    // With fewer bits PTQ is another network than the one that came.
    let start = graphOptions.weightBits < 8 && isQuantized ? try network(graph) : nil
    let cache = NetworkTuning.cacheBytes(samples: samples.count, numbers: graph.inputCount)
    let (memory, limit) = try checkMemory(graph, settings, cache: cache)

    let steps = preprocessing
    let data = try TrainingData(
      samples, heldBackShare: settings.heldBackShare, isInterleaved: steps.layout == .interleaved,
      policy: policy, cacheBytes: cache
    ) { sample throws(QuenchError) in try SampleLoader.load(sample, steps) }
    if let input = ptq.model.graph.freeInputs.first { try data.checkShape(reads: input) }
    try data.checkLabels(classes: graph.classes, needed: settings.loss.needsLabels)
    let stepsPerEpoch = (data.trained.count + settings.batch - 1) / settings.batch
    events(
      .begins(
        TuningPlan(
          trainedLayers: plan.trained.count, trainedSamples: data.trained.count,
          heldBackSamples: data.heldBack.count, steps: settings.epochs * stepsPerEpoch,
          memory: memory, memoryLimit: limit)))
    let follows = try makeTeacher(data, settings, graphOptions, events)
    if let (right, count) = follows.rightClasses(data), count >= 10, 10 * right < count {
      events(.doubtfulLabels(right: right, of: count))
    }
    let run = try TrainingRun(
      graph, settings: settings, data: data, teacher: follows, checkpoints: checkpoints,
      identity: try identity(), isStopping: isStopping)
    let outcome = try run.run { progress throws(QuenchError) in events(.step(progress)) }

    var report = outcome.report
    report.plan = plan
    return TuningResult(
      network: outcome.keepsTuned ? try network(graph) : start, report: report,
      skipped: data.skipped)
  }

  /// The network as the graph is now.
  private func network(_ graph: TrainableGraph) throws(QuenchError) -> QuantizableNetwork {
    let trained = try graph.exported()
    guard var scales = trained.scales, let config = trained.config else {
      // The control without fake quantization has no scales of its own.
      return try RenewedScales.quantizable(trained.model, like: ptq)
    }
    scales.model = try ContentDigest.of(trained.model.encode()).hex
    return QuantizableNetwork(model: trained.model, config: config, scales: scales)
  }

  private func makeTeacher(
    _ data: TrainingData, _ settings: TrainingSettings, _ options: TrainableGraphOptions,
    _ events: (TuningEvent) -> Void
  ) throws(QuenchError) -> Teacher {
    var options = options
    options.weightBits = 8
    let float = try TrainableGraph(
      teacher, config: nil, scales: nil, options: options, frozenPart: frozenPart)
    return try Teacher.make(
      float, data: data, augmentation: settings.augmentation, batch: settings.batch
    ) { done, total in events(.teacher(done: done, total: total)) }
  }
}

// MARK: - Checks

extension NetworkTuning {
  /// The float network is at distance 0 from itself: distillation alone would do nothing.
  private func requireSomethingToLearn(_ settings: TrainingSettings) throws(QuenchError) {
    guard !settings.loss.needsLabels, try ptq.model.encode() == teacher.encode() else { return }
    throw QuenchError(
      .data,
      "the float control begins as the network that distillation follows, so it has nothing to learn",
      at: .file(optionsPath), try: "labels, and finetune: {loss: crossEntropy} or {loss: both}")
  }

  /// Half a gibibyte, or less where the samples take less.
  private static func cacheBytes(samples: Int, numbers: Int) -> Int {
    let (all, overflow) = (4 * samples).multipliedReportingOverflow(by: numbers)
    return overflow ? 512 << 20 : min(all, 512 << 20)
  }

  private func checkMemory(
    _ graph: TrainableGraph, _ settings: TrainingSettings, cache: Int
  ) throws(QuenchError) -> (estimate: Int, limit: Int?) {
    let limit = options.memoryLimit.map { Int($0 * 0x1p30) } ?? TrainingMemory.available()
    let logits = 4 * samples.count * graph.classes
    let memory = TrainingMemory(
      parameters: graph.parameters, settings: settings, data: cache + logits
    ) { graph.estimatedBytes(count: $0) }
    if let limit { try memory.check(batch: settings.batch, limit: limit) }
    return (memory.bytes(batch: settings.batch), limit)
  }

  /// Digests of everything that decides the run and is not in its settings.
  private func identity() throws(QuenchError) -> [UInt8] {
    let sha = try SHA256()
    let mode = " \(options.weightBits ?? 8) \(options.fakeQuantization ?? true)"
    sha.update(Array((NetworkTuning.arithmetic + mode).utf8))
    for bytes in [
      try ptq.model.encode(), try teacher.encode(), ptq.config.encode(),
      try ArtifactJSON.encode(ptq.scales), Array("\(preprocessing)".utf8),
    ] {
      sha.update(try ContentDigest.of(bytes).bytes)
    }
    var seen: Set<String> = []
    for sample in samples where seen.insert(sample.path).inserted {
      sha.update(try ContentDigest.ofFile(sample.path).bytes)
    }
    return sha.finish().bytes
  }
}
