// SPDX-License-Identifier: Apache-2.0
// BuildEngine: one run of a build: the scheduler's actions performed.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// All that lives from the moment the lock is taken until it is given back.
final class Session {
  /// What has to be remembered of a command until it ends.
  struct Run {
    var edge: Int32
    var info: EdgeInfo
    var reason: Reason
    /// Event count at the start: a file that changed later changed during the run.
    var start: Int32
    /// The file system's time just before the start.
    var anchor: Int64
    var observed: Observed
    /// Contents of the inputs and of the named files at the start.
    var inputs: [Int32]
    var named: [Int32]
    var outputs: [Identity?]
    /// Files that changed during the run before this one.
    var unsettledBefore: Set<Int32>
    var discoveredBefore: [Int32: Int32]
    var previousOutputs: [Int32: Int32]
  }

  let build: Build
  let options: BuildOptions
  let files: FileSystem
  let paths: PathTable
  let log: TraceLog
  let lock: BuildLock?
  let states: FileStates
  var graph: Graph
  var staleness: Staleness
  let tools: ToolTable
  var runner: Runner?
  let wake: Int32
  var summary = BuildSummary()
  var runs: [Int: Run] = [:]
  var finished = 0
  private var signalsSeen = 0

  init(_ build: Build, log: TraceLog, lock: BuildLock?, wake: Int32) throws(QuenchError) {
    self.build = build
    options = build.options
    files = build.files
    paths = build.paths
    graph = build.graph
    self.log = log
    self.lock = lock
    self.wake = wake
    states = FileStates(files: files, paths: paths, log: log, graph: graph)
    tools = ToolTable(
      paths: paths, files: files, environment: options.environment,
      ownExecutable: options.ownExecutable)
    staleness = Staleness(
      graph: graph, states: states, log: log, environment: options.environment, tools: tools)
    keepTexts()
  }

  /// Goes on with a manifest that was read again.
  func restart() {
    graph = build.graph
    states.restart(with: graph)
    staleness = Staleness(
      graph: graph, states: states, log: log, environment: options.environment, tools: tools)
    keepTexts()
  }

  /// Texts whose changes are shown by line: outputs that may be edited, and settings.
  private func keepTexts() {
    for edge in 0..<Int32(graph.edgeCount) where !graph.isPhony(edge) {
      if graph.isSet(.keepEdits, of: edge) {
        for node in graph.outputs(edge) { states.keepText(node) }
      }
      for node in graph.inputs(edge) where isSettings(node) { states.keepText(node) }
    }
  }

  /// Extensions of small texts that people edit, as the bytes of a number.
  private static let settings: Set<UInt64> = Set(
    ["cfg", "conf", "ini", "json", "toml", "yaml", "yml", "samples", "csv", "ninja"].map {
      $0.utf8.reduce(0) { $0 << 8 | UInt64($1) }
    })

  private func isSettings(_ node: Int32) -> Bool {
    paths.withBytes(node) { bytes in
      var suffix: UInt64 = 0
      for (distance, byte) in bytes.reversed().prefix(8).enumerated() {
        if byte == UInt8(ascii: ".") { return distance > 1 && Session.settings.contains(suffix) }
        suffix |= UInt64(byte) << UInt64(8 * distance)
      }
      return false
    }
  }

  /// Brings nodes up to date.
  func build(_ nodes: [Int32], _ events: (BuildEvent) -> Void) throws(QuenchError) {
    let plan = try Plan(targets: nodes, graph: graph, states: states, staleness: staleness)
    var scheduler = Scheduler(
      plan: plan, poolOf: plan.steps.map { graph.poolOf[Int($0)] },
      pools: graph.pools.map(\.depth), jobs: options.jobs, failureLimit: options.keepGoing)
    var failure: QuenchError?
    loop: while true {
      switch scheduler.next(room: room()) {
      case .examine(let step):
        do throws(QuenchError) {
          try examine(step, plan.steps[step], &scheduler, events)
        } catch {
          // What runs may end before the error is told.
          failure = failure ?? error
          scheduler.stop()
        }
      case .start(let step):
        do throws(QuenchError) {
          try start(step, plan.steps[step], scheduler, events)
        } catch {
          failure = failure ?? error
          scheduler.finished(step, succeeded: false)
          scheduler.stop()
        }
      case .wait:
        try wait(&scheduler, events, &failure)
      case .finish: break loop
      }
    }
    runner = nil
    summary.fresh += scheduler.fresh - plan.steps.count { graph.isPhony($0) }
    if let failure { throw failure }
    if !summary.failed.isEmpty { summary.blocked += scheduler.unreached }
    if summary.interrupted { summary.exitCode = QuenchError.Kind.interrupted.exitCode }
  }

