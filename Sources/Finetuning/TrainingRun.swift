// SPDX-License-Identifier: Apache-2.0
// Finetuning: the run itself: epochs, judging, checkpoints, and the decision at the end.

internal import Artifacts
internal import Datasets
public import Diagnostics
internal import Glibc

/// Where a run stands.
public struct TrainingProgress: Sendable {
  /// Steps done.
  public var step: Int
  /// Steps in all.
  public var total: Int
  /// Samples that one step takes.
  public var batch: Int
  /// The loss, smoothed over about ten steps.
  public var loss: Double
  /// The epoch that just ended, if one did.
  public var epoch: EpochEntry?
  /// Steps that an earlier process did, which a resumed run did not.
  public var resumedFrom: Int
}

/// What a run came to.
public struct TrainingOutcome: Sendable {
  /// Whether the tuned network is kept; its parameters then hold the best epoch's values.
  public var keepsTuned: Bool
  /// The step that an earlier process had reached; 0 when the run began anew.
  public var resumedFrom: Int
  /// What happened.
  public var report: TrainingReport
}

/// One training run over a network. Everything that it computes is a function of the network's
/// first parameters, the data, the teacher and the settings, whether it was interrupted or not.
public final class TrainingRun {
  private let network: any TrainableNetwork
  private let settings: TrainingSettings
  private let data: TrainingData
  private let teacher: Teacher
  private let store: CheckpointStore?
  private let key: [UInt8]
  private let random: CounterRandom
  private let startScales: [[Float]]
  private var optimizer: Optimizer
  private var state: TrainingState
  private var best: [[Float]] = []
  private var losses: [Float] = []
  private var frozen: FrozenWeights?
  private var order: (epoch: Int, samples: [Int]) = (-1, [])
  private let isStopping: () -> Bool
  private var wasStopped = false

  /// Checks that the run is possible, judges the network as it is, and finds a checkpoint.
  ///
  /// - Parameters:
  ///   - network: begins as PTQ.
  ///   - identity: digest or text of everything that decides the run and is not in `settings`:
  ///     model, scales, content of the samples.
  ///   - isStopping: asked between two steps, and between batches while the network is judged; once
  ///     it says so, the run ends.
  /// - Throws: `.data` for labels that are missing or wrong, or samples of another size.
  public init(
    _ network: any TrainableNetwork, settings: TrainingSettings, data: TrainingData,
    teacher: Teacher, checkpoints: CheckpointStore?, identity: [UInt8],
    isStopping: @escaping () -> Bool = { false }
  ) throws(QuenchError) {
    try data.checkLabels(classes: network.classes, needed: settings.loss.needsLabels)
    let sampleCount = data.shape.reduce(1, *)
    guard sampleCount == network.inputCount else {
      throw QuenchError(
        .data,
        "a sample of shape \(data.shape) has \(sampleCount) numbers, the network reads "
          + "\(network.inputCount)", try: "the steps under `preprocess:`")
    }
    precondition(!settings.loss.needsTeacher || teacher.isThere, "the loss needs a teacher")
    guard !network.parameters.isEmpty else {
      throw QuenchError(.data, "the network has nothing that can be trained")
    }
    self.network = network
    self.settings = settings
    self.data = data
    self.teacher = teacher
    self.isStopping = isStopping
    store = checkpoints
    random = CounterRandom(seed: settings.seed)
    key = try TrainingRun.key(identity, settings, network, data)
    startScales = network.scaleParameters.map(\.values)
    optimizer = Optimizer(
      weights: settings.weights, scales: settings.scales, parameters: network.parameters)
    if settings.weightFreeze != nil {
      frozen = FrozenWeights(parameters: network.parameters, coded: network.codedWeights)
    }
    let stepsPerEpoch = (data.trained.count + settings.batch - 1) / settings.batch
    state = TrainingState(
      total: settings.epochs * stepsPerEpoch,
      start: HeldBackResult(losses: [], correct: [], agreeing: []),
      history: ScaleHistory(names: network.scaleParameters.map(\.title)), optimizerSteps: [])
  }

