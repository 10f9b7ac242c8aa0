// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench status`.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "List what is stale, and why. Runs nothing.")

  @OptionGroup var project: ProjectOptions
  @Flag(help: "Exit with 2 when something is stale.") var exitCode = false
  @Flag(help: "Machine-readable output.") var json = false
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  private struct Entry: Encodable {
    var output: String
    var stale: Bool
    var reason: String?
    var editedByHand: [String]
  }

  func run() throws {
    let edges = try project.question().status(targets: targets)
    let stale = edges.filter { $0.reason != nil }
    if json {
      let entries = edges.map { edge in
        Entry(
          output: edge.edge.output, stale: edge.reason != nil,
          reason: edge.reason.map { "\($0)" }, editedByHand: edge.edits.map(\.path))
      }
      Terminal.write(1, try ArtifactJSON.encodePlain(entries))
    } else {
      for edge in edges {
        for edit in edge.edits {
          let lines = edit.lines.count == 1 ? "1 line" : "\(edit.lines.count) lines"
          let conflict = edge.reason == nil ? "" : "; the build will stop here (--discard-edits)"
          Terminal.print("edited  \(edit.path): by hand, \(lines)\(conflict)")
        }
        if let reason = edge.reason { Terminal.print("stale   \(edge.edge.output): \(reason)") }
      }
      Terminal.print("\(stale.count) of \(edges.count) edges are stale")
    }
    if exitCode, !stale.isEmpty { throw ExitCode(2) }
  }
}
