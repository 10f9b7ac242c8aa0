// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench clean`.

internal import ArgumentParser
internal import BuildEngine

struct CleanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clean", abstract: "Remove what the build made; files edited by hand stay.")

  @OptionGroup var project: ProjectOptions
  @Flag(name: .customShort("n"), help: "Say what would be removed.") var dryRun = false
  @Flag(help: "Remove only outputs that no edge makes any more.") var dead = false
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  func run() throws {
    var options = try project.prepare()
    options.dryRun = dryRun
    let build = try ProjectOptions.opened(options)
    let removed =
      try dead
      ? build.cleanDead { show($0) } : build.clean(CleanScope(targets: targets)) { show($0) }
    if dryRun { for path in removed { Terminal.print(path) } }
    Terminal.print("quench: \(dryRun ? "would remove" : "removed") \(removed.count) files")
  }

  private func show(_ event: BuildEvent) {
    if case .warning(let text) = event { Terminal.warn(text) }
  }

  mutating func validate() throws {
    if dead, !targets.isEmpty { throw ValidationError("--dead takes no targets") }
  }
}
