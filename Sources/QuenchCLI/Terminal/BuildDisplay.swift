// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: a build as people see it: one live line on a terminal, one line an edge elsewhere.

internal import BuildEngine

/// Turns build events into text. Edges go to standard output, warnings and failures to standard
/// error; a command's own output is always shown whole.
final class BuildDisplay {
  private let isQuiet: Bool
  private let explains: Bool
  private let isDryRun: Bool
  private let showsCommands: Bool
  private var progress = ProgressLine()
  /// What was said of the edges that failed.
  private var failures: [(text: String, output: [UInt8])] = []
  /// First outputs of the edges that ended in this build, well or not.
  private(set) var finished: [String] = []
  private var start = Moment.now

  init(isQuiet: Bool, explains: Bool, isDryRun: Bool, showsCommands: Bool) {
    self.isQuiet = isQuiet
    self.explains = explains
    self.isDryRun = isDryRun
    self.showsCommands = showsCommands
  }

  func begin() {
    start = .now
    progress = ProgressLine()
    finished = []
    failures = []
  }

  /// Says once more what failed, after something else was shown.
  func repeatFailures() {
    for (text, output) in failures {
      Terminal.note("\n" + text)
      Terminal.write(2, output)
    }
  }

  /// Takes the live line away, so that something else can be written.
  func clear() { progress.clear() }

  func show(_ event: BuildEvent) {
    switch event {
    case .waitingForLock(let pid):
      let owner = pid.map { " (process \($0))" } ?? ""
      note("quench: waiting for another build in this directory\(owner)")
    case .reloaded: break
    case .started(let edge, let reason, let counts):
      if explains { note("quench: \(edge.output): \(reason)") }
      if isDryRun, !isQuiet {
        Terminal.print("[\(counts.finished + counts.running)/\(counts.total)] \(edge.description)")
      }
      progress.start(edge, counts)
    case .restored(let edge, let reason, let output, let counts):
      if explains { note("quench: \(edge.output): \(reason)") }
      if !isQuiet, !Style.output.isTerminal || showsCommands || !output.isEmpty {
        progress.clear()
        Terminal.print("[\(counts.finished)/\(counts.total)] restored \(edge.output)")
      }
      if !output.isEmpty { Terminal.write(2, output) }
    case .skipped: break
    case .tick(let counts): progress.tick(counts)
    case .progress(let edge, let done, let total, let detail):
      progress.advance(edge, done: done, of: total, detail)
    case .note(let edge, let text):
      guard !isQuiet else { return }
      progress.clear()
      Terminal.print("\(edge.description): \(text)")
    case .finished(let edge, let outcome, let output, _, let counts):
      finished(edge, outcome, output, counts)
    case .edited(let edit): note("quench: \(edit.path): edited by hand, \(lines(edit.lines))")
    case .editConflict(let edge, let edit, let reason): conflict(edge, edit, reason)
    case .editKept(let path, let kept): note("quench: \(path): the edited file is kept as \(kept)")
    case .removedDead(let path): note("quench: removed \(path), which nothing makes any more")
    case .warning(let text):
      progress.clear()
      Terminal.warn(text)
    }
  }

  func end(_ summary: BuildSummary) {
    progress.clear()
    if summary.interrupted {
      Terminal.note("quench: interrupted")
    } else if summary.isNothingToDo {
      if !isQuiet { Terminal.print("quench: nothing to do") }
    } else if !summary.failed.isEmpty || (!isQuiet && !isDryRun) {
      let seconds = Moment.now - start
      Terminal.print(
        "quench: ran \(count(summary.ran, "edge"))"
          + (summary.restored == 0 ? "" : ", restored \(summary.restored)")
          + ", \(summary.fresh) fresh"
          + (summary.failed.isEmpty ? "" : ", \(summary.failed.count) failed")
          + (summary.blocked == 0 ? "" : ", \(summary.blocked) not started") + ", \(text(seconds))")
    }
  }

  private func finished(
    _ edge: EdgeInfo, _ outcome: EdgeOutcome, _ output: [UInt8], _ counts: BuildCounts
  ) {
    if isDryRun { return }
    progress.finish(edge, counts)
    finished.append(edge.output)
    switch outcome {
    case .succeeded:
      // On a terminal the live line says it; a line of its own only where there is none.
      if !isQuiet, !Style.output.isTerminal || !output.isEmpty || showsCommands {
        progress.clear()
        Terminal.print("[\(counts.finished)/\(counts.total)] \(edge.description)")
      }
    case .failed(_, let message):
      progress.clear()
      let text = "quench: " + Style.error.red("failed:") + " \(edge.description) (\(message))"
      Terminal.note(text)
      failures.append((text, output))
      Terminal.note(Style.error.dim("  \(edge.command)"))
    case .interrupted: progress.clear()
    }
    if !output.isEmpty {
      progress.clear()
      Terminal.write(2, output.last == UInt8(ascii: "\n") ? output : output + [10])
    }
  }

  private func conflict(_ edge: EdgeInfo, _ edit: HandEdit, _ reason: Reason) {
    progress.clear()
    var text = "quench: " + Style.error.red("error:")
    text += " \(edit.path) was edited by hand, and must be made anew because \(reason)"
    for change in edit.lines.prefix(20) {
      text += "\n  line \(change.line)\n    - \(change.old)\n    + \(change.new)"
    }
    if edit.lines.count > 20 { text += "\n  and \(edit.lines.count - 20) more lines" }
    text += "\n  try  quench build --discard-edits (the edited file is kept beside it),"
    text += "\n       or put lasting choices under overrides: in quench.yaml and discard the edit"
    Terminal.note(text)
  }

  private func note(_ text: String) {
    progress.clear()
    Terminal.note(text)
  }

  private func lines(_ changes: [LineChange]) -> String {
    changes.isEmpty ? "the edit stands" : count(changes.count, "line")
  }

  private func count(_ number: Int, _ noun: String) -> String {
    "\(number) \(noun)\(number == 1 ? "" : "s")"
  }

  private func text(_ duration: Duration) -> String {
    let milliseconds =
      duration.components.seconds * 1000
      + duration.components.attoseconds / 1_000_000_000_000_000
    return milliseconds < 1000
      ? "\(milliseconds) ms" : "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
  }
}
