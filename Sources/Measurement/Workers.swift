// SPDX-License-Identifier: Apache-2.0
// Measurement: plain threads for work that blocks.

internal import Glibc

/// Threads that run the same work side by side.
///
/// Model runs block for tens of milliseconds, so they do not run on Swift's shared pool.
enum Workers {
  /// The processors that are on line.
  static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

  /// Runs `body` with 0..<count, each on a thread of its own, and waits for all.
  ///
  /// The calling thread is one of them, so that one worker makes no thread.
  static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    precondition(count > 0, "at least one worker")
    var threads: [pthread_t] = []
    for index in 1..<max(1, count) {
      var thread = pthread_t()
      let start = Unmanaged.passRetained(Start(index, body))
      let failure = pthread_create(
        &thread, nil,
        { pointer in
          guard let pointer else { return nil }
          let start = Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
          start.body(start.index)
          return nil
        }, start.toOpaque())
      if failure == 0 {
        threads.append(thread)
      } else {
        // The others take the work over: work is pulled, not dealt out.
        start.release()
      }
    }
    body(0)
    for thread in threads { pthread_join(thread, nil) }
  }

  private final class Start: Sendable {
    let index: Int
    let body: @Sendable (Int) -> Void

    init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
      self.index = index
      self.body = body
    }
  }
}
