// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench doctor`.

internal import ArgumentParser
internal import Artifacts
internal import Compilation
internal import Diagnostics
internal import ONNXRuntime

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Say what quench finds on this machine, and what is missing.")

  func run() throws {
    var missing = false
    do throws(QuenchError) {
      let library = try RuntimeLibrary.load()
      Terminal.print("ONNX Runtime  \(library.version), \(library.path)")
    } catch {
      missing = true
      Terminal.print("ONNX Runtime  missing: observe, assess and evaluate will fail\n\(error)")
    }
    if let toolchain = Toolchain.find(environment: Environment.all) {
      let version = toolchain.version ?? "version unknown"
      Terminal.print("atc           \(version), \(toolchain.path)")
    } else {
      Terminal.print("atc           not found: models will be host-built (they run on no device)")
    }
    Terminal.print(
      SHA256.hasLibrary
        ? "libcrypto     found" : "libcrypto     not found: digests of large files take longer")
    if missing {
      throw QuenchError(
        .unavailable, "something that quench needs is missing", try: "bash Tests/setup.sh")
    }
  }
}
