// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench graph`.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine
internal import Diagnostics
internal import Glibc

struct GraphCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "graph", abstract: "Print the build graph: for Graphviz, as JSON, or drawn.")

  @OptionGroup var project: ProjectOptions
  @Option(help: "dot, json or svg (drawn by Graphviz, where it is installed).")
  var format: Format = .dot
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case dot, json, svg
  }

  func run() throws {
    let build = try project.question()
    switch format {
    case .dot: Terminal.write(1, try build.graphDot(targets: targets))
    case .json: Terminal.write(1, try ArtifactJSON.encodePlain(try build.edges(of: targets)))
    case .svg: try draw(try build.graphDot(targets: targets))
    }
  }

  /// Hands the graph to `dot`, which writes to our output.
  private func draw(_ text: String) throws {
    guard let tool = popen("command -v dot", "r"), fgetc(tool) != EOF, pclose(tool) >= 0,
      let dot = popen("dot -Tsvg", "w")
    else {
      throw QuenchError(
        .unavailable, "Graphviz's dot was not found",
        try: "apt-get install graphviz, or --format dot")
    }
    let bytes = Array(text.utf8)
    let written = fwrite(bytes, 1, bytes.count, dot)
    guard pclose(dot) == 0, written == bytes.count else {
      throw QuenchError(.work, "Graphviz's dot failed")
    }
  }
}
