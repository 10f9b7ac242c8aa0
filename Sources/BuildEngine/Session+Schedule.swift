// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the scheduler's actions performed.

internal import CSystem
internal import Diagnostics
internal import Glibc

extension Session {
  /// Brings nodes up to date, all in one plan.
  func perform(_ nodes: [Int32], _ scope: Scope?, _ events: (BuildEvent) -> Void)
    throws(QuenchError)
  {
    let plan = try files.measured(.plan) { () throws(QuenchError) -> Plan in
      try Plan(targets: nodes, graph: graph, states: states, staleness: staleness, scope: scope)
    }
    planned = plan.steps
    var limit = options.keepGoing
    if limit > 0 {
      limit -= summary.failed.count
      guard limit > 0 else { return }
    }
    var scheduler = Scheduler(
      plan: plan, poolOf: plan.steps.map { graph.poolOf[Int($0)] },
      pools: graph.pools.map(\.depth), jobs: tokens == nil ? options.jobs : 0,
      failureLimit: limit)
    let before = done.isEmpty ? 0 : plan.steps.count { done.contains($0) && !graph.isPhony($0) }
    var failure: QuenchError?
    loop: while true {
      switch scheduler.next(room: room(scheduler)) {
      case .examine(let step):
        do throws(QuenchError) {
          try examine(step, plan, &scheduler, events)
        } catch {
          // What runs may end before the error is told.
          failure = failure ?? error
          scheduler.stop()
        }
      case .start(let step):
        do throws(QuenchError) {
          try files.measured(.start) { () throws(QuenchError) in
            try start(step, plan.steps[step], &scheduler, events)
          }
        } catch {
          failure = failure ?? error
          tokens?.ended(step)
          scheduler.finished(step, succeeded: false)
          scheduler.stop()
        }
      case .wait:
        // What may be done while commands run comes second to starting some.
        if !ended.isEmpty { finish(ended.removeFirst(), &scheduler, events, &failure) }
        try wait(&scheduler, events, &failure)
      case .finish: break loop
      }
    }
    do throws(QuenchError) {
      try settle(events)
    } catch {
      failure = failure ?? error
    }
    runner = nil
    tokens?.releaseAll()
    // Aliases are no work, whether it came to them or not.
    var (aliases, unreached) = (0, 0)
    for (step, edge) in plan.steps.enumerated() {
      switch scheduler.state(step) {
      case .done: aliases += graph.isPhony(edge) ? 1 : 0
      case .blocked, .examining, .ready: unreached += graph.isPhony(edge) ? 0 : 1
      case .running, .ended, .failed: break
      }
    }
    summary.fresh += scheduler.fresh - restoredHere - aliases - before
    restoredHere = 0
    if let scope {
      summary.fresh += scope.certificate.fresh - plan.steps.count { !graph.isPhony($0) }
    }
    if !graph.dyndeps.isEmpty {
      for (step, edge) in plan.steps.enumerated() {
        switch scheduler.state(step) {
        case .done: done.insert(edge)
        case .failed: failedEdges.insert(edge)
        default: break
        }
      }
    }
    if let failure { throw failure }
    if !summary.failed.isEmpty { summary.blocked += unreached }
    if summary.interrupted { summary.exitCode = QuenchError.Kind.interrupted.exitCode }
  }

  /// How many more commands the load limit and make's jobserver allow.
  private func room(_ scheduler: Scheduler) -> Int {
    guard options.loadLimit != nil || tokens != nil, scheduler.hasReady else { return Int.max }
    if let limit = options.loadLimit, scheduler.running > 0 {
      var load = [0.0]
      if getloadavg(&load, 1) == 1, Int(limit - load[0]) <= 0 { return 0 }
    }
    if tokens != nil, tokens?.hasRoom() == false { return 0 }
    return Int.max
  }

  func counts(_ scheduler: Scheduler) -> BuildCounts {
    var counts = BuildCounts(
      finished: finished, running: runs.count - ended.count,
      total: finished + runs.count + scheduler.unreached)
    counts.unknown = scheduler.unreached - scheduler.readyCount
    guard options.wantsEstimate, scheduler.isWeighed else { return counts }
    var left = scheduler.workLeft
    let now = cs_monotonic()
    for run in runs {
      left -= min((now - run.begun) / 1_000_000, run.expected)
    }
    let width = Int64(max(1, min(options.jobs <= 0 ? 64 : options.jobs, counts.total - finished)))
    counts.left = .milliseconds(max(0, left) / width)
    return counts
  }

