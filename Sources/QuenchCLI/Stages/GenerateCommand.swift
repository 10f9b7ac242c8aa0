// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench generate`.

internal import ArgumentParser
internal import Pipeline

struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Read quench.yaml and write .quench/build.ninja.")

  func run() throws {
    try Generator(Surroundings.ofThisMachine()).run()
  }
}
