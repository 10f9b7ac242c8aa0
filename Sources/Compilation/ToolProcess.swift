// SPDX-License-Identifier: Apache-2.0
// Compilation: one child process, its output captured.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// A tool run to its end.
struct ToolProcess {
  /// What it printed on standard output and standard error, in the order printed.
  let output: [UInt8]
  /// Its exit status, or 128 plus the signal that ended it, as shells count.
  let status: Int32

  /// Runs a program without a shell.
  ///
  /// - Parameters:
  ///   - program: its path, absolute when `directory` is given.
  ///   - directory: where it runs; nil for here.
  ///   - onOutput: gets each piece of output as it arrives.
  /// - Throws: `.unavailable` when it cannot be started.
  static func run(
    _ program: String, _ arguments: [String], environment: [String: String], directory: String?,
    onOutput: (ArraySlice<UInt8>) -> Void
  ) throws(QuenchError) -> ToolProcess {
    var pipe: [Int32] = [-1, -1]
    guard cs_pipe_cloexec(&pipe) == 0 else { throw cannot("make a pipe", errno) }
    let (readEnd, writeEnd) = (pipe[0], pipe[1])
    defer { close(readEnd) }

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, writeEnd, 1)
    posix_spawn_file_actions_adddup2(&actions, writeEnd, 2)
    if let directory { cs_spawn_chdir(&actions, directory) }

    // The child starts with no signal blocked, whatever this process does with signals.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    var defaults = sigset_t()
    sigemptyset(&defaults)
    sigaddset(&defaults, SIGPIPE)
    sigaddset(&defaults, SIGINT)
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF))

    let variables = environment.map { "\($0.key)=\($0.value)" }.sorted()
    var child: pid_t = 0
    let failure = withStrings([program] + arguments) { argv in
      withStrings(variables) { envp in
        posix_spawn(&child, program, &actions, &attributes, argv, envp)
      }
    }
    close(writeEnd)
    guard failure == 0 else { throw cannot("run \"\(program)\"", failure) }
    let output = drain(readEnd, onOutput)
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    // The macros of wait.h in their one known form on Linux.
    let signal = status & 0x7f
    return ToolProcess(output: output, status: signal == 0 ? (status >> 8) & 0xff : 128 + signal)
  }

  private static func drain(
    _ descriptor: Int32, _ onOutput: (ArraySlice<UInt8>) -> Void
  ) -> [UInt8] {
    var output: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 14)
    while true {
      let count = read(descriptor, &piece, piece.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return output }
      output += piece[..<count]
      onOutput(piece[..<count])
    }
  }

  private static func cannot(_ what: String, _ code: Int32) -> QuenchError {
    QuenchError(.unavailable, "cannot \(what): \(String(cString: strerror(code)))")
  }
}

/// Lends C strings, with the nil that ends the list.
private func withStrings<R>(
  _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R
) -> R {
  let copies = strings.map { strdup($0) }
  defer { for copy in copies { free(copy) } }
  return body(copies + [nil])
}
