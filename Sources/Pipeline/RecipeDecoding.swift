// SPDX-License-Identifier: Apache-2.0
// Pipeline: quench.yaml checked, key by key, before anything runs.

internal import Artifacts
public import Diagnostics
internal import Yams

extension Recipe {
  /// The version of `quench.yaml` that this code reads.
  static let version = 1

  /// Reads and checks `quench.yaml`.
  ///
  /// - Throws: `.noInput` when it is not there; `.data` with line and column for anything that it
  ///   may not say.
  public static func read(_ path: String) throws(QuenchError) -> Recipe {
    var bytes = try FileContent.read(path)
    // Some editors begin a file with a byte order mark.
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
    return try decode(String(decoding: bytes, as: UTF8.self), path: path)
  }

  /// Checks the text of a `quench.yaml`; `path` is for messages.
  public static func decode(_ text: String, path: String) throws(QuenchError) -> Recipe {
    let source = YAMLSource(path: path, text: text)
    let root: Node?
    do {
      root = try Yams.compose(yaml: text)
    } catch let error as YamlError {
      throw syntaxError(error, source)
    } catch {
      throw QuenchError(.data, "malformed YAML: \(error)", at: .file(path), because: error)
    }
    guard let root else {
      throw QuenchError(.data, "the file is empty", at: .file(path), try: "quench init")
    }
    return try Recipe(YAMLValue(node: root, path: "", source: source))
  }

  private static func syntaxError(_ error: YamlError, _ source: YAMLSource) -> QuenchError {
    switch error {
    case .duplicatedKeysInMapping(let duplicates, let context):
      let key = duplicates.min() ?? ""
      return QuenchError(
        .data, "the key \"\(key)\" stands twice in one mapping",
        at: source.place(ofSecond: key, from: context.mark))
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      return QuenchError(
        .data, "malformed YAML: \(problem)", at: source.place(of: mark), because: error)
    default:
      return QuenchError(.data, "malformed YAML: \(error)", at: .file(source.path), because: error)
    }
  }

  init(_ root: YAMLValue) throws(QuenchError) {
    let top = try root.members(keys: ["quench", "out", "defaults", "models", "bundles"])
    guard let version = top["quench"] else {
      throw root.error("the first key must be \"quench: \(Recipe.version)\"")
    }
    guard try version.string() == "\(Recipe.version)" else {
      throw version.error(
        "version \(try version.string()) of quench.yaml is not known; this quench reads version "
          + "\(Recipe.version)")
    }
    out = try top["out"].map(Recipe.outputDirectory) ?? "build"
    guard let models = top["models"] else {
      throw root.error(
        "\"models\" is missing", try: "quench init --model net.onnx --images photos/")
    }
    let defaults = try top["defaults"].map { value throws(QuenchError) in
      _ = try value.members(keys: nil)
      return try value.expanded()
    }
    self.models = []
    for (name, value) in try models.members(keys: nil).sorted(by: { $0.key < $1.key }) {
      guard Recipe.isPlainName(name) else {
        throw value.error(
          "the model name \"\(name)\" becomes a folder: only letters, digits, \".\", \"_\", \"-\"")
      }
      let merged = YAMLValue(
        node: YAMLValue.merged(defaults, under: try value.expanded()), path: value.path,
        source: value.source)
      self.models.append(try ModelRecipe(name: name, merged))
    }
    guard !self.models.isEmpty else { throw models.error("no model is listed") }

    bundles = []
    let names = self.models.map(\.name)
    for (name, value) in try top["bundles"]?.members(keys: nil).sorted(by: { $0.key < $1.key })
      ?? []
    {
      let bundle = try BundleRecipe(name: name, value, models: names)
      guard !names.contains(name), !names.contains("\(name).tar.zst") else {
        throw value.error("a model is called like the bundle \"\(name)\"; give one another name")
      }
      guard !bundle.models.isEmpty || !bundle.include.isEmpty else {
        throw value.error("the bundle \"\(name)\" would be empty")
      }
      bundles.append(bundle)
    }
  }

