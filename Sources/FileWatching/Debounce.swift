// SPDX-License-Identifier: Apache-2.0
// FileWatching: when a burst of changes is over. Pure: time is an argument.

/// Gathers changed paths until no more come.
///
/// A change after a time of rest is answered almost at once; a burst is over when nothing has come
/// for the quiet time, or when it has lasted too long to wait for. A file that was created and
/// not closed yet is held back, since half a file is of no use to anybody; but not for ever, since
/// a hard link is also created and never closed.
///
/// The states, by what is held: *idle* (nothing), *settling* (`changed` or `overflow`, since
/// `first`), *holding* (only `open`, each since its own moment).
struct Debounce {
  /// How a path stands after an event.
  enum Condition {
    /// Written and closed, gone, renamed, linked, or a directory.
    case complete
    /// A regular file that somebody has just created and may still be writing.
    case open
  }

  /// Rest before a change that makes it a single one rather than part of a burst.
  static let rest = Duration.milliseconds(500)
  /// Quiet time after a single change.
  static let quick = Duration.milliseconds(5)
  /// Events of one save come within this time; what comes later makes a burst of it.
  static let together = Duration.milliseconds(3)
  /// Longest wait for a burst to end, from its first event.
  static let cap = Duration.milliseconds(500)
  /// How long an open file is held after it was last seen to grow.
  static let hold = Duration.seconds(2)

  /// Quiet time that ends a burst.
  var quiet = Duration.milliseconds(20)

  private var changed: Set<String> = []
  private var open: [String: Duration] = [:]
  private var overflow = false
  private var first: Duration?
  private var last: Duration?
  private var isBurst = false

  /// Notes an event for a path at a moment; moments never go back.
  mutating func note(_ path: String, _ condition: Condition = .complete, at now: Duration) {
    switch condition {
    case .complete:
      open[path] = nil
      changed.insert(path)
      extend(at: now)
    case .open:
      changed.remove(path)
      open[path] = now
      // What is already settling waits for this file as well, within its cap.
      if first != nil { extend(at: now) }
    }
  }

  /// Notes that events were lost.
  mutating func noteOverflow(at now: Duration) {
    overflow = true
    extend(at: now)
  }

  private mutating func extend(at now: Duration) {
    if let first {
      if now - first > Debounce.together { isBurst = true }
    } else {
      first = now
      isBurst = last.map { now - $0 < Debounce.rest } ?? false
    }
    last = now
  }

  /// When to call `settle` next; nil while there is nothing to wait for.
  var deadline: Duration? {
    if let first, let last {
      // A quiet time beyond the cap is the caller's wish.
      let end = first + max(Debounce.cap, quiet)
      guard open.isEmpty else { return end }
      return min(last + (isBurst ? quiet : min(quiet, Debounce.quick)), end)
    }
    return open.values.min().map { $0 + Debounce.hold }
  }

  /// Open files whose time is over; those that have grown should be noted again before `settle`.
  func expired(at now: Duration) -> [String] {
    open.filter { $0.value + Debounce.hold <= now }.map(\.key)
  }

  /// The batch that is complete at this moment, if one is.
  mutating func settle(at now: Duration) -> ChangeBatch? {
    guard let deadline, deadline <= now else { return nil }
    for path in expired(at: now) {
      open[path] = nil
      changed.insert(path)
    }
    let batch = ChangeBatch(
      paths: changed.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }, overflow: overflow)
    changed = []
    overflow = false
    first = nil
    isBurst = false
    return batch.paths.isEmpty && !batch.overflow ? nil : batch
  }
}
