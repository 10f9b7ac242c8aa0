// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench init`.

internal import ArgumentParser
internal import Artifacts
internal import Compilation
internal import Datasets
internal import Diagnostics
internal import Glibc
internal import ONNXModel
internal import Pipeline

struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Write a quench.yaml that runs, with every guess explained.")

  @Option(help: "The FP32 ONNX model.") var model: String
  @Option(help: "A folder of images.") var images: String
  @Option(help: "The chip, e.g. Ascend310P3.") var soc: String = "Ascend310P3"
  @Option(
    help: ArgumentHelp("A fixed shape for an input with open dimensions.", valueName: "name=shape"))
  var input: [String] = []
  @Flag(help: "Replace an existing quench.yaml.") var force = false

  func run() throws {
    if !force, access(Layout.recipe, F_OK) == 0 {
      throw QuenchError(
        .usage, "there is a quench.yaml here already", at: .file(Layout.recipe),
        try: "quench init --force")
    }
    _ = try SoCTable.soc(named: soc)
    let network = try Model.read(model)
    let listing = try DatasetListing.samples(of: DataSource(images: images))
    guard !listing.samples.isEmpty else {
      throw QuenchError(.data, "there are no JPEG or PNG files in \"\(images)\"", at: .file(images))
    }
    let guess = try RecipeGuess(
      model: model, network: network, images: images, imageCount: listing.samples.count,
      imageSize: try InitCommand.commonSize(listing.samples), soc: soc,
      hasATC: Toolchain.find(environment: Environment.all) != nil,
      shapes: try InputShapes.parse(input))
    if access(Layout.recipe, F_OK) == 0 {
      guard rename(Layout.recipe, Layout.recipe + ".old") == 0 else {
        throw QuenchError(.work, "cannot keep the old file", at: .file(Layout.recipe))
      }
      Terminal.note("quench: the old file is kept as \(Layout.recipe).old")
    }
    try FileContent.replace(Layout.recipe, with: Array(guess.text.utf8))
    Terminal.print("wrote quench.yaml: read its comments, then run quench")
  }
}

extension InitCommand {
  /// Height and width of the images, if the first few agree.
  private static func commonSize(_ samples: [Sample]) throws(QuenchError) -> [Int]? {
    var size: [Int]?
    for sample in samples.prefix(8) {
      let image = try ImageDecoding.read(sample.path)
      if let size, size != [image.height, image.width] { return nil }
      size = [image.height, image.width]
    }
    return size
  }
}

/// `--input name=1x3x224x224`, as several verbs take it.
enum InputShapes {
  static func parse(_ texts: [String]) throws(QuenchError) -> [String: [Int]] {
    var shapes: [String: [Int]] = [:]
    for text in texts {
      // The shape is taken from the right: names may hold "=".
      guard let equals = text.lastIndex(of: "=") else { throw malformed(text) }
      let extents = text[text.index(after: equals)...].split(
        separator: "x", omittingEmptySubsequences: false
      ).map { Int($0) }
      guard !extents.isEmpty, extents.allSatisfy({ ($0 ?? 0) > 0 }) else { throw malformed(text) }
      shapes[String(text[..<equals])] = extents.compactMap { $0 }
    }
    return shapes
  }

  private static func malformed(_ text: String) -> QuenchError {
    QuenchError(
      .usage, "\"\(text)\" is no input shape", at: .option("--input"),
      try: "--input input=1x3x224x224")
  }
}
