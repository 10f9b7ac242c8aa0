// SPDX-License-Identifier: Apache-2.0
// Pipeline: the keys under `finetune:`. Off unless `enabled: true`.

public import Diagnostics

/// Training against the quantized network. The defaults of what is not set belong to its recipe:
/// `auto` (8 bits, a converged network) or `article` (the reference article's numbers).
public struct FinetuneRecipe: Sendable {
  /// What the project sets, as the JSON that the stage reads.
  public var settings: SettingsValue
  /// The samples to train on; nil: the calibration samples.
  public var data: SampleSource?
  /// Whether the float network is trained alike beside it, to see what training alone gains.
  public var hasControl = false
  /// The user's own training, in place of ours.
  public var external: ExternalTraining?
}

/// A command that trains, in place of our own training.
public struct ExternalTraining: Sendable, Equatable {
  /// For the shell; it finds its files in `QUENCH_MODEL`, `QUENCH_TEACHER`, `QUENCH_CONFIG`,
  /// `QUENCH_SCALES`, `QUENCH_SAMPLES`, `QUENCH_PREPROCESS`, writes an ONNX model to
  /// `QUENCH_OUTPUT` and may change the copy of the scales in `QUENCH_TUNED_SCALES`.
  public var command: String
  /// Files that the command reads beside those: a change of one trains anew.
  public var inputs: [String]
  /// Where each of them stands in quench.yaml, for messages.
  public var inputPlaces: [Place]
}

extension FinetuneRecipe {
  /// Share of the samples that judge, as the stage takes it.
  var heldBack: Double {
    guard case .object(let keys) = settings, case .number(let share)? = keys["heldBack"] else {
      return 0.15
    }
    return share
  }

  /// The keys that an external command leaves to us: how its result is judged.
  private static let judging: Set<String> = ["heldBack", "loss", "temperature", "labelShare"]

  /// The stage's name of each key that is passed on, and how it is checked.
  private static let numbers: [String: ClosedRange<Double>] = [
    "learningRate": 0...10, "scaleLearningRate": 0...10, "unfreezeScalesAt": 0...1,
    "freezeWeightsAt": 0...1, "weightDecay": 0...1, "clipNorm": 0...1_000_000,
    "temperature": 0.01...100,
    "labelShare": 0...1, "heldBack": 0.001...0.9, "memoryLimit": 0.001...1_000_000,
  ]
  private static let integers: [String: ClosedRange<Int>] = [
    "epochs": 1...100_000, "batch": 1...65_536, "warmUpSteps": 0...100_000_000,
    "seed": 0...Int.max, "patience": 0...100_000,
  ]
  private static let words: [String: [String]] = [
    "recipe": ["auto", "article"], "optimizer": ["sgd", "adamW"],
    "loss": ["crossEntropy", "distillation", "both"],
    "schedule": ["constant", "step", "cosine", "constantThenCosine"],
  ]

  /// The recipe; nil when fine-tuning is off. Keys are checked all the same.
  static func decode(_ value: YAMLValue?) throws(QuenchError) -> FinetuneRecipe? {
    guard let value else { return nil }
    let plain = [String](numbers.keys) + integers.keys + words.keys
    let keys = try value.members(
      keys: plain + ["enabled", "data", "augment", "control", "external"])
    var settings: [String: SettingsValue] = [:]
    for (name, range) in numbers {
      if let number = keys[name] { settings[name] = .number(try number.number(range)) }
    }
    for (name, range) in integers {
      if let number = keys[name] { settings[name] = .integer(try number.integer(range)) }
    }
    for (name, choices) in words {
      if let word = keys[name] { settings[name] = .string(try word.word(choices)) }
    }
    if let augment = keys["augment"] {
      let parts = try augment.members(keys: ["flip", "padding"])
      if let flip = parts["flip"] { settings["flip"] = .bool(try flip.bool()) }
      if let padding = parts["padding"] {
        settings["padding"] = .integer(try padding.integer(0...4096))
      }
    }
    let data = try keys["data"].map { data throws(QuenchError) in try SampleSource(data) }
    let hasControl = try keys["control"]?.bool() ?? false
    let external = try keys["external"].map(ExternalTraining.init)
    if external != nil,
      let odd = (plain + ["augment", "control"]).sorted().first(where: {
        keys[$0] != nil && !judging.contains($0)
      })
    {
      throw (keys[odd] ?? value).error(
        "\"\(odd)\" is for our own training; an external command has settings of its own",
        try: "remove \"\(odd)\", or \"external\"")
    }
    if hasControl, let control = keys["control"] {
      let words = [try keys["loss"]?.string(), try keys["recipe"]?.string()]
      if words[0] == "distillation" || (words[0] == nil && words[1] != "article") {
        throw control.error(
          "the control would follow itself: distillation compares with the float network",
          try: "loss: crossEntropy or loss: both, with labels in the training data")
      }
    }
    guard try keys["enabled"]?.bool() ?? false else { return nil }
    return FinetuneRecipe(
      settings: .object(settings), data: data, hasControl: hasControl, external: external)
  }
}

extension ExternalTraining {
  init(_ value: YAMLValue) throws(QuenchError) {
    let keys = try value.members(keys: ["command", "inputs"])
    guard let command = keys["command"] else {
      throw value.error("\"\(value.path).command\" is missing")
    }
    self.command = try command.string()
    guard !self.command.isEmpty, !self.command.contains(where: \.isNewline) else {
      throw command.error("\"\(command.path)\" must be one line of shell")
    }
    let files = try keys["inputs"]?.elements() ?? []
    inputs = try files.map { value throws(QuenchError) in try value.file() }
    inputPlaces = files.map { $0.place }
  }
}
