// SPDX-License-Identifier: Apache-2.0
// Pipeline: quench.yaml in; the manifest, sample lists and settings files out.

internal import Artifacts
public import Diagnostics
internal import Glibc

/// The samples of a source, and what their list depended on.
public struct SampleListing: Sendable {
  /// One sample.
  public struct Entry: Sendable {
    /// The sample's line in `.samples` files, without its label.
    public var line: String
    /// Its class, if it has one.
    public var label: Int?
    /// The file that holds its data.
    public var file: String
    /// A number in 0..<1 that its name alone decides; below the share that training holds back, it
    /// judges.
    public var position: Double

    /// Makes an entry from its parts.
    public init(line: String, label: Int?, file: String, position: Double) {
      self.position = position
      self.line = line
      self.label = label
      self.file = file
    }
  }

  /// The samples in the source's order.
  public var entries: [Entry]
  /// Directories and tables that were read to make the list.
  public var dependencies: [String]

  /// Makes a listing from its parts.
  public init(entries: [Entry], dependencies: [String]) {
    self.entries = entries
    self.dependencies = dependencies
  }
}

/// What the pipeline needs to know but, standing on the build side, cannot find out itself.
public struct Surroundings: Sendable {
  /// Lists a source's samples.
  public var list: @Sendable (SampleSource) throws(QuenchError) -> SampleListing
  /// Refuses preprocessing steps that do not exist; `path` is for messages.
  public var check: @Sendable (ModelRecipe) throws(QuenchError) -> Void
  /// Files of tools that stages use (the ONNX Runtime library); their content is in the key.
  public var runtimeFiles: [String]
  /// Files that identify the compiler, by the recipe's choice of one.
  public var compilerFiles: @Sendable (_ compiler: String) -> [String]

  /// Makes surroundings from their parts.
  public init(
    list: @escaping @Sendable (SampleSource) throws(QuenchError) -> SampleListing,
    check: @escaping @Sendable (ModelRecipe) throws(QuenchError) -> Void,
    runtimeFiles: [String], compilerFiles: @escaping @Sendable (String) -> [String]
  ) {
    self.list = list
    self.check = check
    self.runtimeFiles = runtimeFiles
    self.compilerFiles = compilerFiles
  }
}

extension Surroundings {
  /// Everything that decides what a manifest says beside quench.yaml and the listings, as text.
  ///
  /// It is written to `Layout.surroundings` before each build, so that a newer quench, another
  /// compiler or library, or rules of the user's own make the manifest stale.
  public var description: String {
    var lines = ["generator \(Generator.version)"]
    lines += StageVersion.all.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    lines.append("rules \(RuleFiles.fingerprint)")
    lines.append(RuleFiles.areOwn ? "rules of the project" : "rules of quench")
    lines += runtimeFiles.map { "runtime \($0)" }
    lines += compilerFiles("auto").map { "compiler \($0)" }
    return lines.joined(separator: "\n") + "\n"
  }
}

/// Turns a recipe into a manifest (design decision: directories are inputs of this step alone).
public struct Generator: Sendable {
  /// How every manifest of ours begins.
  public static let firstLine = "# Written by quench from quench.yaml: changes here are lost."
  /// Raised when the same recipe gives another manifest.
  static let version = 1

  let surroundings: Surroundings

  /// A generator that asks `surroundings` what it cannot know.
  public init(_ surroundings: Surroundings) {
    self.surroundings = surroundings
  }

  /// Writes everything that changed and leaves the rest untouched.
  ///
  /// - Throws: whatever is wrong with the recipe or its inputs; then nothing was written.
  public func run(recipe path: String = Layout.recipe) throws(QuenchError) {
    let (text, plan) = try generate(path, isExport: false)
    var whole = plan
    whole.add(Layout.manifest, Array(text.utf8))
    let depfile = try DepFileText.rule(Layout.manifest, dependsOn: plan.dependencies)
    whole.add(Layout.manifest + ".d", Array(depfile.utf8))
    try whole.write()
  }

