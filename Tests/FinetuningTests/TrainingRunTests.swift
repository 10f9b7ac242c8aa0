// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Datasets
import Diagnostics
import Tensors
import TestSupport
import Testing

@testable import Finetuning

@Suite("Training runs")
struct TrainingRunTests {
  static func settings(epochs: Int = 4, rate: Double = 0.05) -> TrainingSettings {
    var settings = TrainingSettings.automatic
    settings.epochs = epochs
    settings.batch = 8
    settings.loss = .crossEntropy
    settings.rate.peak = rate
    settings.scaleRate.peak = 0.01
    return settings
  }

  static func run(
    _ settings: TrainingSettings, data: TrainingData? = nil, network: TinyNetwork = TinyNetwork(),
    store: CheckpointStore? = nil, identity: String = "net", stopAfter: Int? = nil,
    isStopping: @escaping () -> Bool = { false }
  ) throws -> (outcome: TrainingOutcome, network: TinyNetwork) {
    let run = try TrainingRun(
      network, settings: settings, data: try data ?? TinyNetwork.data(), teacher: .none,
      checkpoints: store, identity: Array(identity.utf8), isStopping: isStopping)
    let outcome = try run.run { progress throws(QuenchError) in
      guard progress.step != stopAfter else { throw QuenchError(.interrupted, "stopped here") }
    }
    return (outcome, network)
  }

  @Test("training learns, the held-back samples say so, and the tuned network is kept")
  func learns() throws {
    let (outcome, network) = try Self.run(Self.settings(epochs: 8))
    let report = outcome.report
    #expect(outcome.keepsTuned)
    #expect(report.verdict.lossGain > report.verdict.lossGainError)
    #expect(try #require(report.tuned).loss < (try #require(report.ptq)).loss)
    #expect(report.epochs.count == 8)
    #expect(report.trainedSamples + report.heldBackSamples == 120)
    #expect(network.parameters[0].values != TinyNetwork().parameters[0].values)
  }

  @Test("without a gain PTQ is kept, and the report says why")
  func guarded() throws {
    // A rate that moves nothing that float32 can see.
    var settings = Self.settings(rate: 1e-30)
    settings.scaleRate.peak = 0
    let (outcome, _) = try Self.run(settings)
    #expect(!outcome.keepsTuned)
    #expect(outcome.report.verdict.reason.contains("did not fall"))
  }

  @Test("a smaller loss does not outweigh accuracy that fell by more than chance")
  func veto() {
    let count = 100
    let ptq = HeldBackResult(
      losses: Array(repeating: 1, count: count), correct: Array(repeating: true, count: count),
      agreeing: [])
    var tuned = HeldBackResult(
      losses: Array(repeating: 0.5, count: count), correct: Array(repeating: true, count: count),
      agreeing: [])
    #expect(GainVerdict(ptq: ptq, tuned: tuned).keepsTuned)
    for index in 0..<5 { tuned.correct[index] = false }
    let verdict = GainVerdict(ptq: ptq, tuned: tuned)
    #expect(!verdict.keepsTuned)
    #expect(verdict.accuracyGain == -5)
    #expect(verdict.reason.contains("accuracy"))
  }

  @Test("scales stay where they are until the release, and the history shows it")
  func frozenScales() throws {
    var settings = Self.settings(epochs: 50)
    settings.patience = 0
    let (outcome, _) = try Self.run(settings)
    let history = outcome.report.scales
    #expect(history.names == ["x"])
    #expect(history.steps.first == 0)
    for (step, change) in zip(history.steps, history.changes)
    where step <= outcome.report.releaseStep {
      #expect(change == [0])
    }
    #expect(history.finalChange > 0)
  }

