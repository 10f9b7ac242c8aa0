// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: a build as one JSON object a line.

internal import Artifacts
internal import BuildEngine

/// `--events`: what happens, for programs. Keys are sorted; new keys and events may be added.
struct EventLines {
  private struct Line {
    var event: String
    var output: String?
    var description: String?
    var command: String?
    var reason: String?
    var outcome: String?
    var code: Int32?
    var milliseconds: Double?
    var text: String?
    var finished: Int?
    var running: Int?
    var total: Int?
    var done: Int?
    var of: Int?

    var bytes: [UInt8] {
      var bytes: [UInt8] = []
      bytes.append(json: [
        "code": code.map { .integer(Int($0)) }, "command": command.map(JSONScalar.text),
        "description": description.map(JSONScalar.text), "done": done.map(JSONScalar.integer),
        "event": .text(event), "finished": finished.map(JSONScalar.integer),
        "milliseconds": milliseconds.map(JSONScalar.number), "of": of.map(JSONScalar.integer),
        "outcome": outcome.map(JSONScalar.text), "output": output.map(JSONScalar.text),
        "reason": reason.map(JSONScalar.text), "running": running.map(JSONScalar.integer),
        "text": text.map(JSONScalar.text), "total": total.map(JSONScalar.integer),
      ])
      return bytes
    }
  }

  /// Writes the line of an event, if it has one.
  static func show(_ event: BuildEvent) {
    guard let line = line(event) else { return }
    Terminal.write(1, line.bytes + [UInt8(ascii: "\n")])
  }

  private static func line(_ event: BuildEvent) -> Line? {
    switch event {
    case .waitingForLock: return Line(event: "waiting")
    case .reloaded(let manifest): return Line(event: "reloaded", output: manifest)
    case .started(let edge, let reason, let counts):
      return Line(
        event: "started", output: edge.output, description: edge.description,
        command: edge.command, reason: reason.description, finished: counts.finished,
        running: counts.running, total: counts.total)
    case .progress(let edge, let done, let total, let detail):
      return Line(
        event: "progress", output: edge.output, text: detail.isEmpty ? nil : detail, done: done,
        of: total)
    case .note(let edge, let text): return Line(event: "note", output: edge.output, text: text)
    case .finished(let edge, let outcome, let output, let duration, let counts):
      var line = Line(
        event: "finished", output: edge.output,
        milliseconds: (duration / .microseconds(1)).rounded() / 1000,
        text: output.isEmpty ? nil : String(decoding: output, as: UTF8.self),
        finished: counts.finished, running: counts.running, total: counts.total)
      switch outcome {
      case .succeeded: line.outcome = "succeeded"
      case .failed(let code, let message):
        (line.outcome, line.code, line.reason) = ("failed", code, message)
      case .interrupted: line.outcome = "interrupted"
      }
      return line
    case .restored(let edge, let reason, let output, let counts):
      return Line(
        event: "restored", output: edge.output, reason: reason.description,
        text: output.isEmpty ? nil : String(decoding: output, as: UTF8.self),
        finished: counts.finished, running: counts.running, total: counts.total)
    case .skipped(let edge):
      return Line(event: "skipped", output: edge.output, reason: "it is up to date")
    case .edited(let edit): return Line(event: "edited", output: edit.path)
    case .editConflict(let edge, let edit, let reason):
      return Line(
        event: "conflict", output: edge.output, reason: reason.description, text: edit.path)
    case .editKept(let path, let kept): return Line(event: "kept", output: path, text: kept)
    case .removedDead(let path): return Line(event: "removed", output: path)
    case .warning(let text): return Line(event: "warning", text: text)
    case .tick: return nil
    }
  }

  /// The last line.
  static func end(_ summary: BuildSummary) {
    var bytes: [UInt8] = []
    bytes.append(json: [
      "blocked": .integer(summary.blocked), "event": .text("ended"),
      "exitCode": .integer(Int(summary.exitCode)), "failed": .integer(summary.failed.count),
      "fresh": .integer(summary.fresh), "ran": .integer(summary.ran),
      "restored": .integer(summary.restored),
    ])
    Terminal.write(1, bytes + [UInt8(ascii: "\n")])
  }
}
