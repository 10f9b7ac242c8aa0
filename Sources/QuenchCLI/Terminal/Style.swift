// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: what the terminal can do, decided once.

internal import Glibc

/// Whether a stream is a terminal, and whether it may be coloured.
///
/// `NO_COLOR` (any non-empty value) and `TERM=dumb` are obeyed; colour never carries meaning alone.
struct Style: Sendable {
  /// The stream can redraw a line.
  let isTerminal: Bool
  /// The stream takes colour.
  let isColored: Bool

  static let output = Style(descriptor: STDOUT_FILENO)
  static let error = Style(descriptor: STDERR_FILENO)

  init(descriptor: Int32) {
    let dumb = Style.environment("TERM") == "dumb"
    isTerminal = isatty(descriptor) == 1 && !dumb
    isColored = isTerminal && (Style.environment("NO_COLOR") ?? "").isEmpty
  }

  func bold(_ text: String) -> String { isColored ? "\u{1B}[1m\(text)\u{1B}[0m" : text }
  func red(_ text: String) -> String { isColored ? "\u{1B}[31m\(text)\u{1B}[0m" : text }
  func yellow(_ text: String) -> String { isColored ? "\u{1B}[33m\(text)\u{1B}[0m" : text }
  func dim(_ text: String) -> String { isColored ? "\u{1B}[2m\(text)\u{1B}[0m" : text }

  static func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }
}

/// Writing to the two standard streams. Whole texts go out in as few writes as the kernel allows.
enum Terminal {
  static func print(_ text: String) { write(STDOUT_FILENO, text + "\n") }

  static func note(_ text: String) { write(STDERR_FILENO, text + "\n") }

  static func warn(_ text: String) {
    note("quench: " + Style.error.yellow("warning:") + " " + text)
  }

  static func write(_ descriptor: Int32, _ text: String) {
    write(descriptor, Array(text.utf8))
  }

  static func write(_ descriptor: Int32, _ bytes: [UInt8]) {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent)
      }
      if count < 0, errno == EINTR { continue }
      // Nobody reads any more (a closed pipe): there is no one left to tell.
      guard count > 0 else { return }
      sent += count
    }
  }

  /// Columns of the terminal, 80 where unknown.
  static var width: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }
}
