// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench graph`.

internal import ArgumentParser
internal import BuildEngine

struct GraphCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "graph", abstract: "Print the build graph for Graphviz.")

  @OptionGroup var project: ProjectOptions
  @Option(help: "dot.") var format: Format = .dot
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case dot
  }

  func run() throws {
    Terminal.write(1, try project.question().graphDot(targets: targets))
  }
}