  /// Nothing outside the project is ever written, nor into quench's own folder.
  private static func outputDirectory(_ value: YAMLValue) throws(QuenchError) -> String {
    let path = try value.file()
    let parts = path.split(separator: "/")
    guard !path.hasPrefix("/"), !parts.isEmpty,
      parts.allSatisfy({ $0 != ".." && $0 != "." }), parts[0] != Layout.state
    else {
      throw value.error("\"out\" must be a folder inside the project, not \"\(path)\"")
    }
    return parts.joined(separator: "/")
  }

  static func isPlainName(_ name: String) -> Bool {
    !name.isEmpty && name.first != "." && name.first != "-"
      && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
  }
}

extension ModelRecipe {
  init(name: String, _ value: YAMLValue) throws(QuenchError) {
    let keys = try value.members(keys: [
      "model", "inputs", "data", "preprocess", "target", "calibrate", "repair", "precision",
      "finetune", "overrides", "evaluate",
    ])
    self.name = name
    guard let model = keys["model"] else { throw value.error("\"\(value.path).model\" is missing") }
    self.model = try model.file()
    inputs = try keys["inputs"].map(ModelRecipe.shapes) ?? []

    guard let data = keys["data"] else { throw value.error("\"\(value.path).data\" is missing") }
    let sources = try data.members(keys: ["calibration", "coverage", "evaluation", "onCorrupt"])
    guard let calibration = sources["calibration"] else {
      throw data.error("\"\(data.path).calibration\" is missing")
    }
    self.calibration = try SampleSource(calibration)
    coverage = try sources["coverage"].map { value throws(QuenchError) in try SampleSource(value) }
    evaluation = try sources["evaluation"].map { value throws(QuenchError) in
      try SampleSource(value)
    }
    let policy = try sources["onCorrupt"]?.word(CorruptPolicy.allCases.map(\.rawValue)) ?? "fail"
    onCorrupt = CorruptPolicy(rawValue: policy) ?? .fail

    preprocess = try keys["preprocess"]?.settings() ?? .array([])
    target = try TargetRecipe(keys["target"], of: value)
    calibrate = try CalibrateRecipe(keys["calibrate"])
    repair = try RepairRecipe(keys["repair"])
    precision = try PrecisionRecipe(keys["precision"], overrides: keys["overrides"])
    evaluate = try EvaluateRecipe(keys["evaluate"])
    finetune = try FinetuneRecipe.decode(keys["finetune"])
    places = [:]
    for (key, value) in keys { places[key] = value.place }
  }

  private static func shapes(_ value: YAMLValue) throws(QuenchError) -> [InputShape] {
    var shapes: [InputShape] = []
    for (name, shape) in try value.members(keys: nil).sorted(by: { $0.key < $1.key }) {
      let extents = try shape.elements().map { extent throws(QuenchError) in
        try extent.integer(1...1_000_000)
      }
      guard extents.first == 1 else {
        throw shape.error(
          "the batch size of \"\(name)\" must be 1: observing and evaluating run image by image")
      }
      shapes.append(InputShape(name: name, shape: extents))
    }
    return shapes
  }
}

extension SampleSource {
  init(_ value: YAMLValue) throws(QuenchError) {
    key = value.path
    place = value.place
    let keys = try value.members(keys: [
      "images", "list", "where", "root", "arrays", "labels", "labelOffset", "limit",
    ])
    list = try keys["list"]?.file()
    arrays = try keys["arrays"]?.file()
    if arrays != nil {
      imagesKey = try keys["images"]?.string()
    } else {
      images = try keys["images"]?.file()
    }
    guard [images, list, arrays].compactMap({ $0 }).count == 1 else {
      throw value.error("\"\(value.path)\" needs exactly one of images, list and arrays")
    }
    if let table = keys["where"] {
      guard list != nil else { throw table.error("\"where\" filters a list; there is none") }
      for (column, value) in try table.members(keys: nil) { filter[column] = try value.string() }
    }
    root = try keys["root"]?.file()
    labels = try keys["labels"]?.file()
    labelOffset = try keys["labelOffset"]?.integer(-1_000_000...1_000_000) ?? 0
    limit = try keys["limit"]?.integer(1...100_000_000)
    for (key, value) in keys { places[key] = value.place }
  }
}

