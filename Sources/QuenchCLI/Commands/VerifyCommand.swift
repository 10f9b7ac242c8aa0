// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench verify`.

internal import ArgumentParser
internal import Bundling

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Check a bundle against its own digests.")

  @Argument(help: "The bundle.") var bundle: String

  func run() throws {
    let manifest = try BundleReader.verify(bundle)
    Terminal.print("\(bundle): ok, \(manifest.summary)")
    if manifest.hostBuilt {
      Terminal.warn("the bundle holds host-built models: they run on no device")
    }
  }
}

extension BundleManifest {
  /// For example `12 files, models: net (Ascend310P3)`.
  var summary: String {
    let list = models.map { "\($0.name) (\($0.soc))" }.joined(separator: ", ")
    return "\(files.count) files, models: \(list)"
  }
}
