// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Finetuning

@Suite("Schedules")
struct ScheduleTests {
  @Test("a constant rate is constant, after a warm-up that rises in equal parts")
  func constant() {
    let rate = LearningRate(peak: 0.5, warmUpSteps: 4, course: .constant)
    #expect((0..<6).map { rate.rate(at: $0, of: 6) } == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5])
  }

  @Test("steps multiply the rate at their shares of the run")
  func steps() {
    let rate = LearningRate(peak: 1, course: .steps(at: [0.5, 0.8], factor: 0.5))
    #expect(
      (0..<10).map { rate.rate(at: $0, of: 10) } == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25])
  }

  @Test("the cosine starts at the peak, halves in the middle and ends near zero")
  func cosine() {
    let rate = LearningRate(peak: 2, course: .cosine)
    #expect(rate.rate(at: 0, of: 100) == 2)
    #expect(abs(rate.rate(at: 50, of: 100) - 1) < 1e-12)
    #expect(rate.rate(at: 99, of: 100) < 0.001)
    let all = (0..<100).map { rate.rate(at: $0, of: 100) }
    #expect(all == all.sorted(by: >))
  }

  @Test("constant then cosine does not depend on the length before it descends")
  func constantThenCosine() {
    let rate = LearningRate(peak: 1, course: .constantThenCosine(from: 0.8))
    #expect((0..<80).allSatisfy { rate.rate(at: $0, of: 100) == 1 })
    let tail = (80..<100).map { rate.rate(at: $0, of: 100) }
    #expect(tail == tail.sorted(by: >))
    #expect(tail[0] < 1 && tail[19] > 0 && tail[19] < 0.05)
  }

  @Test("scales are frozen for 80 % of the steps, then learn at a tenth")
  func release() {
    let schedule = ScaleSchedule()
    #expect(schedule.releaseStep(of: 1000) == 800)
    #expect(schedule.factor(at: 799, of: 1000) == 0)
    // A pure function: a run resumed at any later step finds them released.
    #expect((800..<1000).allSatisfy { schedule.factor(at: $0, of: 1000) == 0.1 })
    #expect(ScaleSchedule(releaseShare: 1).factor(at: 999, of: 1000) == 0)
    #expect(ScaleSchedule(releaseShare: 0).factor(at: 0, of: 1000) == 0.1)
  }

  @Test("runs of two lengths agree up to where the first of them leaves the common course")
  func agreement() {
    let settings = TrainingSettings.automatic
    #expect(settings.branchStep(of: 100) == 80)
    #expect(settings.agree(before: 80, totals: 100, 500))
    #expect(!settings.agree(before: 81, totals: 100, 500))
    #expect(settings.agree(before: 100, totals: 100, 100))
    #expect(!settings.agree(before: 81, totals: 500, 100))
    var cosine = settings
    cosine.rate.course = .cosine
    #expect(cosine.branchStep(of: 100) == 0)
    #expect(!cosine.agree(before: 80, totals: 100, 500))
    #expect(TrainingSettings.article.branchStep(of: 100) == 80)
  }

  @Test("the history tells swing and final change, by the channel that moved most")
  func history() {
    var history = ScaleHistory(names: ["a", "b"])
    history.record(step: 100, scales: [([1, 2], [1, 2]), ([4], [4])])
    history.record(step: 200, scales: [([1, 2], [1.25, 1]), ([4], [4])])
    history.record(step: 300, scales: [([1, 2], [1, 2]), ([4], [3])])
    #expect(history.changes == [[0, 0], [-0.5, 0], [0, -0.25]])
    #expect(history.largestSwing == 0.5)
    #expect(history.finalChange == 0.25)
    history.record(step: 300, scales: [([1, 2], [1, 2]), ([4], [4])])
    #expect(history.steps == [100, 200, 300])
    #expect(history.finalChange == 0)
  }
}
