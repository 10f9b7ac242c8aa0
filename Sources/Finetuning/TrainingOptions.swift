// SPDX-License-Identifier: Apache-2.0
// Finetuning: what a project says of training: a recipe, and what departs from it.

internal import Artifacts
public import Diagnostics

/// The content of `finetune.json`: the keys under `finetune:` of `quench.yaml` that are set. What
/// is not set comes from the recipe.
public struct TrainingOptions: Sendable, Equatable, Decodable {
  /// A complete set of settings to depart from.
  public enum Recipe: String, Sendable, Codable {
    /// `TrainingSettings.automatic`.
    case auto
    /// `TrainingSettings.article`.
    case article
  }

  /// Which settings to depart from; `auto` when absent.
  public var recipe: Recipe?
  /// Passes over the training samples.
  public var epochs: Int?
  /// Samples a step.
  public var batch: Int?
  /// The weights' largest learning rate.
  public var learningRate: Double?
  /// The scales' learning rate on log₂, before the factor of their release.
  public var scaleLearningRate: Double?
  /// Steps over which the weights' rate rises.
  public var warmUpSteps: Int?
  /// `constant`, `step` (a tenth at 0.5 and again at 0.8), `cosine`, or `constantThenCosine` (from
  /// 0.8).
  public var schedule: String?
  /// Share of the steps after which scales learn, 0...1.
  public var unfreezeScalesAt: Double?
  /// Share of the steps after which weights are frozen at their codes, a few at a time, 0...1; 1:
  /// never.
  public var freezeWeightsAt: Double?
  /// `sgd` or `adamW`, of the weights and biases.
  public var optimizer: String?
  /// Decay of the weights, not of biases and scales.
  public var weightDecay: Double?
  /// The largest norm of the weights' gradient; 0 for no limit.
  public var clipNorm: Double?
  /// `crossEntropy`, `distillation` or `both`; when absent, what the recipe and the labels allow.
  public var loss: String?
  /// Of the distillation.
  public var temperature: Double?
  /// Of `both`: the labels' part, 0...1.
  public var labelShare: Double?
  /// Mirrors pictures.
  public var flip: Bool?
  /// Pads and crops pictures by up to this many pixels.
  public var padding: Int?
  /// The one seed.
  public var seed: UInt64?
  /// Share of the samples that judge, above 0, up to 0.9.
  public var heldBack: Double?
  /// Epochs without gain before the run stops; 0: never.
  public var patience: Int?
  /// The memory that training may take, in GiB; when absent, what the machine has left.
  public var memoryLimit: Double?

  /// For experiments by hand, not in `quench.yaml`: bits of the weights' codes, 2...8. Below 8 the
  /// network that PTQ is has weights of that many bits too.
  public var weightBits: Int?
  /// For experiments by hand, not in `quench.yaml`: false trains the float network, to see what
  /// training alone gains.
  public var fakeQuantization: Bool?

  private enum CodingKeys: String, CodingKey, CaseIterable {
    case recipe, epochs, batch, learningRate, scaleLearningRate, warmUpSteps, schedule
    case unfreezeScalesAt, freezeWeightsAt, optimizer, weightDecay, clipNorm, loss, temperature
    case labelShare, flip, padding, seed, heldBack, patience, memoryLimit, weightBits,
      fakeQuantization
  }

  /// Options of the recipe `auto`.
  public init() {}

  /// Reads options; `path` is for messages.
  ///
  /// - Throws: `.data` when something is malformed.
  public static func decode(_ bytes: [UInt8], path: String) throws(QuenchError) -> TrainingOptions {
    let known = CodingKeys.allCases.map(\.rawValue)
    let names = try ArtifactJSON.decodePlain(KeyNames.self, from: bytes, path: path).names
    if let odd = names.first(where: { !known.contains($0) }) {
      // A key that is silently nothing would train with what was not meant.
      throw QuenchError(
        .data, "unknown key \"\(odd)\"\(NearestName.hint(odd, among: known))", at: .file(path))
    }
    return try ArtifactJSON.decodePlain(TrainingOptions.self, from: bytes, path: path)
  }

