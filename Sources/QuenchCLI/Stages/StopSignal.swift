// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: a signal that asks to stop, for work that wants to keep what it has first.

internal import Glibc
internal import Synchronization

/// SIGINT, SIGTERM and SIGHUP as a question. The second signal ends the process as it always does.
enum StopSignal {
  private static let flag = Atomic(false)
  nonisolated(unsafe) private static var isAwaited = false

  /// Whether one has come since it was awaited.
  static var hasCome: Bool { flag.load(ordering: .relaxed) }

  /// From now on a signal does not end the process; more than one call is one. Call it from one
  /// thread.
  static func awaited() {
    guard !isAwaited else { return }
    isAwaited = true
    // A first look, so that the handler finds the flag made.
    _ = hasCome
    for number in [SIGINT, SIGTERM, SIGHUP] {
      var before = sigaction()
      // Who started us decides that a signal does not count (nohup, a shell's background jobs).
      guard sigaction(number, nil, &before) == 0, !isIgnored(before) else { continue }
      var action = sigaction()
      action.__sigaction_handler.sa_handler = { _ in
        StopSignal.flag.store(true, ordering: .relaxed)
      }
      action.sa_flags = SA_RESTART | CInt(bitPattern: UInt32(SA_RESETHAND))
      sigaction(number, &action, nil)
    }
  }

  private static func isIgnored(_ action: sigaction) -> Bool {
    unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      == unsafeBitCast(SIG_IGN, to: Int.self)
  }
}
