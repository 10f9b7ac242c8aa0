// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what to do next. Events in, actions out; no files, no processes, no clock.

/// Decides the order of work: a step is examined when all that it needs is done, started when it
/// proved stale and there is room, and done when it proved fresh or its command succeeded.
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
    case done
    case failed
  }

  struct Pool {
    /// 0 means unlimited.
    var depth: Int
    var running = 0
    var delayed = Queue()
  }

  /// First in, first out.
  struct Queue {
    private var items: [Int] = []
    private var head = 0
    var isEmpty: Bool { head == items.count }
    mutating func append(_ item: Int) { items.append(item) }
    mutating func next() -> Int? {
      guard head < items.count else { return nil }
      defer { head += 1 }
      return items[head]
    }
  }

  private let plan: Plan
  private var waiting: [Int32]
  private var states: [State]
  private var toExamine = Queue()
  private var ready = Queue()
  private var pools: [Pool]
  private let poolOf: [Int32]
  private let jobs: Int
  private let failureLimit: Int
  private var isStopped = false

  private(set) var running = 0
  private(set) var failures = 0
  private(set) var succeeded = 0
  private(set) var fresh = 0

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

  /// - Parameter room: how many more commands the machine bears now; at least one always runs.
  mutating func next(room: Int = Int.max) -> Action {
    let mayStart = !isStopped && failures < failureLimit
    if mayStart {
      if let step = toExamine.next() { return .examine(step) }
      if running < jobs, room > 0 || running == 0, let step = ready.next() {
        states[step] = .running
        running += 1
        unreached -= 1
        return .start(step)
      }
    }
    return running > 0 ? .wait : .finish
  }

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
      ready.append(step)
      return
    }
    if pools[pool].running < pools[pool].depth {
      pools[pool].running += 1
      ready.append(step)
    } else {
      pools[pool].delayed.append(step)
    }
  }

  /// A step that cannot run although it should: as if its command had failed.
  mutating func refuse(_ step: Int) {
    states[step] = .failed
    failures += 1
    unreached -= 1
  }

  mutating func finished(_ step: Int, succeeded success: Bool) {
    running -= 1
    let pool = Int(poolOf[step])
    if pool >= 0, pools[pool].depth > 0 {
      pools[pool].running -= 1
      if let next = pools[pool].delayed.next() {
        pools[pool].running += 1
        ready.append(next)
      }
    }
    if success {
      succeeded += 1
      finish(step)
    } else {
      states[step] = .failed
      failures += 1
    }
  }

  /// Starts nothing more; what runs may end.
  mutating func stop() { isStopped = true }

  private mutating func finish(_ step: Int) {
    states[step] = .done
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
