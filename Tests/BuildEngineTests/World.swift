// SPDX-License-Identifier: Apache-2.0
// BuildEngineTests: a directory with a manifest, and what a build of it did.

import BuildEngine
import Diagnostics
import Glibc
import TestSupport

/// A project in a temporary directory.
final class World {
  let space = TemporarySpace()
  /// Added to the environment of the commands.
  var environment: [String: String] = [:]

  /// What one build did.
  struct Outcome {
    var summary: BuildSummary
    var ran: [String] = []
    var reasons: [String: Reason] = [:]
    var outputs: [String: String] = [:]
    var failures: [String: String] = [:]
    var warnings: [String] = []
    var events: [BuildEvent] = []
  }

  /// `rule cp` copies its input; `rule cat` joins its inputs.
  static let rules = """
    rule cp
      command = cat $in > $out
    rule cat
      command = cat $in > $out

    """

  /// Whether the system is whole enough to test with.
  static var hasNull: Bool {
    var status = stat()
    return stat("/dev/null", &status) == 0 && status.st_mode & S_IFMT == S_IFCHR
  }

  init(_ manifest: String = "", _ files: [String: String] = [:]) {
    if !manifest.isEmpty { write("build.ninja", World.rules + manifest) }
    for (name, text) in files { write(name, text) }
  }

  func write(_ name: String, _ text: String) { space.write(name, text) }
  func text(_ name: String) -> String? { space.text(name) }
  func exists(_ name: String) -> Bool { access(space.path(name), F_OK) == 0 }
  func remove(_ name: String) { unlink(space.path(name)) }

  /// Sets the time of last change of the content, in seconds from now.
  func touch(_ name: String, secondsFromNow: Int = 0) {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let time = timespec(tv_sec: now.tv_sec + secondsFromNow, tv_nsec: now.tv_nsec)
    utimensat(AT_FDCWD, space.path(name), [time, time], 0)
  }

  func options(_ change: (inout BuildOptions) -> Void = { _ in }) -> BuildOptions {
    var options = BuildOptions(directory: space.path)
    options.environment.merge(environment) { $1 }
    change(&options)
    return options
  }

  @discardableResult
  func build(
    _ targets: [String] = [], _ change: (inout BuildOptions) -> Void = { _ in },
    during: (BuildEvent, Build) -> Void = { _, _ in }
  ) throws(QuenchError) -> Outcome {
    let build = try Build(options(change))
    var outcome = Outcome(summary: BuildSummary())
    outcome.summary = try build.run(targets: targets) { event in
      outcome.events.append(event)
      switch event {
      case .started(let info, let reason, _):
        outcome.ran.append(info.output)
        outcome.reasons[info.output] = reason
      case .finished(let info, let end, let output, _, _):
        outcome.outputs[info.output] = String(decoding: output, as: UTF8.self)
        if case .failed(_, let message) = end { outcome.failures[info.output] = message }
      case .warning(let text): outcome.warnings.append(text)
      default: break
      }
      during(event, build)
    }
    return outcome
  }

  func why(_ target: String) throws(QuenchError) -> [String] {
    try Build(options()).why(target).map(\.text)
  }

  /// Outputs that would be made.
  func stale(_ targets: [String] = []) throws(QuenchError) -> [String] {
    try Build(options()).status(targets: targets).filter { $0.reason != nil }.map(\.edge.output)
  }
}

/// The error that `body` throws, as people read it; nil when it throws none.
func message(_ body: () throws(QuenchError) -> Void) -> String? {
  do throws(QuenchError) {
    try body()
    return nil
  } catch {
    return error.description
  }
}

/// The path of a program, nil when it is not installed.
func installed(_ program: String) -> String? {
  ["/usr/bin/", "/usr/local/bin/", "/bin/"].map { $0 + program }.first { access($0, X_OK) == 0 }
}
