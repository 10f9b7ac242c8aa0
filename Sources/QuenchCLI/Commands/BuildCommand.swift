// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench build`, which is also plain `quench`.

internal import ArgumentParser
internal import BuildEngine
internal import Diagnostics
internal import Pipeline

struct BuildCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "build", abstract: "Build what is stale (the default verb).")

  @OptionGroup var project: ProjectOptions
  @OptionGroup var options: RunOptions
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  func run() throws {
    let run = try BuildRun(project, options)
    let summary = try run.build(targets)
    throw ExitCode(summary.exitCode)
  }
}

/// A build with what is shown of it.
final class BuildRun {
  private let build: Build
  private let options: BuildOptions
  private let display: BuildDisplay
  /// The manifest comes from a quench.yaml.
  private let isRecipe: Bool

  init(_ project: ProjectOptions, _ run: RunOptions) throws(QuenchError) {
    var options = try project.prepare()
    run.apply(to: &options)
    self.options = options
    isRecipe = options.manifest == Layout.manifest
    build = try Build(options)
    display = BuildDisplay(
      isQuiet: run.quiet, explains: options.explain, isDryRun: options.dryRun,
      showsCommands: options.verbose)
  }

  /// Builds once and shows all of it: edges, failures, the tables in the end.
  func build(
    _ targets: [String], saysNothingToDo: Bool = true
  ) throws(QuenchError) -> BuildSummary {
    display.begin()
    let summary: BuildSummary
    do throws(QuenchError) {
      summary = try build.run(targets: targets) { display.show($0) }
    } catch {
      display.clear()
      // The lists under .quench are no outputs of an edge: where one was deleted, make all again.
      guard isRecipe, error.kind == .noInput, error.message.contains("'\(Layout.state)/") else {
        throw error
      }
      try ProjectOptions.generate()
      return try build.run(targets: targets) { display.show($0) }
    }
    if saysNothingToDo || !summary.isNothingToDo { display.end(summary) }
    // After a failure too: a gate that says no is only understood beside its figures.
    if isRecipe, !options.dryRun, summary.ran > 0 || summary.exitCode == 2 {
      try ResultTables.show()
    }
    return summary
  }

  /// Files and directories that a watcher must look at.
  var inputs: [String] {
    get throws(QuenchError) { try build.sourceInputs }
  }
}
