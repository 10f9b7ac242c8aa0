// SPDX-License-Identifier: Apache-2.0
// Pipeline: which stage reads and writes what, as build statements. The rules are in BuildRules.

internal import Diagnostics
internal import Glibc

/// The samples of one model, cut and listed.
struct ModelSamples {
  var shards: Shards
  var calibration: SampleListing
  var assess: SampleListing
  var repair: SampleListing
  var tuning: SampleListing?
  var evaluation: SampleListing
  var coverage: SampleListing?
}

/// The manifest under construction.
struct RecipeEdges {
  var manifest = ManifestText()
  private var defaults: [String] = []
  private var aliases: Set<String> = []
  private let out: String

  var text: String { manifest.text }

  /// Where the rules stand.
  enum Rules {
    /// In files of this directory.
    case included(String)
    /// In the manifest itself, which then does not keep itself up to date.
    case inlined([[UInt8]])
  }

  init(recipe: Recipe, rules: Rules) {
    out = recipe.out
    manifest.line(Generator.firstLine)
    manifest.line("ninja_required_version = 1.8")
    for (verb, version) in StageVersion.all.sorted(by: { $0.key < $1.key }) {
      manifest.variable("\(verb)_stage", "\(version)")
    }
    switch rules {
    case .included(let directory):
      manifest.variable("rules", directory)
      manifest.line("include $rules/quench.ninja")
      addGenerator(directory)
    case .inlined(let texts):
      for line in texts.map({ String(decoding: $0, as: UTF8.self) }).joined(separator: "\n")
        .split(separator: "\n", omittingEmptySubsequences: false)
      where !line.hasPrefix("include ") {
        manifest.line(String(line))
      }
    }
    manifest.blank()
  }

  /// The edge that makes the manifest itself. It has no description in BuildRules: without it there
  /// would be no rules to read.
  private mutating func addGenerator(_ rules: String) {
    manifest.blank()
    manifest.line("rule generate")
    manifest.line("  command = quench generate")
    manifest.line("  depfile = $out.d")
    manifest.line("  description = read quench.yaml")
    // Rules that the generator unpacked itself are no inputs of it; a user's own are.
    let files = rules == Layout.ownRules ? RuleFiles.all.map { "\(rules)/\($0.name)" } : []
    let inputs = ([Layout.recipe, Layout.surroundings] + files).joined(separator: " ")
    manifest.line("build \(Layout.manifest): generate \(inputs)")
  }

  mutating func add(
    _ model: ModelRecipe, _ files: Layout, _ samples: ModelSamples, runtime: [String],
    compiler: [String]
  ) throws(QuenchError) {
    manifest.comment("Model \(model.name)")
    try observing(model, files, samples, runtime)
    try calibrating(model, files, samples, runtime)
    try producing(model, files, samples, runtime, compiler)
    try judging(model, files, samples, runtime)
    manifest.blank()
  }

  mutating func add(_ bundle: BundleRecipe, _ settings: BundleSettings) throws(QuenchError) {
    let archive = Layout.bundle(bundle.name, out: out)
    var inputs: [String] = []
    for model in settings.models {
      let files = Layout(out: out, model: model.name)
      inputs += model.files.values.sorted() + model.inputs + [files.gate]
      inputs += model.datasets.flatMap(\.files)
    }
    try manifest.build(
      [archive], rule: "pack", inputs: [Layout.bundleSettings(bundle.name)],
      implicit: unique(inputs + bundle.include), variables: [("label", bundle.name)])
    defaults.append(archive)
    try alias(bundle.name, [archive])
  }

  /// Names that people type: a model for its artefacts, a bundle for its archive.
  private mutating func alias(_ name: String, _ targets: [String]) throws(QuenchError) {
    // A file of this name would be taken for what the alias makes.
    guard aliases.insert(name).inserted, name != out, access(name, F_OK) != 0 else { return }
    try manifest.build([name], rule: "phony", inputs: targets)
  }

  mutating func finish() throws(QuenchError) {
    var words: [String] = []
    for path in defaults { words.append(try ManifestText.path(path)) }
    manifest.line("default \(words.joined(separator: " "))")
  }
}

// MARK: - The stages of one model