  private func examine(
    _ step: Int, _ plan: Plan, _ scheduler: inout Scheduler, _ events: (BuildEvent) -> Void
  ) throws(QuenchError) {
    let edge = plan.steps[step]
    if !done.isEmpty || !failedEdges.isEmpty {
      if failedEdges.contains(edge) {
        scheduler.failedBefore(step)
        return
      }
      if done.contains(edge) {
        scheduler.examined(step, isStale: false)
        return
      }
    }
    if let scope, !scope.isAffected(edge) {
      scheduler.examined(step, isStale: false)
      return
    }
    if graph.isPhony(edge) {
      if graph.inputs(edge).contains(where: { states.isPending($0) }) {
        for node in graph.outputs(edge) { states.setPending(node) }
      }
      scheduler.examined(step, isStale: false)
      return
    }
    let verdict = try files.measured(.decide) { () throws(QuenchError) -> Verdict in
      try staleness.verdict(for: edge)
    }
    switch verdict {
    case .fresh:
      if options.reportsFresh { events(.skipped(try build.info(edge))) }
      scheduler.examined(step, isStale: false)
    case .edited(let nodes) where options.discardEdits:
      if !options.dryRun { for node in nodes { try keepEdit(node, events) } }
      let reason = Reason.outputChanged(paths.string(nodes[0]))
      try runOrPretend(step, plan, reason, &scheduler, events)
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
      try runOrPretend(step, plan, reason, &scheduler, events)
    case .conflict(let reason, let edited):
      if options.discardEdits {
        if !options.dryRun { for node in edited { try keepEdit(node, events) } }
        try runOrPretend(step, plan, reason, &scheduler, events)
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
    _ step: Int, _ plan: Plan, _ reason: Reason, _ scheduler: inout Scheduler,
    _ events: (BuildEvent) -> Void
  ) throws(QuenchError) {
    let edge = plan.steps[step]
    guard options.dryRun else {
      if !scheduler.isWeighed { try weigh(plan, &scheduler) }
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

  private func start(
    _ step: Int, _ edge: Int32, _ scheduler: inout Scheduler, _ events: (BuildEvent) -> Void
  ) throws(QuenchError) {
    tokens?.started(step)
    var run = try prepare(edge, reasons[step])
    let reason = run.reason
    if cache != nil, let (discovered, text) = try restore(run) {
      let outputs = graph.outputs(edge).map { node in (log.pathID(node), states.known(node)) }
      let success = Success(
        run: run, end: states.tick(), outputs: outputs, discovered: discovered,
        milliseconds: run.expected)
      _ = try succeed(success, events)
      try log.flush()
      summary.restored += 1
      finished += 1
      restoredHere += 1
      tokens?.ended(step)
      scheduler.restored(step)
      note(run, .restored, 0, from: cs_monotonic())
      events(.restored(run.info, reason, output: text, counts(scheduler)))
      return
    }
    if runner == nil {
      runner = try Runner(
        files: files, tools: tools, environment: ChildEnvironment(options),
        ownExecutable: options.ownExecutable, wake: wake)
    }
    guard let runner else { return }
    run.step = step
    run.begun = cs_monotonic()
    runs.append(run)
    var counts = counts(scheduler)
    counts.finished += ended.count
    events(.started(run.info, run.reason, counts))
    do throws(QuenchError) {
      try runner.start(
        step, run.command, console: run.info.usesConsole,
        progress: graph.isSet(.progress, of: edge))
    } catch {
      _ = takeRun(step)
      throw error
    }
  }

  private func wait(
    _ scheduler: inout Scheduler, _ events: (BuildEvent) -> Void, _ failure: inout QuenchError?
  ) throws(QuenchError) {
    guard let runner else { preconditionFailure("a command runs without a runner") }
    let isHeldUp = scheduler.hasReady
    if !isHeldUp { tokens?.giveSpareBack() }
    var timeout: Int32 = options.ticks ? 500 : isHeldUp && options.loadLimit != nil ? 1000 : -1
    if !successes.isEmpty {
      let left = Int32(clamping: max(0, settlingTime - cs_monotonic()) / 1_000_000)
      timeout = timeout < 0 ? left : min(timeout, left)
    }
    // Whoever has something to do only asks what else there is.
    if !ended.isEmpty || scheduler.running == 0 { timeout = 0 }
    let happened = runner.wait(timeout: timeout, also: isHeldUp ? tokens?.descriptor ?? -1 : -1)
    if happened.isEmpty, options.ticks, timeout != 0 { events(.tick(counts(scheduler))) }
    for event in happened {
      switch event {
      case .progress(let step, let done, let total, let detail):
        if let run = runs.first(where: { $0.step == step }) {
          events(.progress(run.info, done: done, total: total, detail: detail))
        }
      case .note(let step, let text):
        if let run = runs.first(where: { $0.step == step }) { events(.note(run.info, text)) }
      case .signal(let number):
        signalsSeen += 1
        summary.interrupted = true
        scheduler.stop()
        runner.signal(signalsSeen > 1 ? SIGKILL : number)
      case .notStarted(let step, let error):
        _ = takeRun(step)
        tokens?.ended(step)
        failure = failure ?? error
        scheduler.finished(step, succeeded: false)
        scheduler.stop()
      case .exited(let step, let code, let output, let duration):
        tokens?.ended(step)
        let command = Ended(step: step, code: code, output: output, duration: duration)
        if code == 0, !summary.interrupted, scheduler.mayVacate(step) {
          scheduler.vacate(step)
          ended.append(command)
        } else {
          finish(command, &scheduler, events, &failure)
        }
      }
    }
    if !successes.isEmpty, ended.isEmpty,
      successes.count >= Session.mostSuccesses || cs_monotonic() >= settlingTime
    {
      do throws(QuenchError) {
        try settle(events)
      } catch {
        failure = failure ?? error
        scheduler.stop()
      }
    }
  }

  /// What a step runs, which is not among the runs from now on.
  private func takeRun(_ step: Int) -> Run? {
    guard let index = runs.firstIndex(where: { $0.step == step }) else { return nil }
    // The order does not matter, and the last one is cheap to move.
    runs.swapAt(index, runs.count - 1)
    return runs.removeLast()
  }

  /// So many successes at most wait for their way into the log.
  private static let mostSuccesses = 256

  /// Finds out what came of a command that ended.
  private func finish(
    _ command: Ended, _ scheduler: inout Scheduler, _ events: (BuildEvent) -> Void,
    _ failure: inout QuenchError?
  ) {
    guard let run = takeRun(command.step) else { return }
    finished += 1
    var outcome = EdgeOutcome.interrupted
    do throws(QuenchError) {
      outcome = try files.measured(.finish) { () throws(QuenchError) -> EdgeOutcome in
        try conclude(run, command.code, command.output, command.duration, events)
      }
    } catch {
      failure = failure ?? error
      outcome = .failed(code: 1, message: error.message)
      scheduler.stop()
    }
    scheduler.finished(command.step, succeeded: outcome == .succeeded)
    note(run, outcome, command.duration)
    events(
      .finished(
        run.info, outcome, output: command.output, duration: command.duration, counts(scheduler)))
  }
}

// MARK: - Durations

extension Session {
  /// Tells the scheduler what earlier runs took, and what memory the statements declare.
  private func weigh(_ plan: Plan, _ scheduler: inout Scheduler) throws(QuenchError) {
    let known = plan.steps.map { edge -> Int64 in
      guard !graph.isPhony(edge) else { return 0 }
      return log.record(graph.firstOutput(edge)).map { log.milliseconds($0) } ?? -1
    }
    // What never ran takes as long as others of its rule; behind the rules stands the sum of all.
    let rules = graph.variables.rules.count
    var totals = [Int64](repeating: 0, count: rules + 1)
    var counts = totals
    for (step, duration) in known.enumerated()
    where duration >= 0 && !graph.isPhony(plan.steps[step]) {
      for sum in [Int(graph.ruleOf[Int(plan.steps[step])]), rules] {
        totals[sum] += duration
        counts[sum] += 1
      }
    }
    expected = Column(zeros: graph.edgeCount)
    let durations = known.enumerated().map { step, duration -> Int64 in
      let edge = Int(plan.steps[step])
      if graph.isPhony(plan.steps[step]) { return 0 }
      let rule = Int(graph.ruleOf[edge])
      let sum = counts[rule] > 0 ? rule : rules
      let average = counts[sum] > 0 ? totals[sum] / counts[sum] : 1
      expected[edge] = max(1, duration >= 0 ? duration : average)
      return expected[edge]
    }
    reasons = [Reason](repeating: .neverBuilt, count: plan.steps.count)
    var memory: [Int64] = []
    let bindings = graph.bindings[0..<graph.bindings.count]
    if bindings.contains(where: { $0.name == BuildKey.memory.rawValue }) {
      memory = plan.steps.map { edge in
        graph.own(.memory, of: edge).flatMap { MemorySize.bytes($0) } ?? 0
      }
    }
    scheduler.weigh(
      durations: durations, memory: memory, memoryLimit: options.memoryLimit)
  }

  /// Adds a run to the trace.
  private func note(_ run: Run, _ outcome: EdgeOutcome, _ duration: Duration) {
    switch outcome {
    case .succeeded: note(run, .succeeded, 0, from: run.begun, duration)
    case .failed(let code, _): note(run, .failed, code, from: run.begun, duration)
    case .interrupted: note(run, .interrupted, 130, from: run.begun, duration)
    }
  }

  private func note(
    _ run: Run, _ outcome: BuildTrace.Outcome, _ code: Int32, from start: Int64,
    _ duration: Duration = .zero
  ) {
    let rule = graph.variables.rules[Int(graph.ruleOf[Int(run.edge)])].name
    trace.append(
      BuildTrace.Run(
        output: run.info.output, rule: graph.variables.names.string(rule),
        description: run.info.description, reason: run.reason.description,
        start: Double((start - began) / 1000) / 1000,
        duration: Double(Int64(duration / .microseconds(1))) / 1000, outcome: outcome, code: code))
  }
}
