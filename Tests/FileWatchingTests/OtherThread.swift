// SPDX-License-Identifier: Apache-2.0
// FileWatchingTests: something that happens while a test waits.

import Glibc

/// A thread of its own: tasks would wait for a test that blocks the shared ones.
final class OtherThread {
  private final class Work {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  private var thread = pthread_t()

  /// Starts it.
  init(_ body: @escaping @Sendable () -> Void) {
    let work = Unmanaged.passRetained(Work(body)).toOpaque()
    let status = pthread_create(
      &thread, nil,
      { argument in
        if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body() }
        return nil
      }, work)
    precondition(status == 0, "cannot start a thread")
  }

  /// Waits for its end.
  func join() { pthread_join(thread, nil) }
}
