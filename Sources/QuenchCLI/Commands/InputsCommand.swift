// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench inputs`.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine

struct InputsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inputs",
    abstract: "List all files that targets need, each after those that it is made from.")

  @OptionGroup var project: ProjectOptions
  @Flag(help: "Only files that no edge makes.") var sources = false
  @Flag(help: "Machine-readable output.") var json = false
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  func run() throws {
    let build = try project.question()
    var files = try build.inputs(of: targets)
    if sources {
      let known = Set(build.sourceFiles)
      files = files.filter { known.contains($0) }
    }
    if json {
      Terminal.write(1, try ArtifactJSON.encodePlain(files))
    } else {
      for file in files { Terminal.print(file) }
    }
  }
}
