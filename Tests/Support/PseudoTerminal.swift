// SPDX-License-Identifier: Apache-2.0
// TestSupport: a terminal without a screen, to see what programs show people.

public import Glibc

/// A pseudo-terminal, 200 columns wide.
public final class PseudoTerminal {
  /// The path that a child opens as its standard streams.
  public let path: String
  private let master: Int32
  /// Kept open, so that the first child's end does not end the terminal.
  private let slave: Int32

  /// TIOCSPTLCK and TIOCGPTN of Linux's <asm-generic/ioctls.h>.
  private static let setLock: UInt = 0x4004_5431
  private static let getNumber: UInt = 0x8004_5430

  /// Opens one.
  public init() throws {
    // The calls of <stdlib.h> for this are hidden by Glibc's module: these are what they do.
    master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
    var unlocked: Int32 = 0
    var number: UInt32 = 0
    guard master >= 0, ioctl(master, PseudoTerminal.setLock, &unlocked) == 0,
      ioctl(master, PseudoTerminal.getNumber, &number) == 0
    else { throw Child.Failure.spawn(errno) }
    path = "/dev/pts/\(number)"
    slave = open(path, O_RDWR | O_NOCTTY)
    var size = winsize(ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0)
    _ = ioctl(slave, UInt(TIOCSWINSZ), &size)
    _ = fcntl(master, F_SETFL, O_NONBLOCK)
  }

  deinit {
    close(master)
    close(slave)
  }

  /// Reads what a child shows until it ends.
  ///
  /// - Returns: its exit status, and all that it showed.
  /// - Throws: `.timeout` after killing it.
  public func follow(
    _ child: pid_t, limitSeconds: Int = 300
  ) throws -> (status: Int32, text: String) {
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    func drain() {
      while case let count = read(master, &piece, piece.count), count > 0 {
        bytes += piece[..<count]
      }
    }
    for _ in 0..<(limitSeconds * 200) {
      drain()
      var status: Int32 = 0
      if waitpid(child, &status, WNOHANG) == child {
        drain()
        let code = status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
        return (code, String(decoding: bytes, as: UTF8.self))
      }
      usleep(5000)
    }
    kill(child, SIGKILL)
    var status: Int32 = 0
    waitpid(child, &status, 0)
    throw Child.Failure.timeout("process \(child)")
  }
}
