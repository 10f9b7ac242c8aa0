// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BuildEngine

@Suite("The scheduler")
struct SchedulerTests {
  /// A plan from "step needs steps".
  private func plan(_ needs: [[Int]]) -> Plan {
    var plan = Plan()
    plan.steps = needs.indices.map { Int32($0) }
    plan.waiting = needs.map { Int32($0.count) }
    plan.dependentStart = [0]
    for step in needs.indices {
      plan.dependents += needs.indices.filter { needs[$0].contains(step) }.map { Int32($0) }
      plan.dependentStart.append(Int32(plan.dependents.count))
    }
    return plan
  }

  private func scheduler(
    _ needs: [[Int]], pools: [Int32]? = nil, depths: [Int] = [], jobs: Int = 0, limit: Int = 1
  ) -> Scheduler {
    Scheduler(
      plan: plan(needs), poolOf: pools ?? needs.map { _ in -1 }, pools: depths, jobs: jobs,
      failureLimit: limit)
  }

  @Test("a step is examined only when all that it needs is done")
  func order() {
    var s = scheduler([[], [0], [0, 1]])
    #expect(s.next() == .examine(0))
    #expect(s.next() == .finish)
    s.examined(0, isStale: true)
    #expect(s.next() == .start(0))
    #expect(s.next() == .wait)
    s.finished(0, succeeded: true)
    #expect(s.next() == .examine(1))
    s.examined(1, isStale: false)
    #expect(s.next() == .examine(2))
    s.examined(2, isStale: false)
    #expect(s.next() == .finish)
    #expect(s.fresh == 2)
    #expect(s.succeeded == 1)
  }

  @Test("no more commands run than there are jobs")
  func jobs() {
    var s = scheduler([[], [], []], jobs: 2)
    for step in 0..<3 {
      #expect(s.next() == .examine(step))
      s.examined(step, isStale: true)
    }
    #expect(s.next() == .start(0))
    #expect(s.next() == .start(1))
    #expect(s.next() == .wait)
    s.finished(1, succeeded: true)
    #expect(s.next() == .start(2))
  }

  @Test("a pool holds back what exceeds its depth, whatever the jobs")
  func pool() {
    var s = scheduler([[], [], []], pools: [0, 0, -1], depths: [1])
    for step in 0..<3 {
      _ = s.next()
      s.examined(step, isStale: true)
    }
    #expect(s.next() == .start(0))
    #expect(s.next() == .start(2))
    #expect(s.next() == .wait)
    s.finished(0, succeeded: false)
    #expect(s.next() == .wait)
    s.finished(2, succeeded: true)
    #expect(s.next() == .finish)
  }

  @Test("a failing command frees its place in the pool when the build goes on")
  func failingInPool() {
    var s = scheduler([[], []], pools: [0, 0], depths: [1], limit: 0)
    for step in 0..<2 {
      _ = s.next()
      s.examined(step, isStale: true)
    }
    #expect(s.next() == .start(0))
    s.finished(0, succeeded: false)
    #expect(s.next() == .start(1))
  }

  @Test("after a failure nothing new starts, and what depends on it never does")
  func failure() {
    var s = scheduler([[], [0], []], limit: 0)
    _ = s.next()
    s.examined(0, isStale: true)
    _ = s.next()
    s.examined(2, isStale: true)
    #expect(s.next() == .start(0))
    s.finished(0, succeeded: false)
    #expect(s.next() == .start(2))
    s.finished(2, succeeded: true)
    #expect(s.next() == .finish)
    #expect(s.unreached == 1)
  }

  @Test("without room one command runs all the same")
  func room() {
    var s = scheduler([[], []])
    for step in 0..<2 {
      _ = s.next(room: 0)
      s.examined(step, isStale: true)
    }
    #expect(s.next(room: 0) == .start(0))
    #expect(s.next(room: 0) == .wait)
    #expect(s.next(room: 1) == .start(1))
  }