extension RecipeEdges {
  private mutating func observing(
    _ model: ModelRecipe, _ files: Layout, _ samples: ModelSamples, _ runtime: [String]
  ) throws(QuenchError) {
    let shapes = model.inputs.map { input in
      "--input "
        + ManifestText.shellWord(
          "\(input.name)=\(input.shape.map(String.init).joined(separator: "x"))")
    }
    try manifest.build(
      [files.folded], implicitOutputs: [files.tensors], rule: "fold", inputs: [model.model],
      words: [("tensors", files.tensors)],
      variables: [("input_shapes", shapes.joined(separator: " ")), ("label", model.name)])
    let fileOfLine = Dictionary(
      samples.calibration.entries.map { ($0.line, $0.file) },
      uniquingKeysWith: { first, _ in first })
    for number in samples.shards.samples.keys.sorted() {
      let lines = samples.shards.samples[number] ?? []
      try manifest.build(
        [files.observed(number)], rule: "observe",
        inputs: unique(lines.compactMap { fileOfLine[$0] }),
        implicit: [files.folded, files.tensors, files.preprocess, files.shard(number)] + runtime,
        words: [
          ("network", files.folded), ("tensors", files.tensors), ("preprocess", files.preprocess),
          ("samples", files.shard(number)), ("on_corrupt", model.onCorrupt.rawValue),
        ],
        variables: [
          ("progress", "1"),
          (
            "label",
            "\(model.name), shard \(number), \(lines.count) image\(lines.count == 1 ? "" : "s")"
          ),
        ])
    }
    try manifest.build(
      [files.merged], rule: "merge",
      inputs: samples.shards.samples.keys.sorted().map(files.observed),
      variables: [("label", model.name)])
  }

  private mutating func calibrating(
    _ model: ModelRecipe, _ files: Layout, _ samples: ModelSamples, _ runtime: [String]
  ) throws(QuenchError) {
    let calibrate = model.calibrate
    try manifest.build(
      [files.scales], rule: "calibrate", inputs: [files.merged], implicit: [files.folded],
      words: [
        ("network", files.folded), ("method", calibrate.method),
        ("percentile", calibrate.percentile), ("activations", calibrate.activations),
        ("weights", calibrate.weights),
      ], variables: [("label", model.name)])
    try manifest.build(
      [files.sensitivity], rule: "assess", inputs: samples.assess.files,
      implicit: [files.folded, files.scales, files.preprocess, files.assessSamples] + runtime,
      words: [
        ("network", files.folded), ("scales", files.scales), ("preprocess", files.preprocess),
        ("samples", files.assessSamples), ("threshold", "\(model.precision.sensitivity)"),
        ("on_corrupt", model.onCorrupt.rawValue),
      ], variables: [("progress", "1"), ("label", model.name)])
    if let coverage = samples.coverage {
      try manifest.build(
        [files.coverage], rule: "coverage", inputs: coverage.files,
        implicit: [files.folded, files.scales, files.preprocess, files.coverageSamples] + runtime,
        words: [
          ("network", files.folded), ("scales", files.scales), ("preprocess", files.preprocess),
          ("samples", files.coverageSamples), ("on_corrupt", model.onCorrupt.rawValue),
        ], variables: [("progress", "1"), ("label", model.name)])
      defaults.append(files.coverage)
    }
    try manifest.build(
      [files.config], rule: "config",
      inputs: [files.folded, files.scales, files.sensitivity, files.precision],
      words: [
        ("network", files.folded), ("scales", files.scales), ("sensitivity", files.sensitivity),
        ("precision", files.precision),
      ], variables: [("keep_edits", "1"), ("label", model.name)])
  }

  private mutating func producing(
    _ model: ModelRecipe, _ files: Layout, _ samples: ModelSamples, _ runtime: [String],
    _ compiler: [String]
  ) throws(QuenchError) {
    var network = files.folded
    if model.repair.biasCorrection {
      network = files.corrected
      try manifest.build(
        [files.corrected], rule: "correct", inputs: samples.repair.files,
        implicit: [
          files.folded, files.scales, files.config, files.preprocess, files.repairSamples,
        ] + runtime,
        words: [
          ("network", files.folded), ("scales", files.scales), ("config", files.config),
          ("preprocess", files.preprocess), ("samples", files.repairSamples),
          ("on_corrupt", model.onCorrupt.rawValue),
        ], variables: [("label", model.name)])
    }
    if let finetune = model.finetune, let tuning = samples.tuning {
      try addTuning(finetune, model, files, tuning, from: network, runtime: runtime)
      try quantize(
        network, files.config, files.scales, files.ptqQDQ, files.ptqDeploy, files.ptqRecord,
        label: "\(model.name) without training")
      network = files.tuned
    }
    try quantize(
      network, files.finalConfig, files.finalScales, files.qdq, files.deploy, files.record,
      label: model.name)
    try manifest.build(
      [files.om], rule: "compile",
      inputs: [files.qdq, files.deploy, files.finalConfig, files.folded],
      implicit: compiler,
      words: [
        ("network", files.folded), ("qdq", files.qdq), ("deploy", files.deploy),
        ("config", files.finalConfig), ("soc", model.target.soc),
        ("compiler", model.target.compiler),
        ("profile", model.target.profile),
      ], variables: [("label", model.name)])
  }

