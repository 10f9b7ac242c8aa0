// SPDX-License-Identifier: Apache-2.0
// The real binary on a build.ninja of a test's own.

import Foundation
import Glibc
import TestSupport

/// A directory with a manifest, built by `quench build -f build.ninja`.
final class EngineSpace: Sendable {
  let space: TemporarySpace

  init(_ manifest: String = "", _ files: [String: String] = [:], in space: TemporarySpace? = nil) {
    self.space = space ?? TemporarySpace()
    if !manifest.isEmpty { self.space.write("build.ninja", manifest) }
    for (name, text) in files { self.space.write(name, text) }
  }

  private static let environment = {
    var variables = ProcessInfo.processInfo.environment
    variables["MAKEFLAGS"] = nil
    variables["QUENCH_CACHE"] = nil
    return variables
  }()

  /// Runs `quench build -f build.ninja` with more arguments.
  @discardableResult
  func build(_ arguments: String..., environment: [String: String] = [:]) throws -> Run {
    try quench(["build", "-f", "build.ninja"] + arguments, environment: environment)
  }

  /// Runs the binary.
  func quench(_ arguments: [String], environment: [String: String] = [:]) throws -> Run {
    let out = TemporarySpace()
    let status = try Child.run(
      Project.binary, arguments, in: space.path,
      environment: EngineSpace.environment.merging(environment) { $1 }, output: out.path("out"),
      errors: out.path("err"))
    return Run(
      status: status, output: out.text("out") ?? "", errors: out.text("err") ?? "")
  }

  /// Starts a build and does not wait; what it says goes to `log` beside the space.
  func start(_ arguments: [String] = [], log: String) throws -> pid_t {
    try Child.start(
      Project.binary, ["build", "-f", "build.ninja"] + arguments, in: space.path,
      environment: EngineSpace.environment, output: log, errors: log)
  }

  /// Names that commands wrote to `ran` since the last call.
  func takeRan() -> [String] {
    let names = (space.text("ran") ?? "").split(separator: "\n").map(String.init)
    unlink(space.path("ran"))
    return names
  }

  /// Processes that work in this directory.
  var inhabitants: [pid_t] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { name in
      guard let process = pid_t(name) else { return nil }
      let place = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(name)/cwd")
      return place == space.path ? process : nil
    }
  }

  /// Waits until no command runs here any more, or ends them all as a power cut would.
  func clear(killing: Bool) {
    for _ in 0..<2000 {
      let left = inhabitants
      if left.isEmpty { return }
      if killing { for process in left { kill(process, SIGKILL) } }
      usleep(5_000)
    }
  }
}