  /// How many more commands the load limit allows.
  private func room() -> Int {
    guard let limit = options.loadLimit else { return Int.max }
    var load = [0.0]
    guard getloadavg(&load, 1) == 1 else { return Int.max }
    return max(0, Int(limit - load[0]))
  }

  func counts(_ scheduler: Scheduler) -> BuildCounts {
    BuildCounts(
      finished: finished, running: runs.count,
      total: finished + runs.count + scheduler.unreached)
  }

  private func examine(
    _ step: Int, _ edge: Int32, _ scheduler: inout Scheduler, _ events: (BuildEvent) -> Void
  ) throws(QuenchError) {
    if graph.isPhony(edge) {
      if graph.inputs(edge).contains(where: { states.isPending($0) }) {
        for node in graph.outputs(edge) { states.setPending(node) }
      }
      scheduler.examined(step, isStale: false)
      return
    }
    switch try staleness.verdict(for: edge) {
    case .fresh:
      scheduler.examined(step, isStale: false)
    case .edited(let nodes):
      for node in nodes {
        let edit = handEdit(node, edge)
        summary.edits.append(edit)
        events(.edited(edit))
      }
      scheduler.examined(step, isStale: false)
    case .adopted:
      if !options.dryRun { try adopt(edge) }
      scheduler.examined(step, isStale: false)
    case .stale(let reason):
      try runOrPretend(step, edge, reason, &scheduler, events)
    case .conflict(let reason, let edited):
      if options.discardEdits {
        if !options.dryRun { for node in edited { try keepEdit(node, events) } }
        try runOrPretend(step, edge, reason, &scheduler, events)
        return
      }
      let info = try build.info(edge)
      for node in edited { events(.editConflict(info, handEdit(node, edge), reason)) }
      summary.failed.append(info.output)
      if summary.exitCode == 0 { summary.exitCode = 1 }
      scheduler.refuse(step)
    }
  }

  private func runOrPretend(
    _ step: Int, _ edge: Int32, _ reason: Reason, _ scheduler: inout Scheduler,
    _ events: (BuildEvent) -> Void
  ) throws(QuenchError) {
    guard options.dryRun else {
      reasons[step] = reason
      scheduler.examined(step, isStale: true)
      return
    }
    for node in graph.outputs(edge) { states.setPending(node) }
    let info = try build.info(edge)
    events(.started(info, reason, counts(scheduler)))
    scheduler.examined(step, isStale: false)
    finished += 1
    summary.ran += 1
    summary.fresh -= 1
    events(.finished(info, .succeeded, output: [], duration: .zero, counts(scheduler)))
  }

  /// Why each step that is ready runs.
  private var reasons: [Int: Reason] = [:]

  private func start(
    _ step: Int, _ edge: Int32, _ scheduler: Scheduler, _ events: (BuildEvent) -> Void
  ) throws(QuenchError) {
    if runner == nil {
      runner = try Runner(
        files: files, tools: tools, environment: options.environment,
        ownExecutable: options.ownExecutable, wake: wake)
    }
    guard let runner else { return }
    let run = try prepare(edge, reasons.removeValue(forKey: step) ?? .neverBuilt, events)
    runs[step] = run
    events(.started(run.info, run.reason, counts(scheduler)))
    do throws(QuenchError) {
      try runner.start(
        step, Array(run.info.command.utf8), console: run.info.usesConsole,
        progress: graph.isSet(.progress, of: edge))
    } catch {
      runs[step] = nil
      throw error
    }
  }

  private func wait(
    _ scheduler: inout Scheduler, _ events: (BuildEvent) -> Void, _ failure: inout QuenchError?
  ) throws(QuenchError) {
    guard let runner else { preconditionFailure("a command runs without a runner") }
    for event in runner.wait() {
      switch event {
      case .progress(let step, let done, let total):
        if let run = runs[step] { events(.progress(run.info, done: done, total: total)) }
      case .signal(let number):
        signalsSeen += 1
        summary.interrupted = true
        scheduler.stop()
        runner.signal(signalsSeen > 1 ? SIGKILL : number)
      case .exited(let step, let code, let output, let duration):
        guard let run = runs.removeValue(forKey: step) else { continue }
        finished += 1
        var outcome = EdgeOutcome.interrupted
        do throws(QuenchError) {
          outcome = try conclude(run, code, duration, events)
        } catch {
          failure = failure ?? error
          outcome = .failed(code: 1, message: error.message)
          scheduler.stop()
        }
        scheduler.finished(step, succeeded: outcome == .succeeded)
        events(.finished(run.info, outcome, output: output, duration: duration, counts(scheduler)))
      }
    }
  }
}
