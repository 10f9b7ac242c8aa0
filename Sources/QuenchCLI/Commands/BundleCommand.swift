// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench bundle`.

internal import ArgumentParser
internal import BuildEngine
internal import Diagnostics
internal import Pipeline

struct BundleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bundle", abstract: "Build bundles of quench.yaml, and check them.")

  @OptionGroup var project: ProjectOptions
  @OptionGroup var options: RunOptions
  @Argument(help: "Names under bundles:; without any, all.") var names: [String] = []

  func run() throws {
    let run = try BuildRun(project, options)
    let recipe = try Recipe.read(Layout.recipe)
    let known = recipe.bundles.map(\.name)
    guard !known.isEmpty else {
      throw QuenchError(
        .usage, "quench.yaml lists no bundles", at: .file(Layout.recipe),
        try: "bundles: {release: {}}")
    }
    for name in names where !known.contains(name) {
      throw QuenchError(
        .usage, "there is no bundle \"\(name)\"\(NearestName.hint(name, among: known))")
    }
    let targets = (names.isEmpty ? known : names).map { Layout.bundle($0, out: recipe.out) }
    let summary = try run.build(targets)
    guard summary.exitCode == 0, !options.dryRun else { throw ExitCode(summary.exitCode) }
    for target in targets {
      var verify = VerifyCommand()
      verify.bundle = target
      try verify.run()
    }
  }
}