  /// Trains to the end, or continues to it.
  ///
  /// - Parameter progress: called after each step; what it throws ends the run, which can be
  ///   continued from the last checkpoint.
  /// - Throws: `.work` when training diverges, naming step and layer, or a checkpoint cannot be
  ///   written; `.interrupted` when it was stopped, after a checkpoint of the last step.
  public func run(
    progress: (TrainingProgress) throws(QuenchError) -> Void = { _ in }
  ) throws(QuenchError) -> TrainingOutcome {
    let total = state.total
    let counts = network.parameters.map(\.count)
    var resumedFrom = 0
    store?.removeRemains()
    if let checkpoint = try store?.best(key: key, counts: counts, settings: settings, total: total)
    {
      restore(checkpoint, total: total)
      resumedFrom = state.step
    } else {
      state.start = try judge()
      recordScales()
    }
    let branch = settings.branchStep(of: total)
    var lastWrite = TrainingRun.clock()
    while isEpochOpen || (state.step < total && !isExhausted) {
      let ended = try stoppable { () throws(QuenchError) in try advance() }
      try progress(
        TrainingProgress(
          step: state.step, total: total, batch: settings.batch, loss: state.smoothedLoss,
          epoch: ended, resumedFrom: resumedFrom))
      guard let store else { continue }
      if state.step == branch { try store.write(checkpoint(), to: store.branch) }
      if ended != nil || TrainingRun.clock() - lastWrite >= store.seconds {
        try store.write(checkpoint(), to: store.latest)
        lastWrite = TrainingRun.clock()
      }
    }
    return try stoppable { () throws(QuenchError) in try finish(resumedFrom: resumedFrom) }
  }

  private var stepsPerEpoch: Int {
    (data.trained.count + settings.batch - 1) / settings.batch
  }

  private var isExhausted: Bool {
    settings.patience > 0 && state.epochsWithoutGain >= settings.patience
  }

  /// All steps of an epoch are done, and the network is not judged yet: so it stands while an epoch
  /// ends, and in the checkpoint of a run that was stopped then.
  private var isEpochOpen: Bool {
    state.step.isMultiple(of: stepsPerEpoch) && state.epochs.count < state.step / stepsPerEpoch
  }

  private static func clock() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
  }
}

// MARK: - Steps

extension TrainingRun {
  /// The next step, unless the one before it was an epoch's last, and then the epoch's end.
  private func advance() throws(QuenchError) -> EpochEntry? {
    if !isEpochOpen {
      try checkStop()
      try step(epoch: state.step / stepsPerEpoch)
    }
    return isEpochOpen ? try finishEpoch() : nil
  }

  private func step(epoch: Int) throws(QuenchError) {
    if order.epoch != epoch {
      order = (epoch, random.order(of: data.trained.count, epoch: epoch).map { data.trained[$0] })
    }
    let order = order.samples
    let first = (state.step % stepsPerEpoch) * settings.batch
    let indices = Array(order[first..<min(first + settings.batch, order.count)])
    let pictures = try data.pictures(indices, settings.augmentation, random, epoch: epoch)
    let wanted =
      settings.loss.needsTeacher ? try teacher.logits(indices, pictures: pictures) : []
    network.zeroGradients()
    let logits = try network.forward(pictures, count: indices.count, training: true)
    let result = BatchLoss.evaluate(
      settings.loss, logits: logits, classes: network.classes, labels: data.labels(indices),
      teacher: wanted)
    let loss = result.mean
    guard loss.isFinite, logits.allSatisfy(\.isFinite) else {
      throw Divergence.notFinite(network, step: state.step)
    }
    network.backward(result.gradient)
    if let parameter = Divergence.firstBadGradient(network.parameters) {
      throw Divergence.badGradient(parameter, step: state.step)
    }
    if state.step == 0 {
      state.referenceLoss = max(loss, state.start.loss)
      state.smoothedLoss = loss
    }
    state.smoothedLoss += 0.1 * (loss - state.smoothedLoss)
    guard state.smoothedLoss <= Divergence.limit(state.referenceLoss) else {
      throw Divergence.grown(
        network.parameters, step: state.step, from: state.referenceLoss, to: state.smoothedLoss)
    }
    let rates = settings.rates(at: state.step, of: state.total)
    if rates.scales > 0 { frozen?.addScaleGradients(network.codedWeights) }
    frozen?.clearGradients(network.codedWeights)
    optimizer.step(.weights, of: network.parameters, rate: rates.weights)
    optimizer.step(.scales, of: network.parameters, rate: rates.scales)
    losses.append(Float(loss))
    state.step += 1
    freezeWeights()
    if state.step.isMultiple(of: ScaleHistory.interval) { recordScales() }
  }

