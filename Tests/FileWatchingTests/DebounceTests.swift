// SPDX-License-Identifier: Apache-2.0
// FileWatchingTests: when a burst of changes is over, with a clock moved by hand.

import Testing

@testable import FileWatching

@Suite("debounce")
struct DebounceTests {
  /// A moment, in milliseconds from the start.
  private func at(_ milliseconds: Int) -> Duration { .milliseconds(milliseconds) }

  @Test("with nothing noted there is nothing to wait for")
  func idle() {
    var debounce = Debounce()
    #expect(debounce.deadline == nil)
    #expect(debounce.settle(at: at(10_000)) == nil)
  }

  @Test("a single change after a rest is reported after 5 ms")
  func single() {
    var debounce = Debounce()
    debounce.note("a", at: at(1_000))
    #expect(debounce.deadline == at(1_005))
    #expect(debounce.settle(at: at(1_004)) == nil)
    #expect(debounce.settle(at: at(1_005)) == ChangeBatch(paths: ["a"]))
    #expect(debounce.deadline == nil)
  }

  @Test("the events of one save count as a single change")
  func oneSave() {
    var debounce = Debounce()
    debounce.note("a~", at: at(0))
    debounce.note("a", at: at(2))
    #expect(debounce.deadline == at(7))
  }

  @Test("a burst is over after the quiet time, which each event starts anew")
  func burst() {
    var debounce = Debounce()
    debounce.note("b", at: at(0))
    debounce.note("a", at: at(4))
    #expect(debounce.deadline == at(24))
    debounce.note("c", at: at(23))
    #expect(debounce.settle(at: at(42)) == nil)
    #expect(debounce.settle(at: at(43)) == ChangeBatch(paths: ["a", "b", "c"]))
  }

  @Test("a change soon after a batch belongs to a burst")
  func soonAfter() {
    var debounce = Debounce()
    debounce.note("a", at: at(0))
    #expect(debounce.settle(at: at(5)) != nil)
    debounce.note("a", at: at(300))
    #expect(debounce.deadline == at(320))
    #expect(debounce.settle(at: at(320)) != nil)
    debounce.note("a", at: at(800))
    #expect(debounce.deadline == at(805))
  }

  @Test("a burst that does not end is cut 500 ms after its first event")
  func endless() {
    var debounce = Debounce()
    for moment in stride(from: 0, to: 500, by: 10) {
      debounce.note("a\(moment)", at: at(moment))
      #expect(debounce.settle(at: at(moment)) == nil)
    }
    #expect(debounce.deadline == at(500))
    #expect(debounce.settle(at: at(500))?.paths.count == 50)
  }

  @Test("the quiet time of the caller is obeyed, also when it is shorter than 5 ms")
  func quietTime() {
    var debounce = Debounce()
    debounce.quiet = .zero
    debounce.note("a", at: at(0))
    #expect(debounce.deadline == at(0))
    debounce.quiet = .milliseconds(100)
    debounce.note("b", at: at(20))
    #expect(debounce.deadline == at(120))
    debounce.quiet = .milliseconds(800)
    #expect(debounce.deadline == at(800))
  }

  @Test("a path that changed often is told once")
  func once() {
    var debounce = Debounce()
    for moment in 0..<5 { debounce.note("a", at: at(moment)) }
    #expect(debounce.settle(at: at(100)) == ChangeBatch(paths: ["a"]))
  }

  @Test("a created file is held back until it is closed, then reported at once")
  func openFile() {
    var debounce = Debounce()
    debounce.note("big", .open, at: at(0))
    #expect(debounce.settle(at: at(1_500)) == nil)
    debounce.note("big", at: at(1_500))
    #expect(debounce.settle(at: at(1_505)) == ChangeBatch(paths: ["big"]))
  }

  @Test("a file that is created and closed together costs no waiting")
  func createdAndClosed() {
    var debounce = Debounce()
    debounce.note("small", .open, at: at(0))
    debounce.note("small", at: at(1))
    #expect(debounce.settle(at: at(6)) == ChangeBatch(paths: ["small"]))
  }

  @Test("other changes wait for an open file no longer than the cap, and go without it")
  func othersGo() {
    var debounce = Debounce()
    debounce.note("a", at: at(0))
    debounce.note("big", .open, at: at(1))
    #expect(debounce.deadline == at(500))
    #expect(debounce.settle(at: at(500)) == ChangeBatch(paths: ["a"]))
    debounce.note("big", at: at(700))
    #expect(debounce.settle(at: at(720)) == ChangeBatch(paths: ["big"]))
  }

  @Test("a file that is never closed is reported two seconds after it last grew")
  func neverClosed() {
    var debounce = Debounce()
    debounce.note("link", .open, at: at(0))
    #expect(debounce.deadline == at(2_000))
    #expect(debounce.expired(at: at(1_999)).isEmpty)
    #expect(debounce.expired(at: at(2_000)) == ["link"])
    debounce.note("link", .open, at: at(2_000))
    #expect(debounce.settle(at: at(2_000)) == nil)
    #expect(debounce.settle(at: at(4_000)) == ChangeBatch(paths: ["link"]))
    #expect(debounce.deadline == nil)
  }

  @Test("an open file that is removed is reported as any change")
  func removedWhileOpen() {
    var debounce = Debounce()
    debounce.note("a", .open, at: at(0))
    debounce.note("a", at: at(10))
    #expect(debounce.settle(at: at(15)) == ChangeBatch(paths: ["a"]))
  }

  @Test("lost events make a batch of their own, even without a path")
  func overflow() {
    var debounce = Debounce()
    debounce.noteOverflow(at: at(0))
    #expect(debounce.settle(at: at(5)) == ChangeBatch(paths: [], overflow: true))
    debounce.note("a", at: at(1_000))
    #expect(debounce.settle(at: at(1_005)) == ChangeBatch(paths: ["a"]))
  }
}
