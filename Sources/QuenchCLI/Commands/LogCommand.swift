// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench log`.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine
internal import Diagnostics

struct LogCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log", abstract: "Tell of the last build that ran something.",
    discussion: """
      what-ran: each command, why it ran and for how long. what-failed: those that failed. \
      critical-path: the chain of commands that the build could not have been faster than. \
      slowest: edges by the time of their last run, whenever that was. trace: the build as a Chrome \
      trace, for chrome://tracing or Perfetto.
      """)

  enum Topic: String, ExpressibleByArgument, CaseIterable {
    case whatRan = "what-ran"
    case whatFailed = "what-failed"
    case criticalPath = "critical-path"
    case slowest
    case trace
  }

  @OptionGroup var project: ProjectOptions
  @Flag(help: "Machine-readable output.") var json = false
  @Option(name: .short, help: "How many lines slowest shows.") var number = 20
  @Argument(help: "what-ran, what-failed, critical-path, slowest or trace.")
  var topic = Topic.whatRan

  func run() throws {
    let build = try Build(try project.prepare())
    if topic == .slowest {
      let edges = try build.slowest(number)
      if json {
        Terminal.write(1, try ArtifactJSON.encodePlain(edges))
      } else {
        for edge in edges { Terminal.print("\(edge.milliseconds) ms  \(edge.output)") }
      }
      return
    }
    guard let trace = try build.lastTrace() else {
      throw QuenchError(.noInput, "no build has run anything here yet", try: "quench build")
    }
    switch topic {
    case .trace: Terminal.write(1, try trace.chrome())
    case .criticalPath: try show(try build.criticalPath(), total: true)
    case .whatFailed: try show(trace.runs.filter { $0.outcome == .failed }, total: false)
    case .whatRan, .slowest: try show(trace.runs, total: false)
    }
  }

  private func show(_ runs: [BuildTrace.Run], total: Bool) throws(QuenchError) {
    if json {
      Terminal.write(1, try ArtifactJSON.encodePlain(runs))
      return
    }
    for run in runs {
      let end =
        switch run.outcome {
        case .succeeded: ""
        case .failed: ", failed with \(run.code)"
        case .interrupted: ", interrupted"
        case .restored: ", restored"
        }
      Terminal.print("\(Int(run.duration.rounded())) ms  \(run.output)\(end): \(run.reason)")
    }
    if total {
      let sum = runs.reduce(0) { $0 + $1.duration }
      Terminal.print("\(Int(sum.rounded())) ms in all")
    }
  }
}