  private func freezeWeights() {
    guard let share = settings.weightFreeze?.share(after: state.step, of: state.total),
      let before = settings.weightFreeze?.share(after: state.step - 1, of: state.total)
    else { return }
    if share > before { frozen?.freeze(network.codedWeights, share: share) }
    frozen?.hold(network.codedWeights)
  }

  private func recordScales() {
    state.history.record(step: state.step, scales: scalesNow())
  }

  private func scalesNow() -> [(start: [Float], now: [Float])] {
    zip(startScales, network.scaleParameters).map { ($0, $1.values) }
  }

  private func finishEpoch() throws(QuenchError) -> EpochEntry {
    let epoch = state.epochs.count
    let result = try judge()
    let recent = losses.suffix(stepsPerEpoch)
    let entry = EpochEntry(
      epoch: epoch + 1, steps: state.step,
      trainingLoss: recent.reduce(0) { $0 + Double($1) } / Double(recent.count),
      heldBackLoss: result.loss, accuracy: result.accuracy, agreement: result.agreement,
      rate: settings.rates(at: state.step - 1, of: state.total).weights)
    state.epochs.append(entry)
    if result.loss < (state.best ?? state.start).loss {
      state.best = result
      state.bestEpoch = epoch + 1
      state.epochsWithoutGain = 0
      best = network.parameters.map(\.values)
    } else if state.step >= settings.weightFreeze?.lastStep(of: state.total) ?? 0 {
      // The gain comes when the last weights are frozen.
      state.epochsWithoutGain += 1
    }
    return entry
  }

  /// Runs the network over the held-back samples.
  private func judge() throws(QuenchError) -> HeldBackResult {
    try judge { indices, pictures throws(QuenchError) in
      let logits = try network.forward(pictures, count: indices.count, training: false)
      guard logits.allSatisfy(\.isFinite) else {
        throw Divergence.notFinite(network, step: state.step)
      }
      return logits
    }
  }

  /// The float network over the held-back samples; nil when nobody knows it.
  private func float() throws(QuenchError) -> HeldBackResult? {
    guard teacher.isThere else { return nil }
    return try judge { indices, pictures throws(QuenchError) in
      try teacher.logits(indices, pictures: pictures)
    }
  }

  private func judge(
    _ answer: ([Int], [Float]) throws(QuenchError) -> [Float]
  ) throws(QuenchError) -> HeldBackResult {
    var result = HeldBackResult(losses: [], correct: [], agreeing: [])
    let held = data.heldBack
    for start in stride(from: 0, to: held.count, by: settings.batch) {
      try checkStop()
      let indices = Array(held[start..<min(start + settings.batch, held.count)])
      let pictures = try data.pictures(indices)
      let wanted = try teacher.logits(indices, pictures: pictures)
      let logits = try answer(indices, pictures)
      let labels = data.labels(indices)
      result.losses +=
        BatchLoss.evaluate(
          settings.loss, logits: logits, classes: network.classes, labels: labels, teacher: wanted
        ).losses
      let classes = BatchLoss.topClasses(logits, classes: network.classes)
      if data.isLabelled { result.correct += zip(classes, labels).map { $0 == $1 } }
      if teacher.isThere {
        let theirs = BatchLoss.topClasses(wanted, classes: network.classes)
        result.agreeing += zip(classes, theirs).map { $0 == $1 }
      }
    }
    return result
  }
}

