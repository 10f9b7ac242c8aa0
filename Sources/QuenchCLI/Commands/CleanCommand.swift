// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench clean`.

internal import ArgumentParser
internal import BuildEngine

struct CleanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clean", abstract: "Remove what the build made; files edited by hand stay.")

  @OptionGroup var project: ProjectOptions
  @Flag(name: .customShort("n"), help: "Say what would be removed.") var dryRun = false
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  func run() throws {
    var options = try project.prepare()
    options.dryRun = dryRun
    let removed = try Build(options).clean(targets: targets) { event in
      if case .warning(let text) = event { Terminal.warn(text) }
    }
    if dryRun { for path in removed { Terminal.print(path) } }
    Terminal.print("quench: \(dryRun ? "would remove" : "removed") \(removed.count) files")
  }
}