  @Test(
    "a run that was stopped anywhere ends with the bytes of one that was not, weights freezing or not",
    arguments: [nil, WeightFreeze(start: 0.25)])
  func resume(freeze: WeightFreeze?) throws {
    var settings = Self.settings()
    settings.weightFreeze = freeze
    func start() -> TinyNetwork { TinyNetwork(step: freeze == nil ? nil : 0.09375) }
    let (whole, network) = try Self.run(settings, network: start())
    for stop in [1, 7, 12, 13, 26, 40, 47] {
      let space = TemporarySpace()
      let store = CheckpointStore(directory: space.path("ck"), seconds: 0)
      #expect(throws: QuenchError.self) {
        try Self.run(settings, network: start(), store: store, stopAfter: stop)
      }
      let (resumed, other) = try Self.run(settings, network: start(), store: store)
      #expect(resumed.resumedFrom == stop - 1)
      #expect(resumed.report == whole.report)
      #expect(other.parameters.map(\.values) == network.parameters.map(\.values))
    }
  }

  @Test(
    "a run that is asked to stop keeps its last step, wherever it is asked, and ends with the same bytes",
    arguments: [nil, WeightFreeze(start: 0.25)])
  func stopped(freeze: WeightFreeze?) throws {
    var settings = Self.settings(epochs: 3)
    settings.weightFreeze = freeze
    func start() -> TinyNetwork { TinyNetwork(step: freeze == nil ? nil : 0.09375) }
    var questions = 0
    let (whole, network) = try Self.run(settings, network: start()) {
      questions += 1
      return false
    }
    // Steps, and batches of held-back samples at the start and after each epoch.
    #expect(questions > whole.report.steps + 4)
    for patience in 0..<questions {
      let space = TemporarySpace()
      // No checkpoints but those of an epoch's end and the one that is asked for.
      let store = CheckpointStore(directory: space.path("ck"), seconds: 1e9)
      func run(patience: Int) throws -> (outcome: TrainingOutcome, network: TinyNetwork) {
        var left = patience
        return try Self.run(settings, network: start(), store: store) {
          left -= 1
          return left < 0
        }
      }
      let error = #expect(throws: QuenchError.self) { try run(patience: patience) }
      #expect(error?.kind == .interrupted)
      let said = try #require(error?.message.firstMatch(of: /after step (\d+) of (\d+)/))
      #expect(Int(said.2) == whole.report.steps)
      // Every third is stopped again and again, also while a kept epoch's end is made up for.
      if patience.isMultiple(of: 3) {
        for more in [1, 0, 2, 5] { _ = try? run(patience: more) }
      }
      let (resumed, other) = try Self.run(settings, network: start(), store: store)
      if !patience.isMultiple(of: 3) { #expect(resumed.resumedFrom == Int(said.1)) }
      #expect(resumed.report == whole.report)
      #expect(other.parameters.map(\.values) == network.parameters.map(\.values))
    }
  }

  @Test(
    "more epochs continue from where the two runs part, with the bytes of a fresh long run",
    arguments: [nil, WeightFreeze(start: 0.25)])
  func grown(freeze: WeightFreeze?) throws {
    let space = TemporarySpace()
    let store = CheckpointStore(directory: space.path("ck"))
    func run(_ epochs: Int, _ store: CheckpointStore?) throws -> (TrainingOutcome, TinyNetwork) {
      var settings = Self.settings(epochs: epochs)
      settings.weightFreeze = freeze
      return try Self.run(settings, network: TinyNetwork(step: 0.09375), store: store)
    }
    _ = try run(4, store)
    let (grown, network) = try run(9, store)
    let (fresh, other) = try run(9, nil)
    let stepsPerEpoch = fresh.report.steps / 9
    #expect(
      grown.resumedFrom == LearningRate.firstStep(from: freeze?.start ?? 0.8, of: 4 * stepsPerEpoch)
    )
    #expect(grown.report == fresh.report)
    #expect(network.parameters.map(\.values) == other.parameters.map(\.values))
  }

  @Test("another seed, model or setting does not continue from a checkpoint")
  func otherRun() throws {
    let space = TemporarySpace()
    let store = CheckpointStore(directory: space.path("ck"))
    _ = try Self.run(Self.settings(), store: store)
    #expect(try Self.run(Self.settings(), store: store).outcome.resumedFrom > 0)
    #expect(try Self.run(Self.settings(), store: store, identity: "b").outcome.resumedFrom == 0)
    _ = try Self.run(Self.settings(), store: store)
    var seed = Self.settings()
    seed.seed = 2
    #expect(try Self.run(seed, store: store).outcome.resumedFrom == 0)
  }

  @Test("NaN stops the run with the step and the layer")
  func notANumber() throws {
    let network = TinyNetwork()
    network.failsAtPass = 8  // three passes judge at the start
    let error = #expect(throws: QuenchError.self) {
      try Self.run(Self.settings(), network: network)
    }
    #expect(error?.kind == .work)
    #expect(error?.message.contains("diverged at step") == true)
    #expect(error?.place == .node("fc"))
    #expect(error?.remedy?.contains("learningRate") == true)
  }

  @Test("a loss that grows tenfold stops the run with the step and the layer")
  func grownLoss() throws {
    var settings = Self.settings(rate: 10)
    settings.weights.clipNorm = 0
    let network = TinyNetwork(weights: (0..<12).map { _ in 0 })
    let data = try TrainingData(
      TinyNetwork.samples(120), heldBackShare: 0.2
    ) { sample throws(QuenchError) in
      Tensor(floats: TinyNetwork.picture(sample).floats.map { $0 * 100 }, shape: [1, 4])
    }
    let error = #expect(throws: QuenchError.self) {
      try Self.run(settings, data: data, network: network)
    }
    #expect(error?.message.contains("tenfold") == true)
    #expect(error?.place == .node("fc"))
  }

  @Test("a run without gain stops after its patience")
  func patience() throws {
    var settings = Self.settings(epochs: 50, rate: 1e-30)
    settings.patience = 3
    settings.scaleRate.peak = 0
    let (outcome, _) = try Self.run(settings)
    #expect(outcome.report.stoppedEarly)
    #expect(outcome.report.epochs.count == 3)
  }

  @Test("what is handed on is the best epoch, not the last")
  func bestEpoch() throws {
    // The rate is right for a few epochs, and then so large that every step overshoots.
    var settings = Self.settings(epochs: 12, rate: 0.02)
    settings.patience = 0
    settings.weights.clipNorm = 0
    settings.rate = LearningRate(peak: 0.02, course: .steps(at: [0.5], factor: 200))
    let (outcome, network) = try Self.run(settings)
    let report = outcome.report
    #expect(outcome.keepsTuned && report.epochs.count == 12)
    #expect(report.bestEpoch < 12)
    let losses = report.epochs.map(\.heldBackLoss)
    #expect(report.tuned?.loss == losses.min())
    #expect(losses[report.bestEpoch - 1] == losses.min())
    #expect(try #require(losses.last) > losses[report.bestEpoch - 1])
    // The same numbers as a run that ended there: up to the middle the rate is the same.
    var short = settings
    short.epochs = report.bestEpoch
    short.rate = LearningRate(peak: 0.02, course: .constant)
    short.schedule.releaseShare = 1
    if report.bestEpoch <= 6 {
      let (_, other) = try Self.run(short)
      #expect(network.parameters[0].values == other.parameters[0].values)
    }
  }

  @Test("pictures that are changed each epoch change the run, and a stopped run changes them alike")
  func augmented() throws {
    func data() throws -> TrainingData {
      try TrainingData(TinyNetwork.samples(120), heldBackShare: 0.2) { sample throws(QuenchError) in
        Tensor(floats: TinyNetwork.picture(sample).floats, shape: [1, 1, 2, 2])
      }
    }
    var settings = Self.settings()
    let plain = try Self.run(settings, data: data()).network
    settings.augmentation.flip = true
    settings.augmentation.padding = 1
    let (whole, network) = try Self.run(settings, data: data())
    #expect(network.parameters[0].values != plain.parameters[0].values)
    let space = TemporarySpace()
    let store = CheckpointStore(directory: space.path("ck"), seconds: 0)
    #expect(throws: QuenchError.self) {
      try Self.run(settings, data: data(), store: store, stopAfter: 17)
    }
    let (resumed, other) = try Self.run(settings, data: data(), store: store)
    #expect(resumed.resumedFrom == 16 && resumed.report == whole.report)
    #expect(other.parameters.map(\.values) == network.parameters.map(\.values))
  }

  @Test("distillation needs no labels and reports agreement")
  func distillation() throws {
    var settings = Self.settings(epochs: 6)
    settings.loss = .distillation(temperature: 2)
    let data = try TinyNetwork.data(labelled: false)
    let float = TinyNetwork(weights: (0..<12).map { Float(($0 * 5) % 7) * 0.25 - 0.5 })
    let teacher = try Teacher.make(float, data: data, augmentation: .none, batch: 8)
    let network = TinyNetwork()
    let run = try TrainingRun(
      network, settings: settings, data: data, teacher: teacher, checkpoints: nil, identity: [])
    let outcome = try run.run()
    #expect(outcome.keepsTuned)
    let ptq = try #require(outcome.report.ptq)
    #expect(ptq.accuracy == nil)
    #expect(try #require(outcome.report.tuned?.agreement) > ptq.agreement ?? 1)
  }

  @Test("adding samples never moves one between training and judging")
  func split() throws {
    let few = try TinyNetwork.data(60)
    let many = try TinyNetwork.data(600)
    let early = Set(many.heldBack.filter { $0 < 60 })
    #expect(Set(few.heldBack) == early)
    // 600 samples, share 0.2: mean 120, standard deviation 9.8.
    #expect((80...160).contains(many.heldBack.count))
  }

  @Test("missing and impossible labels are named before training starts")
  func labels() throws {
    let missing = #expect(throws: QuenchError.self) {
      try Self.run(Self.settings(), data: try TinyNetwork.data(labelled: false))
    }
    #expect(missing?.place == .file("photo0.png"))
    var samples = TinyNetwork.samples(20)
    samples[4].label = 3
    let data = try TrainingData(samples, heldBackShare: 0.2) { sample throws(QuenchError) in
      TinyNetwork.picture(sample)
    }
    let outside = #expect(throws: QuenchError.self) { try Self.run(Self.settings(), data: data) }
    #expect(outside?.kind == .data)
    #expect(outside?.message.contains("label 3") == true)
    #expect(outside?.place == .file("photo4.png"))
  }

  @Test("no data, and shapes that change, are refused")
  func badData() {
    let none = #expect(throws: QuenchError.self) {
      try TrainingData([], heldBackShare: 0.2) { sample throws(QuenchError) in
        TinyNetwork.picture(sample)
      }
    }
    #expect(none?.message.contains("no sample") == true)
    let mixed = #expect(throws: QuenchError.self) {
      try TrainingData(TinyNetwork.samples(9), heldBackShare: 0.2) { sample throws(QuenchError) in
        sample.path == "photo5.png"
          ? Tensor(floats: [1], shape: [1, 1]) : TinyNetwork.picture(sample)
      }
    }
    #expect(mixed?.kind == .data)
    #expect(mixed?.place == .file("photo5.png"))
  }

  @Test("the plot is one small well-formed picture with every curve")
  func plot() throws {
    var report = try Self.run(Self.settings(epochs: 30)).outcome.report
    report.scales.names = ["a<b&\"c\""]
    let svg = TrainingPlot.svg(report)
    #expect(svg.hasPrefix("<svg xmlns=") && svg.hasSuffix("</svg>\n"))
    #expect(svg.contains("a&lt;b&amp;&quot;c&quot;"))
    #expect(!svg.contains("nan") && !svg.contains("inf"))
    // Scale; training, held back and PTQ; top-1 and its PTQ.
    #expect(svg.split(separator: "<polyline").count - 1 == 6)
    #expect(svg.utf8.count < 20_000)
    #expect(TrainingPlot.svg(report) == svg)
  }

  @Test("the report survives being written and read")
  func report() throws {
    let report = try Self.run(Self.settings()).outcome.report
    let bytes = try ArtifactJSON.encode(report)
    #expect(try ArtifactJSON.decode(TrainingReport.self, from: bytes, path: "r") == report)
  }
}