// MARK: - Stopping

extension TrainingRun {
  private func checkStop() throws(QuenchError) {
    guard isStopping() else { return }
    wasStopped = true
    throw QuenchError(
      .interrupted, "training was interrupted after step \(state.step) of \(state.total)")
  }

  /// What may be stopped: then a checkpoint of the last whole step is written. Judging changes
  /// nothing before its end, so that it can begin again.
  private func stoppable<T>(_ body: () throws(QuenchError) -> T) throws(QuenchError) -> T {
    do {
      return try body()
    } catch {
      guard wasStopped, let store else { throw error }
      try store.write(checkpoint(), to: store.latest)
      throw QuenchError(
        error.kind, error.message, at: .file(store.latest),
        try: "the same command again: training continues from there")
    }
  }
}

// MARK: - Beginning and end

extension TrainingRun {
  private static func key(
    _ identity: [UInt8], _ settings: TrainingSettings, _ network: any TrainableNetwork,
    _ data: TrainingData
  ) throws(QuenchError) -> [UInt8] {
    let sha = try SHA256()
    sha.update(identity)
    // The number of epochs is what may grow.
    var lasting = settings
    lasting.epochs = 1
    sha.update(try ArtifactJSON.encodePlain(lasting))
    for parameter in network.parameters {
      sha.update(Array("\(parameter.kind.rawValue) \(parameter.name) \(parameter.count)\n".utf8))
    }
    for sample in data.samples { sha.update(Array((sample.line + "\n").utf8)) }
    return sha.finish().bytes
  }

  private func checkpoint() -> Checkpoint {
    var state = state
    state.optimizerSteps = optimizer.states.map(\.steps)
    return Checkpoint(
      key: key, state: state,
      tensors: TrainingTensors(
        values: network.parameters.map(\.values), codes: frozen?.codes ?? [],
        slots: optimizer.states.map(\.slots),
        best: best, losses: losses))
  }

  private func restore(_ checkpoint: Checkpoint, total: Int) {
    state = checkpoint.state
    state.total = total
    best = checkpoint.tensors.best
    losses = checkpoint.tensors.losses
    if frozen != nil { frozen = FrozenWeights(codes: checkpoint.tensors.codes) }
    for (parameter, values) in zip(network.parameters, checkpoint.tensors.values) {
      parameter.values = values
    }
    for index in optimizer.states.indices {
      optimizer.states[index].slots = checkpoint.tensors.slots[index]
      optimizer.states[index].steps = state.optimizerSteps[index]
    }
  }

  private func finish(resumedFrom: Int) throws(QuenchError) -> TrainingOutcome {
    let verdict = GainVerdict(ptq: state.start, tuned: state.best ?? state.start)
    // The end of the run, which need not be the epoch that is kept.
    var history = state.history
    history.record(step: state.step, scales: scalesNow())
    if verdict.keepsTuned {
      for (parameter, values) in zip(network.parameters, best) { parameter.values = values }
    }
    let report = TrainingReport(
      kind: startScales.isEmpty ? "float" : "quantized", settings: settings,
      trainedSamples: data.trained.count, heldBackSamples: data.heldBack.count,
      skippedSamples: data.skipped.count,
      trainableNumbers: network.parameters.reduce(0) { $0 + $1.count }, plan: nil,
      steps: state.step, stoppedEarly: state.step < state.total,
      fp32: try float().map(TrainingReport.Figures.init),
      ptq: TrainingReport.Figures(state.start), tuned: state.best.map(TrainingReport.Figures.init),
      bestEpoch: state.bestEpoch, verdict: verdict, epochs: state.epochs, scales: history,
      losses: TrainingReport.condensed(losses),
      releaseStep: settings.schedule.releaseStep(of: state.total))
    return TrainingOutcome(
      keepsTuned: verdict.keepsTuned, resumedFrom: resumedFrom, report: report)
  }
}
