// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench build`, which is also plain `quench`.

internal import ArgumentParser
internal import Artifacts
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
    var build = try project.prepare()
    // What would run is known only from an up-to-date manifest; bringing it there is no stage's work.
    if options.dryRun { _ = try ProjectOptions.question(build) }
    options.apply(to: &build)
    let glance = try Glance(build, targets: targets)
    if let summary = glance.nothingToDo, !options.events, options.trace == nil {
      if !options.quiet { Terminal.print("quench: nothing to do") }
      if let metrics = summary.metrics { MetricsTable.show(metrics) }
      return
    }
    let run = try BuildRun(
      build, quiet: options.quiet, events: options.events, trace: options.trace, after: glance)
    let summary: BuildSummary
    do throws(QuenchError) {
      summary = try run.build(targets)
    } catch {
      throw BuildCommand.hinted(error, targets)
    }
    throw ExitCode(summary.exitCode)
  }
}

extension BuildCommand {
  /// A word that is no target may be a misspelt verb.
  static func hinted(_ error: QuenchError, _ targets: [String]) -> QuenchError {
    guard error.kind == .usage, targets.count == 1,
      let verb = NearestName.of(targets[0], among: VerbFirst.verbs)
    else { return error }
    var hinted = error
    hinted.remedy = "quench \(verb)"
    return hinted
  }
}

/// A build with what is shown of it.
final class BuildRun {
  private let build: Build
  private let options: BuildOptions
  private let display: BuildDisplay
  private let isQuiet: Bool
  private let tellsEvents: Bool
  private let trace: String?
  /// The manifest comes from a quench.yaml.
  private let isRecipe: Bool

  convenience init(_ project: ProjectOptions, _ run: RunOptions) throws(QuenchError) {
    var options = try project.prepare()
    // What would run is known only from an up-to-date manifest; bringing it there is no stage's work.
    if run.dryRun { _ = try ProjectOptions.question(options) }
    run.apply(to: &options)
    try self.init(options, quiet: run.quiet, events: run.events, trace: run.trace)
  }

  init(
    _ options: BuildOptions, quiet: Bool, events: Bool = false, trace: String? = nil,
    after glance: Glance? = nil
  ) throws(QuenchError) {
    tellsEvents = events
    self.trace = trace
    self.options = options
    isQuiet = quiet
    isRecipe = options.manifest == Layout.manifest
    build = try ProjectOptions.opened(options, after: glance)
    display = BuildDisplay(
      isQuiet: quiet, explains: options.explain, isDryRun: options.dryRun,
      showsCommands: options.verbose)
  }

  /// Builds once and shows all of it: edges, failures, the tables, and last how it went.
  func build(
    _ targets: [String], saysNothingToDo: Bool = true
  ) throws(QuenchError) -> BuildSummary {
    display.begin()
    defer { display.clear() }
    let summary: BuildSummary
    do throws(QuenchError) {
      summary = try run(targets)
    } catch {
      // The lists under .quench are no outputs of an edge: if one was deleted, all are made again.
      guard isRecipe, error.kind == .noInput else { throw error }
      try Generator(Surroundings.ofThisMachine()).run()
      do throws(QuenchError) {
        summary = try run(targets)
      } catch {
        var error = error
        if error.kind == .noInput, error.remedy == nil {
          error.remedy = "put the file there, or name another one in \(Layout.recipe)"
        }
        throw error
      }
    }
    display.clear()
    if let trace { try FileContent.replace(trace, with: summary.trace.chrome()) }
    if tellsEvents {
      EventLines.end(summary)
      return summary
    }
    if isRecipe, !options.dryRun, !isQuiet,
      try ResultTables.show(
        of: Set(display.finished), failed: Set(summary.failed))
    {
      // Under the tables, so that what went wrong is the last thing seen.
      display.repeatFailures()
    }
    if saysNothingToDo || !summary.isNothingToDo { display.end(summary) }
    if let metrics = summary.metrics { MetricsTable.show(metrics) }
    return summary
  }

  private func run(_ targets: [String]) throws(QuenchError) -> BuildSummary {
    try build.run(targets: targets) { event in
      if tellsEvents { EventLines.show(event) } else { display.show(event) }
    }
  }

  /// Files and directories that a watcher must look at.
  var inputs: [String] {
    get throws(QuenchError) { try build.sourceInputs }
  }
}
