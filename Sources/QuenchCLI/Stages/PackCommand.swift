// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench pack`.

internal import ArgumentParser
internal import Artifacts
internal import Bundling
internal import Compilation

struct PackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pack", abstract: "Pack a release bundle, the same bytes from the same inputs.")

  @OptionGroup var stage: StageOptions
  @Argument(help: "The bundle's specification.") var specification: String
  @Option(name: .shortAndLong, help: "The archive.") var output: String

  func run() throws {
    try stage.check("pack")
    var spec = try ArtifactJSON.decodePlain(
      BundleSpec.self, from: try FileContent.read(specification), path: specification)
    for index in spec.models.indices {
      guard let om = spec.models[index].files["om"] else { continue }
      let isHostBuilt = try OMFile.read(om).isHostBuilt
      spec.models[index].hostBuilt = isHostBuilt
      spec.models[index].compiler = isHostBuilt ? "quench's host compiler" : "atc"
    }
    try BundleWriter.pack(spec, to: output)
  }
}
