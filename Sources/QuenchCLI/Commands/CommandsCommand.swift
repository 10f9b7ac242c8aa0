// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench commands`.

internal import ArgumentParser
internal import BuildEngine

struct CommandsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "commands", abstract: "List the commands that make targets, in a possible order.")

  @OptionGroup var project: ProjectOptions
  @Flag(help: "Only the commands that make the targets themselves.") var single = false
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  func run() throws {
    let edges = try project.question().edges(of: targets, onlyTheirs: single)
    for edge in edges where !edge.isPhony { Terminal.print(edge.command) }
  }
}
