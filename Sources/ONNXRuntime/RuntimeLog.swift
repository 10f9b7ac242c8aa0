// SPDX-License-Identifier: Apache-2.0
// ONNXRuntime: its log lines are kept, never printed: the build's output is not theirs.

internal import COnnxRuntime
internal import Synchronization

/// Receives the library's log.
enum RuntimeLog {
  /// "Error": warnings about every model would drown what matters.
  static let severity: Int32 = 3

  /// Guards the kept lines; the library logs from threads of its own.
  private static let kept = Mutex<[String]>([])

  static var lines: [String] { kept.withLock { $0 } }

  static let callback: cort_logger = { _, severity, _, _, _, message in
    guard severity >= RuntimeLog.severity, let message else { return }
    let line = String(cString: message)
    RuntimeLog.kept.withLock { lines in
      if lines.count == 32 { lines.removeFirst() }
      lines.append(line)
    }
  }
}