  /// Writes the lists and settings, and returns a manifest without includes for another tool.
  public func export(recipe path: String = Layout.recipe) throws(QuenchError) -> String {
    let (text, plan) = try generate(path, isExport: true)
    try plan.write()
    return text
  }

  private func generate(
    _ path: String, isExport: Bool
  ) throws(QuenchError) -> (manifest: String, plan: Plan) {
    let recipe = try Recipe.read(path)
    var plan = Plan()
    try addRules(to: &plan)
    plan.dependencies.append(path)
    for model in recipe.models { try surroundings.check(model) }

    var edges = RecipeEdges(
      recipe: recipe, rules: isExport ? .inlined(plan.ruleTexts) : .included(plan.rules))
    var samplesOfModel: [String: ModelSamples] = [:]
    for model in recipe.models {
      let layout = Layout(out: recipe.out, model: model)
      let inputs = try samples(of: model, layout, &plan)
      samplesOfModel[model.name] = inputs
      try edges.add(
        model, layout, inputs, runtime: surroundings.runtimeFiles,
        compiler: surroundings.compilerFiles(model.target.compiler))
      plan.add(layout.preprocess, try ArtifactJSON.encodePlain(model.preprocess))
      plan.add(layout.precision, try ArtifactJSON.encodePlain(PrecisionSettings(model)))
      if let finetune = model.finetune {
        plan.add(layout.tuningSettings, try ArtifactJSON.encodePlain(finetune.settings))
      }
    }
    for bundle in recipe.bundles {
      let settings = BundleSettings(
        bundle, recipe, samples: samplesOfModel, runtime: surroundings.runtimeFiles)
      plan.add(Layout.bundleSettings(bundle.name), try ArtifactJSON.encodePlain(settings))
      try edges.add(bundle, settings)
    }
    try edges.finish()
    return (edges.text, plan)
  }

  /// Everything that will be written, collected first, so that an error leaves all files alone.
  private struct Plan {
    var files: [(path: String, content: [UInt8])] = []
    var dependencies: [String] = []
    var stale: [String] = []
    /// The directory that the manifest includes its rules from.
    var rules = Layout.unpackedRules
    /// The rules themselves, in the order of inclusion.
    var ruleTexts: [[UInt8]] = []

    mutating func add(_ path: String, _ content: [UInt8]) { files.append((path, content)) }

    func write() throws(QuenchError) {
      for (path, content) in files {
        if let slash = path.lastIndex(of: "/") {
          try FileContent.makeDirectory(String(path[..<slash]))
        }
        try FileContent.replaceIfChanged(path, with: content)
      }
      for path in stale { unlink(path) }
    }
  }
}

// MARK: - Parts

extension Generator {
  private func addRules(to plan: inout Plan) throws(QuenchError) {
    if RuleFiles.areOwn {
      plan.rules = Layout.ownRules
      for (name, _) in RuleFiles.all {
        plan.ruleTexts.append(try FileContent.read("\(Layout.ownRules)/\(name)"))
      }
      return
    }
    for (name, content) in RuleFiles.all {
      plan.ruleTexts.append(content)
      plan.add("\(Layout.unpackedRules)/\(name)", content)
    }
  }

