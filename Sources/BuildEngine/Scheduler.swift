// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what to do next. Events in, actions out; no files, no processes, no clock.

/// Decides the order of work: a step is examined when all that it needs is done, started when it
/// proved stale and there is room, and done when it proved fresh or its command succeeded. Of the
/// steps that could start, the one with the longest chain of work behind it goes first.
struct Scheduler {
  /// What the caller is to do next.
  enum Action: Equatable {
    /// Decide whether the step is stale, then call `examined`.
    case examine(Int)
    /// Run the step's command, then call `finished`.
    case start(Int)
    /// Wait for a command to end.
    case wait
    /// Nothing is left to do, or nothing more can be done.
    case finish
  }

  /// What each step is waiting for.
  enum State: UInt8 {
    /// For steps that it needs.
    case blocked
    /// To be examined.
    case examining
    /// For room.
    case ready
    case running
    /// Ended, and its place given to others; what came of it is not known yet.
    case ended
    case done
    case failed
  }

  struct Pool {
    /// 0 means unlimited.
    var depth: Int
    var running = 0
    var delayed = WeightedQueue()
  }

  private let plan: Plan
  private var waiting: [Int32]
  private var states: [State]
  private var toExamine = Queue()
  private var ready = WeightedQueue()
  private var pools: [Pool]
  private let poolOf: [Int32]
  private let jobs: Int
  private let failureLimit: Int
  private var isStopped = false
  /// Milliseconds of work from a step to the end of the build, itself included; empty until known.
  private var weights: [Int64] = []
  private var durations: [Int64] = []
  private var memory: [Int64] = []
  private var memoryLimit = Int64.max
  private var memoryInUse: Int64 = 0

  private(set) var running = 0
  private var ended = 0
  private(set) var failures = 0
  private(set) var succeeded = 0
  private(set) var fresh = 0
  /// Milliseconds that the steps which are not done took last time.
  private(set) var workLeft: Int64 = 0
  /// Steps that wait for room.
  private(set) var readyCount = 0

  /// - Parameters:
  ///   - poolOf: the pool of each step, -1 for none.
  ///   - pools: depths of the pools.
  ///   - jobs: commands at once, 0 without limit.
  ///   - failureLimit: failures that stop the build, 0 never.
  init(plan: Plan, poolOf: [Int32], pools: [Int], jobs: Int, failureLimit: Int) {
    self.plan = plan
    self.poolOf = poolOf
    self.pools = pools.map { Pool(depth: $0) }
    self.jobs = jobs <= 0 ? Int.max : jobs
    self.failureLimit = failureLimit <= 0 ? Int.max : failureLimit
    waiting = plan.waiting
    states = [State](repeating: .blocked, count: plan.steps.count)
    unreached = plan.steps.count
    for step in states.indices where waiting[step] == 0 {
      states[step] = .examining
      toExamine.append(step)
    }
  }

  func state(_ step: Int) -> State { states[step] }

  /// Steps that were never reached because something they need failed or the build stopped.
  private(set) var unreached: Int

  /// Whether `weigh` has been called.
  var isWeighed: Bool { !weights.isEmpty }

  /// Whether a step waits for room.
  var hasReady: Bool { readyCount > 0 && !isStopped && failures < failureLimit }

  /// Tells how long each step takes, as far as is known, and how much memory.
  ///
  /// - Parameters:
  ///   - durations: milliseconds by step.
  ///   - memory: bytes by step; empty when no step says anything.
  ///   - memoryLimit: what the running steps may declare together.
  mutating func weigh(durations: [Int64], memory: [Int64] = [], memoryLimit: Int64 = Int64.max) {
    self.durations = durations
    self.memory = memory
    self.memoryLimit = memoryLimit
    weights = durations
    // Steps stand after all that they need, so whoever waits for a step stands behind it.
    for step in weights.indices.reversed() {
      var longest: Int64 = 0
      for index in plan.dependentStart[step]..<plan.dependentStart[step + 1] {
        longest = max(longest, weights[Int(plan.dependents[Int(index)])])
      }
      weights[step] += longest
      if states[step] != .done { workLeft += durations[step] }
    }
  }