extension TargetRecipe {
  init(_ value: YAMLValue?, of model: YAMLValue) throws(QuenchError) {
    let keys = try value?.members(keys: ["soc", "compiler", "profile"]) ?? [:]
    guard let soc = keys["soc"] else {
      throw (value ?? model).error(
        "\"\(model.path).target.soc\" is missing: a model is compiled for one chip",
        try: "target: {soc: Ascend310P3}, or whatever npu-smi info shows on the device")
    }
    self.soc = try soc.string()
    compiler = try keys["compiler"]?.word(["auto", "atc", "host"]) ?? "auto"
    profile = try keys["profile"]?.word(["cann", "article"]) ?? "cann"
  }
}

extension CalibrateRecipe {
  init(_ value: YAMLValue?) throws(QuenchError) {
    let keys = try value?.members(keys: ["method", "percentile", "activations", "weights"]) ?? [:]
    method = try keys["method"]?.word(["mse", "minmax", "kl", "percentile"]) ?? "mse"
    if let percentile = keys["percentile"] {
      guard case let share = try percentile.number(0...100), share > 50 else {
        throw percentile.error("\"percentile\" is in percent, above 50 and at most 100, e.g. 99.99")
      }
    }
    percentile = try keys["percentile"]?.string() ?? "99.99"
    activations = try keys["activations"]?.word(["asymmetric", "symmetric"]) ?? "asymmetric"
    weights = try keys["weights"]?.word(["target", "perChannel", "perTensor"]) ?? "target"
  }
}

extension RepairRecipe {
  init(_ value: YAMLValue?) throws(QuenchError) {
    let keys = try value?.members(keys: ["biasCorrection", "equalization"]) ?? [:]
    biasCorrection = try keys["biasCorrection"]?.bool() ?? true
    if let equalization = keys["equalization"], try equalization.word(["auto", "false"]) != "false"
    {
      throw equalization.error(
        "equalization is not part of this version of quench", try: "equalization: false")
    }
  }
}

extension PrecisionRecipe {
  init(_ value: YAMLValue?, overrides: YAMLValue?) throws(QuenchError) {
    let keys = try value?.members(keys: ["sensitivity", "keepFP16", "maxFP16Share"]) ?? [:]
    sensitivity = try keys["sensitivity"]?.number(0...1_000_000) ?? 0.001
    keepFP16 = try keys["keepFP16"]?.strings() ?? []
    maxFP16Share = try keys["maxFP16Share"]?.number(0...1) ?? 0.04
    for (_, layer) in try overrides?.members(keys: nil) ?? [:] {
      let keys = try layer.members(keys: ["precision", "scale", "zeroPoint"])
      _ = try keys["precision"]?.word(["int8", "fp16"])
      _ = try keys["scale"]?.number(1e-30...1e30)
      _ = try keys["zeroPoint"]?.integer(-128...127)
    }
    self.overrides = try overrides?.settings() ?? .object([:])
  }
}

extension EvaluateRecipe {
  init(_ value: YAMLValue?) throws(QuenchError) {
    let keys = try value?.members(keys: ["metric", "maxDrop"]) ?? [:]
    metric = try keys["metric"]?.word(["top1", "top5"]) ?? "top1"
    maxDrop = try keys["maxDrop"]?.number(0...100)
  }
}

extension BundleRecipe {
  init(name: String, _ value: YAMLValue, models known: [String]) throws(QuenchError) {
    let keys = try value.members(keys: ["models", "format", "layout", "include", "allowHostModels"])
    guard Recipe.isPlainName(name) else {
      throw value.error("the bundle name \"\(name)\" becomes a file name")
    }
    self.name = name
    models = try keys["models"]?.strings() ?? known
    for model in models where !known.contains(model) {
      throw (keys["models"] ?? value).error(
        "the bundle names the model \"\(model)\", which is not listed under models"
          + NearestName.hint(model, among: known))
    }
    _ = try keys["format"]?.word(["tar.zst"])
    layout = try keys["layout"]?.word(["plain", "rawfile"]) ?? "plain"
    let files = try keys["include"]?.elements() ?? []
    include = try files.map { value throws(QuenchError) in try value.file() }
    includePlaces = files.map { $0.place }
    allowHostModels = try keys["allowHostModels"]?.bool() ?? false
  }
}
