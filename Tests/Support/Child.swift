// SPDX-License-Identifier: Apache-2.0
// TestSupport: a child process that a test waits for.

public import Glibc

/// Runs programs with a clean signal mask. (Foundation's Process hands the mask of its own threads
/// on, in which SIGCHLD is blocked; CMake then waits for ever.)
public enum Child {
  /// Why a child gave no exit status.
  public enum Failure: Error {
    /// posix_spawn's error.
    case spawn(Int32)
    /// It ran longer than the limit and was killed.
    case timeout(String)
  }

  /// Runs a program to its end.
  ///
  /// - Returns: the exit status, or 128 + n after signal n.
  public static func run(
    _ program: String, _ arguments: [String], in directory: String,
    environment: [String: String], output: String, errors: String, limitSeconds: Int = 300
  ) throws -> Int32 {
    let child = try start(
      program, arguments, in: directory, environment: environment, output: output, errors: errors)
    return try wait(child, limitSeconds: limitSeconds)
  }

  /// Waits for a child.
  ///
  /// - Returns: the exit status, or 128 + n after signal n.
  /// - Throws: `.timeout` after killing it.
  public static func wait(_ child: pid_t, limitSeconds: Int = 300) throws -> Int32 {
    var status: Int32 = 0
    for _ in 0..<(limitSeconds * 200) {
      if waitpid(child, &status, WNOHANG) == child {
        return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
      }
      usleep(5000)
    }
    kill(child, SIGKILL)
    waitpid(child, &status, 0)
    throw Failure.timeout("process \(child)")
  }

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - output: the file that gets standard output; `errors` likewise, and both may be the same.
  ///     Files, not pipes: nothing has to be drained, so nothing can block.
  public static func start(
    _ program: String, _ arguments: [String], in directory: String,
    environment: [String: String], output: String, errors: String
  ) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o644)
    posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o644)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var mask = sigset_t()
    sigemptyset(&mask)
    posix_spawnattr_setsigmask(&attributes, &mask)
    sigfillset(&mask)
    posix_spawnattr_setsigdefault(&attributes, &mask)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    // Changing directory is a GNU extension that Glibc's module hides; the shell does it as well.
    let words = ["/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", directory, program] + arguments
    var vector = words.map { strdup($0) } + [nil]
    var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer {
      for word in vector { free(word) }
      for variable in variables { free(variable) }
    }
    var child: pid_t = 0
    let failure = posix_spawn(&child, "/bin/sh", &actions, &attributes, &vector, &variables)
    guard failure == 0 else { throw Failure.spawn(failure) }
    return child
  }
}