  /// - Parameter room: how many more commands the machine bears now; at least one always runs.
  mutating func next(room: Int = Int.max) -> Action {
    let mayStart = !isStopped && failures < failureLimit
    if mayStart {
      if let step = toExamine.next() { return .examine(step) }
      if running < jobs, room > 0 || running == 0, let step = takeReady() {
        states[step] = .running
        running += 1
        unreached -= 1
        readyCount -= 1
        return .start(step)
      }
    }
    return running > 0 || ended > 0 ? .wait : .finish
  }

  /// The heaviest step that fits. Steps that declare memory keep their order among themselves, so
  /// that small ones cannot hold up a big one for ever.
  private mutating func takeReady() -> Int? {
    guard !memory.isEmpty else { return ready.next() }
    var held: [Int] = []
    defer { for step in held { ready.append(step, weight(step)) } }
    while let step = ready.next() {
      let size = memory[step]
      if size == 0 { return step }
      if held.isEmpty, memoryInUse == 0 || memoryInUse + size <= memoryLimit {
        memoryInUse += size
        return step
      }
      held.append(step)
    }
    return nil
  }

  private func weight(_ step: Int) -> Int64 { weights.isEmpty ? 0 : weights[step] }

  mutating func examined(_ step: Int, isStale: Bool) {
    guard isStale else {
      fresh += 1
      unreached -= 1
      finish(step)
      return
    }
    states[step] = .ready
    let pool = Int(poolOf[step])
    guard pool >= 0, pools[pool].depth > 0 else {
      makeReady(step)
      return
    }
    if pools[pool].running < pools[pool].depth {
      pools[pool].running += 1
      makeReady(step)
    } else {
      pools[pool].delayed.append(step, weight(step))
    }
  }

  private mutating func makeReady(_ step: Int) {
    ready.append(step, weight(step))
    readyCount += 1
  }

  /// A step that cannot run although it should: as if its command had failed.
  mutating func refuse(_ step: Int) {
    failures += 1
    failedBefore(step)
  }

  /// A step whose failure has been counted before.
  mutating func failedBefore(_ step: Int) {
    states[step] = .failed
    unreached -= 1
    if isWeighed { workLeft -= durations[step] }
  }

  /// A step that was started and needs no command after all: its outputs were found elsewhere.
  mutating func restored(_ step: Int) {
    release(step)
    fresh += 1
    finish(step)
  }

  /// Whether another command may start as soon as this step's has ended, before it is known what
  /// came of it. Not where commands run one at a time.
  func mayVacate(_ step: Int) -> Bool {
    let pool = Int(poolOf[step])
    return jobs > 1 && memory.isEmpty && hasReady && (pool < 0 || pools[pool].depth == 0)
  }

  /// Gives a step's place to others; `finished` follows.
  mutating func vacate(_ step: Int) {
    release(step)
    states[step] = .ended
    ended += 1
  }

  mutating func finished(_ step: Int, succeeded success: Bool) {
    if states[step] == .ended { ended -= 1 } else { release(step) }
    if success {
      succeeded += 1
      finish(step)
    } else {
      states[step] = .failed
      failures += 1
      if isWeighed { workLeft -= durations[step] }
    }
  }

  /// Gives back what a running step held.
  private mutating func release(_ step: Int) {
    running -= 1
    if !memory.isEmpty { memoryInUse -= memory[step] }
    let pool = Int(poolOf[step])
    guard pool >= 0, pools[pool].depth > 0 else { return }
    pools[pool].running -= 1
    if let next = pools[pool].delayed.next() {
      pools[pool].running += 1
      makeReady(next)
    }
  }

  /// Starts nothing more; what runs may end.
  mutating func stop() { isStopped = true }

  private mutating func finish(_ step: Int) {
    states[step] = .done
    if isWeighed { workLeft -= durations[step] }
    for index in plan.dependentStart[step]..<plan.dependentStart[step + 1] {
      let dependent = Int(plan.dependents[Int(index)])
      waiting[dependent] -= 1
      if waiting[dependent] == 0 {
        states[dependent] = .examining
        toExamine.append(dependent)
      }
    }
  }
}
