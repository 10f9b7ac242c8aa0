// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench compdb`.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine
internal import Pipeline

struct CompdbCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compdb", abstract: "Print the commands as a JSON compilation database.")

  @OptionGroup var project: ProjectOptions
  @Option(help: ArgumentHelp("Only commands of this rule; may repeat.", valueName: "name"))
  var rule: [String] = []
  @Flag(help: "Write the content of response files in place of their names.") var expand = false
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  func run() throws {
    let build = try project.question()
    let edges = try targets.isEmpty ? build.edges() : build.edges(of: targets)
    let directory = Surroundings.currentDirectory
    let entries = edges.filter { rule.isEmpty || rule.contains($0.rule) }.compactMap {
      CompilationCommand($0, directory: directory, expandingResponseFile: expand)
    }
    Terminal.write(1, try ArtifactJSON.encodePlain(entries))
  }
}
