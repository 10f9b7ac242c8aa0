// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench watch`.

internal import ArgumentParser
internal import BuildEngine
internal import Diagnostics
internal import FileWatching
internal import Glibc
internal import Pipeline

struct WatchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch", abstract: "Build, and build again whenever an input changes.",
    discussion: "Ctrl-C ends it. Changes made while a build runs are built right after it.")

  @OptionGroup var project: ProjectOptions
  @OptionGroup var options: RunOptions
  @Option(help: ArgumentHelp("A burst of changes is over after this much quiet.", valueName: "ms"))
  var debounce = 20
  @Flag(help: "Clear the screen before each build.") var clear = false
  @Argument(help: "Targets; without any, everything.") var targets: [String] = []

  mutating func validate() throws {
    if debounce < 0 { throw ValidationError("--debounce takes milliseconds from 0 on") }
  }

  func run() throws {
    let interrupt = try Interrupt()
    let run = try BuildRun(project, options)
    var paths = watched(run, before: [])
    // Watch first, then look: a change between the two is noticed, not lost.
    let watcher = try Watcher(paths: paths, interrupt: interrupt.descriptor)
    var announce = true
    var isWaiting = false
    while true {
      if build(run, announce: announce) == .interrupted { throw ExitCode(130) }
      let next = watched(run, before: paths)
      if next != paths {
        paths = next
        try watcher.update(paths: paths)
        announce = false
        continue
      }
      if !isWaiting { waiting(watcher, count: paths.count) }
      isWaiting = true
      guard let batch = try watcher.nextBatch(quietMilliseconds: debounce) else {
        throw ExitCode(130)
      }
      // The build writes these files too; only an edit by hand makes the next build say anything.
      announce = batch.overflow || !batch.paths.allSatisfy { configs.contains($0) }
      if announce {
        tell(batch)
        isWaiting = false
      }
    }
  }

  private enum Outcome {
    case ended
    case interrupted
  }

  /// A build whose failure is shown and does not end the watching.
  private func build(_ run: BuildRun, announce: Bool) -> Outcome {
    if clear, announce, Style.output.isTerminal { Terminal.write(1, "\u{1B}[2J\u{1B}[H") }
    do throws(QuenchError) {
      let summary = try run.build(targets, saysNothingToDo: announce)
      return summary.interrupted ? .interrupted : .ended
    } catch {
      Quench.report(error)
      return .ended
    }
  }

  /// The calibration.cfg files: written by the build, edited by people.
  private var configs: Set<String> {
    // A recipe that cannot be read right now has none to edit.
    guard let recipe = try? Recipe.read(Layout.recipe) else { return [] }
    return Set(recipe.models.map { Layout(out: recipe.out, model: $0).config })
  }

  /// What the build reads, and the files that people edit though the build writes them.
  ///
  /// While the manifest or the recipe cannot be read, what was watched before stays watched.
  private func watched(_ run: BuildRun, before: [String]) -> [String] {
    var paths = Set((try? run.inputs) ?? before)
    paths.insert(Layout.recipe)
    paths.formUnion(configs)
    return paths.filter { !$0.hasPrefix("\(Layout.state)/") }.sorted()
  }

  private func waiting(_ watcher: Watcher, count: Int) {
    for path in watcher.deafPaths {
      Terminal.warn("\(path) is on a network file system: changes by other machines are not seen")
    }
    if !options.quiet { Terminal.note("quench: watching \(count) files and directories") }
  }

  private func tell(_ batch: ChangeBatch) {
    guard !options.quiet else { return }
    if batch.overflow {
      Terminal.note("quench: more changes than the kernel could report; looking at everything")
    } else if let first = batch.paths.first {
      let more = batch.paths.count > 1 ? " and \(batch.paths.count - 1) more" : ""
      Terminal.note("quench: \(first)\(more) changed")
    }
  }
}

/// SIGINT and SIGTERM as a readable descriptor. While a build runs, the engine takes the signals.
private struct Interrupt {
  let descriptor: Int32

  init() throws(QuenchError) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else {
      throw QuenchError(.work, "cannot make a pipe: \(String(cString: strerror(errno)))")
    }
    // No command is to get them.
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    descriptor = ends[0]
    interruptPipe = ends[1]
    signal(SIGINT, interruptHandler)
    signal(SIGTERM, interruptHandler)
  }
}

/// Written once, before the handlers are installed.
nonisolated(unsafe) private var interruptPipe: Int32 = -1

private func interruptHandler(_ number: Int32) {
  var byte: UInt8 = 0
  _ = write(interruptPipe, &byte, 1)
}
