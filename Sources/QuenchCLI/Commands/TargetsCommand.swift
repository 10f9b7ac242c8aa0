// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench targets`.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine

struct TargetsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "targets", abstract: "List what can be built, with the rule that makes it.")

  @OptionGroup var project: ProjectOptions
  @Flag(help: "Every output, not only those that nothing else reads.") var all = false
  @Option(help: ArgumentHelp("Only outputs of this rule.", valueName: "name")) var rule: String?
  @Flag(help: "Machine-readable output.") var json = false

  private struct Entry: Encodable {
    var target: String
    var rule: String
  }

  func run() throws {
    let build = try project.question()
    let roots = Set(build.rootTargets)
    var entries: [Entry] = []
    for edge in try build.edges() where rule == nil || edge.rule == rule {
      for output in edge.outputs + edge.implicitOutputs
      where all || rule != nil || roots.contains(output) {
        entries.append(Entry(target: output, rule: edge.rule))
      }
    }
    if json {
      Terminal.write(1, try ArtifactJSON.encodePlain(entries))
    } else {
      for entry in entries { Terminal.print("\(entry.target): \(entry.rule)") }
    }
  }
}
