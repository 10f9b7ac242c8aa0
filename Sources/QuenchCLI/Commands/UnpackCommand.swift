// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench unpack`.

internal import ArgumentParser
internal import Bundling

struct UnpackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unpack", abstract: "Check a bundle and unpack it into a new directory.")

  @Argument(help: "The bundle.") var bundle: String
  @Argument(help: "A directory that is missing or empty.") var directory: String

  func run() throws {
    let manifest = try BundleReader.unpack(bundle, to: directory)
    Terminal.print("\(directory): \(manifest.summary)")
  }
}