  private func samples(
    of model: ModelRecipe, _ layout: Layout, _ plan: inout Plan
  ) throws(QuenchError) -> ModelSamples {
    let calibration = try list(model.calibration, &plan)
    let evaluation = try model.evaluation.map { source throws(QuenchError) in
      try list(source, &plan)
    }
    let coverage = try model.coverage.map { source throws(QuenchError) in try list(source, &plan) }

    let previous = Generator.shardFiles(in: layout.shards)
    let shards = Shards.assign(calibration.entries.map(\.line), previous: previous)
    for number in shards.samples.keys.sorted() {
      plan.add(layout.shard(number), SampleListing.text(shards.samples[number] ?? []))
    }
    plan.stale += previous.keys.filter { shards.samples[$0] == nil }.map(layout.shard)

    // The first images, as many as one shard: enough to tell sensitive layers from others.
    let assess = calibration.unlabelled().prefix(Shards.largest)
    plan.add(layout.assessSamples, assess.text)
    let repair = calibration.unlabelled().prefix(RepairRecipe.largestSample)
    if model.repair.biasCorrection { plan.add(layout.repairSamples, repair.text) }
    let tuning = try model.finetune.map { finetune throws(QuenchError) in
      try finetune.data.map { source throws(QuenchError) in try list(source, &plan) }
        ?? calibration
    }
    if let tuning { plan.add(layout.tuningSamples, tuning.text) }
    if let tuning, let finetune = model.finetune, finetune.external != nil {
      plan.add(layout.externalSamples, tuning.training(heldBack: finetune.heldBack).text)
    }
    // Without images to judge by, the calibration images serve; their labels are not used, since
    // accuracy on images that set the ranges would flatter.
    let judged = evaluation ?? calibration.unlabelled()
    plan.add(layout.evaluationSamples, judged.text)
    let covered = coverage ?? evaluation
    if let covered { plan.add(layout.coverageSamples, covered.unlabelled().text) }
    return ModelSamples(
      shards: shards, calibration: calibration, assess: assess, repair: repair,
      tuning: tuning, evaluation: judged, coverage: covered)
  }

  private func list(_ source: SampleSource, _ plan: inout Plan) throws(QuenchError) -> SampleListing
  {
    let listing = try surroundings.list(source)
    plan.dependencies += listing.dependencies
    guard !listing.entries.isEmpty else {
      throw QuenchError(
        .data, "no sample was found for \"\(source.key)\"", at: source.place,
        try: "put JPEG or PNG files there, or change \(source.key) in quench.yaml")
    }
    return listing
  }

  /// The shards of earlier builds, as far as their files are readable.
  private static func shardFiles(in directory: String) -> [Int: [String]] {
    var shards: [Int: [String]] = [:]
    guard let handle = opendir(directory) else { return shards }
    defer { closedir(handle) }
    while let entry = readdir(handle) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard name.hasSuffix(".samples"), let number = Int(name.dropLast(8)), number > 0 else {
        continue
      }
      // An unreadable shard is dealt out anew: the cut influences speed only.
      guard let bytes = try? FileContent.read("\(directory)/\(name)") else { continue }
      shards[number] = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(
        String.init)
    }
    return shards
  }
}

extension SampleListing {
  func prefix(_ count: Int) -> SampleListing {
    SampleListing(entries: Array(entries.prefix(count)), dependencies: dependencies)
  }

  /// Without the samples that judge: at least one does, unless the share is 0.
  func training(heldBack share: Double) -> SampleListing {
    var held = Set(entries.indices.filter { entries[$0].position < share })
    if held.isEmpty, share > 0,
      let first = entries.indices.min(by: { entries[$0].position < entries[$1].position })
    {
      held.insert(first)
    }
    let kept = entries.indices.filter { !held.contains($0) }.map { entries[$0] }
    return SampleListing(entries: kept, dependencies: dependencies)
  }

  /// Ranges do not depend on labels, so lists that feed them carry none.
  func unlabelled() -> SampleListing {
    let bare = entries.map {
      Entry(line: $0.line, label: nil, file: $0.file, position: $0.position)
    }
    return SampleListing(entries: bare, dependencies: dependencies)
  }

  /// The files that hold the samples' data, each once, in order.
  var files: [String] {
    var seen: Set<String> = []
    return entries.map(\.file).filter { seen.insert($0).inserted }
  }

  /// The content of a `.samples` file.
  var text: [UInt8] {
    SampleListing.text(
      entries.map { entry in entry.label.map { "\(entry.line)\t\($0)" } ?? entry.line })
  }

  static func text(_ lines: [String]) -> [UInt8] {
    Array(lines.map { $0 + "\n" }.joined().utf8)
  }
}