  private mutating func judging(
    _ model: ModelRecipe, _ files: Layout, _ samples: ModelSamples, _ runtime: [String]
  ) throws(QuenchError) {
    if files.isTuned {
      try evaluate(
        files.ptqQDQ, files.ptqQDQ, files.config, files.ptqEvaluation, beside: nil,
        label: "\(model.name) without training", model, files, samples, runtime)
    }
    try evaluate(
      files.om, files.qdq, files.finalConfig, files.evaluation,
      beside: files.isTuned ? files.ptqEvaluation : nil, label: model.name, model, files, samples,
      runtime)
    let hasControl = model.finetune?.hasControl == true
    if hasControl {
      try evaluate(
        files.control.tuned, files.control.tuned, files.control.tunedConfig,
        files.controlEvaluation, beside: nil, label: "\(model.name), the float control", model,
        files, samples, runtime)
    }
    try manifest.build(
      [files.gate], rule: "gate", inputs: [files.evaluation],
      variables: [
        ("limit", model.evaluate.maxDrop.map { "--max-drop \($0)" } ?? ""), ("label", model.name),
      ])
    var pages = [files.evaluation, files.finalScales, files.sensitivity, files.finalConfig]
    if samples.coverage != nil { pages.append(files.coverage) }
    var tuning = files.isTuned ? [("--tuning", files.tuningReport)] : []
    if hasControl {
      tuning.append(("--control", files.control.tuningReport))
      tuning.append(("--control-evaluation", files.controlEvaluation))
    }
    let options = tuning.map { "\($0) \(ManifestText.shellWord($1))" }.joined(separator: " ")
    try manifest.build(
      [files.report], rule: "report", inputs: pages, implicit: tuning.map(\.1),
      variables: (options.isEmpty ? [] : [("tuning", options)]) + [("label", model.name)])
    defaults += [files.gate, files.report]
    try alias(model.name, [files.om, files.gate, files.report])
  }

  private mutating func evaluate(
    _ candidate: String, _ qdq: String, _ config: String, _ output: String, beside ptq: String?,
    label: String, _ model: ModelRecipe, _ files: Layout, _ samples: ModelSamples,
    _ runtime: [String]
  ) throws(QuenchError) {
    try manifest.build(
      [output], rule: "evaluate", inputs: samples.evaluation.files,
      implicit: unique([
        files.folded, model.model, candidate, qdq, config, files.preprocess,
        files.evaluationSamples,
      ]) + [ptq].compactMap { $0 } + runtime,
      words: [
        ("network", files.folded), ("original", model.model), ("candidate", candidate),
        ("qdq", qdq), ("config", config), ("preprocess", files.preprocess),
        ("samples", files.evaluationSamples), ("metric", model.evaluate.metric),
        ("on_corrupt", model.onCorrupt.rawValue),
      ],
      variables: [
        ("kind", model.evaluation == nil ? "--calibration-samples" : "")
      ] + (ptq.map { [("beside", "--ptq \(ManifestText.shellWord($0))")] } ?? [])
        + [("progress", "1"), ("label", label)])
  }

  private mutating func quantize(
    _ network: String, _ config: String, _ scales: String, _ qdq: String, _ deploy: String,
    _ record: String, label: String
  ) throws(QuenchError) {
    try manifest.build(
      [qdq], implicitOutputs: [deploy, record], rule: "quantize",
      inputs: [network, config, scales],
      words: [
        ("network", network), ("config", config), ("scales", scales), ("deploy", deploy),
        ("record", record),
      ], variables: [("label", label)])
  }

  private func unique(_ paths: [String]) -> [String] {
    var seen: Set<String> = []
    return paths.filter { seen.insert($0).inserted }
  }
}