  @Test("after stop only what runs is waited for")
  func stop() {
    var s = scheduler([[], []])
    _ = s.next()
    s.examined(0, isStale: true)
    #expect(s.next() == .examine(1))
    s.examined(1, isStale: true)
    #expect(s.next() == .start(0))
    s.stop()
    #expect(s.next() == .wait)
    s.finished(0, succeeded: true)
    #expect(s.next() == .finish)
    #expect(s.unreached == 1)
  }

  @Test("of what can start, the step with the longest work behind it goes first")
  func criticalPath() {
    // 0 and 1 are short; 1 leads to a long one; 2 is long itself.
    var s = scheduler([[], [], [], [1]], jobs: 1)
    s.weigh(durations: [1, 1, 50, 100])
    for step in 0..<3 {
      #expect(s.next() == .examine(step))
      s.examined(step, isStale: true)
    }
    #expect(s.workLeft == 152)
    #expect(s.next() == .start(1))
    s.finished(1, succeeded: true)
    #expect(s.next() == .examine(3))
    s.examined(3, isStale: true)
    #expect(s.next() == .start(3))
    s.finished(3, succeeded: true)
    #expect(s.next() == .start(2))
    s.finished(2, succeeded: true)
    #expect(s.next() == .start(0))
    s.finished(0, succeeded: true)
    #expect(s.workLeft == 0)
  }

  @Test("equal steps start in the order of the manifest; waiting in a pool keeps to weights")
  func ties() {
    var s = scheduler([[], [], []], pools: [0, 0, 0], depths: [1], jobs: 0)
    s.weigh(durations: [5, 5, 9])
    for step in 0..<3 {
      #expect(s.next() == .examine(step))
      s.examined(step, isStale: true)
    }
    #expect(s.next() == .start(0))
    #expect(s.next() == .wait)
    s.finished(0, succeeded: true)
    #expect(s.next() == .start(2))
    s.finished(2, succeeded: true)
    #expect(s.next() == .start(1))
  }

  @Test("declared memory stays under the limit; what is larger than the limit runs alone")
  func memory() {
    var s = scheduler([[], [], [], []])
    s.weigh(durations: [4, 3, 2, 1], memory: [6, 6, 0, 20], memoryLimit: 10)
    for step in 0..<4 {
      #expect(s.next() == .examine(step))
      s.examined(step, isStale: true)
    }
    #expect(s.next() == .start(0))
    // 1 does not fit; 2 needs nothing; 3 may not overtake 1.
    #expect(s.next() == .start(2))
    #expect(s.next() == .wait)
    s.finished(0, succeeded: true)
    #expect(s.next() == .start(1))
    #expect(s.next() == .wait)
    s.finished(1, succeeded: false)
    #expect(s.next() == .wait)
    s.finished(2, succeeded: true)
    #expect(s.next() == .finish)
    var alone = scheduler([[]])
    alone.weigh(durations: [1], memory: [20], memoryLimit: 10)
    #expect(alone.next() == .examine(0))
    alone.examined(0, isStale: true)
    #expect(alone.next() == .start(0))
  }

  @Test("random steps: weights are taken largest first")
  func heap() {
    var queue = WeightedQueue()
    var state: UInt64 = 1
    var weights: [Int64] = []
    for step in 0..<500 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      weights.append(Int64(state >> 60))
      queue.append(step, weights[step])
    }
    var previous = (weight: Int64.max, step: -1)
    while let step = queue.next() {
      let weight = weights[step]
      #expect(weight < previous.weight || (weight == previous.weight && step > previous.step))
      previous = (weight, step)
    }
  }

  @Test(
    "sizes",
    arguments: [
      ("2G", 2 << 30), ("512M", 512 << 20), ("1.5GiB", 3 << 29), ("4096", 4096), ("1 kB", 1024),
      ("much", nil), ("", nil), ("-1", nil),
    ] as [(String, Int64?)])
  func sizes(_ text: String, _ bytes: Int64?) { #expect(MemorySize.bytes(text) == bytes) }
}
