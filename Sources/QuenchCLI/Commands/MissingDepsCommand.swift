// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench missing-deps`.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine

struct MissingDepsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "missing-deps",
    abstract:
      "Find edges that read a generated file which the manifest does not order before them.",
    discussion:
      "Looks at what compilers reported in earlier builds. Exits with 2 when it finds any.")

  @OptionGroup var project: ProjectOptions
  @Flag(help: "Machine-readable output.") var json = false
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  func run() throws {
    let missing = try project.question().missingDependencies(targets: targets)
    if json {
      Terminal.write(1, try ArtifactJSON.encodePlain(missing))
    } else {
      for entry in missing {
        Terminal.print("\(entry.output) reads \(entry.input), made by \(entry.rule)")
      }
      Terminal.print("\(missing.count) missing dependencies")
    }
    if !missing.isEmpty { throw ExitCode(2) }
  }
}