  /// The keys of a JSON object, sorted.
  private struct KeyNames: Decodable {
    struct Key: CodingKey {
      var stringValue: String
      var intValue: Int? { nil }
      init?(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }
    var names: [String]
    init(from decoder: any Decoder) throws {
      names = try decoder.container(keyedBy: Key.self).allKeys.map(\.stringValue).sorted()
    }
  }

  /// The settings that the options come to.
  ///
  /// - Parameters:
  ///   - isLabelled: whether all samples have labels: `article` then trains on them, else by
  ///     distillation.
  ///   - path: of the options, for messages.
  /// - Throws: `.data` for values out of range and words that mean nothing.
  public func settings(isLabelled: Bool, path: String) throws(QuenchError) -> TrainingSettings {
    let recipe = recipe ?? .auto
    var settings: TrainingSettings = recipe == .auto ? .automatic : .article
    settings.epochs = epochs ?? settings.epochs
    settings.batch = batch ?? settings.batch
    settings.seed = seed ?? settings.seed
    settings.rate.peak = learningRate ?? settings.rate.peak
    settings.rate.warmUpSteps = warmUpSteps ?? settings.rate.warmUpSteps
    // The article has one rate for everything.
    settings.scaleRate.peak =
      scaleLearningRate ?? (recipe == .article ? learningRate : nil) ?? settings.scaleRate.peak
    settings.schedule.releaseShare = unfreezeScalesAt ?? settings.schedule.releaseShare
    settings.weightFreeze = freezeWeightsAt.flatMap { $0 < 1 ? WeightFreeze(start: $0) : nil }
    settings.weights.weightDecay = weightDecay ?? settings.weights.weightDecay
    settings.weights.clipNorm = clipNorm ?? settings.weights.clipNorm
    settings.augmentation.flip = flip ?? settings.augmentation.flip
    settings.augmentation.padding = padding ?? settings.augmentation.padding
    settings.heldBackShare = heldBack ?? settings.heldBackShare
    settings.patience = patience ?? settings.patience

    switch schedule {
    case nil:
      // The article's rate falls where its scales are released.
      if recipe == .article {
        settings.rate.course = .steps(at: [settings.schedule.releaseShare], factor: 0.1)
      }
    case "constant": settings.rate.course = .constant
    case "step": settings.rate.course = .steps(at: [0.5, 0.8], factor: 0.1)
    case "cosine": settings.rate.course = .cosine
    case "constantThenCosine": settings.rate.course = .constantThenCosine(from: 0.8)
    case .some(let word): throw unknown("schedule", word, path)
    }
    switch optimizer {
    case nil: break
    case "sgd": settings.weights.rule = .momentum
    case "adamW": settings.weights.rule = .adam
    case .some(let word): throw unknown("optimizer", word, path)
    }
    let usual = recipe == .article && isLabelled ? "crossEntropy" : "distillation"
    switch loss ?? usual {
    case "crossEntropy": settings.loss = .crossEntropy
    case "distillation": settings.loss = .distillation(temperature: temperature ?? 1)
    case "both":
      settings.loss = .both(share: labelShare ?? 0.5, temperature: temperature ?? 1)
    case let word: throw unknown("loss", word, path)
    }
    if let weightBits, !(2...8).contains(weightBits) {
      throw QuenchError(.data, "\"weightBits\" must be 2 to 8", at: .file(path))
    }
    if let freezeWeightsAt, !(freezeWeightsAt >= 0 && freezeWeightsAt <= 1) {
      throw QuenchError(.data, "\"freezeWeightsAt\" must be 0 to 1", at: .file(path))
    }
    if let memoryLimit, !(memoryLimit > 0 && memoryLimit <= 1_000_000) {
      throw QuenchError(
        .data, "\"memoryLimit\" must be above 0 and up to 1000000 GiB", at: .file(path))
    }
    try settings.check(path)
    return settings
  }

  private func unknown(_ key: String, _ word: String, _ path: String) -> QuenchError {
    QuenchError(.data, "\"\(word)\" is no value of \"\(key)\"", at: .file(path))
  }
}
