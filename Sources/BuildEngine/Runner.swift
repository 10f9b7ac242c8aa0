// SPDX-License-Identifier: Apache-2.0
// BuildEngine: processes, and one poll() over all of them.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// Starts commands and reports what comes of them. Used by one thread. No signal handlers: signals
/// arrive through a descriptor while a `Runner` lives.
final class Runner {
  enum Event {
    case exited(step: Int, code: Int32, output: [UInt8], duration: Duration)
    case notStarted(step: Int, QuenchError)
    case progress(step: Int, done: Int, total: Int, detail: String)
    case note(step: Int, String)
    case signal(Int32)
  }

  private struct Child {
    var step: Int
    var start: OpaquePointer
    /// What is run without a shell.
    var program: String?
    var process: pid_t
    /// Readable when the process ends; -1 when nobody had to ask for that, or it has ended.
    var ended: Int32 = -1
    var output: Int32
    var progress: Int32
    var text: [UInt8] = []
    var progressText: [UInt8] = []
    var started: Int64
    var isConsole: Bool
    var status: Int32?
    /// When its status was collected.
    var reaped: Int64 = 0
    /// An interrupt came so soon after its start that its shell may have lost it.
    var mayHaveMissed = false
  }

  private let files: FileSystem
  private let tools: ToolTable
  private let ownExecutable: String?
  private let signals: Int32
  private var oldMask = sigset_t()
  /// Readable when somebody called `Build.interrupt`.
  private let wake: Int32
  private var children: [Child] = []
  /// A signal was passed on: nothing new will start.
  private var isEnding = false
  /// When that was, by the monotonic clock.
  private var signaled: Int64 = 0
  private let environment: ChildEnvironment
  /// What children read: nothing.
  private let nothing: Int32
  private let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)

  /// - Parameter wake: a descriptor that becomes readable to interrupt, not owned.
  init(
    files: FileSystem, tools: ToolTable, environment: ChildEnvironment, ownExecutable: String?,
    wake: Int32
  ) throws(QuenchError) {
    self.files = files
    self.tools = tools
    self.environment = environment
    self.ownExecutable = ownExecutable
    self.wake = wake
    let empty = open("/dev/null", O_RDONLY | O_CLOEXEC)
    guard empty >= 0 else { throw QuenchError(.work, "cannot open /dev/null: \(reason())") }
    nothing = empty > 3 ? empty : fcntl(empty, F_DUPFD_CLOEXEC, 4)
    if nothing != empty { close(empty) }
    let watched = [SIGINT, SIGTERM, SIGHUP]
    var mask = sigset_t()
    signals = cs_signals_open(watched, Int32(watched.count), &mask)
    oldMask = mask
    guard signals >= 0 else {
      throw QuenchError(.work, "cannot watch for signals: \(reason())")
    }
  }

  deinit {
    piece.deallocate()
    close(nothing)
    close(signals)
    pthread_sigmask(SIG_SETMASK, &oldMask, nil)
  }

  var isIdle: Bool { children.isEmpty }

  /// Starts a command: directly when it means the same without a shell, else through `/bin/sh`.
  ///
  /// - Throws: `.work` when there is no process to be had. A program that cannot be loaded is an
  ///   event.
  func start(_ step: Int, _ command: [UInt8], console: Bool, progress: Bool) throws(QuenchError) {
    var ends: (Int32, Int32) = (-1, -1)
    var reports: (Int32, Int32) = (-1, -1)
    if !console { ends = try Runner.pipe() }
    if progress {
      do throws(QuenchError) {
        reports = try Runner.pipe()
      } catch {
        close(ends.0)
        close(ends.1)
        throw error
      }
      _ = fcntl(reports.0, F_SETFL, O_NONBLOCK)
    }
    let began = cs_monotonic()
    let plain = ShellWords.plain(command)
    let program = plain.flatMap { file(of: $0.program) }
    let start = launch(command, plain, program, ends.1, reports.1)
    let failure = errno
    for end in [ends.1, reports.1] where end >= 0 { close(end) }
    guard let start else {
      for end in [ends.0, reports.0] where end >= 0 { close(end) }
      throw Runner.notStarted(program ?? "/bin/sh", failure)
    }
    var child = Child(
      step: step, start: start, program: program, process: cs_start_process(start), output: ends.0,
      progress: reports.0, started: began, isConsole: console)
    if console { child.ended = cs_pidfd_open(child.process) }
    children.append(child)
  }

  /// The longest argument that Linux takes is 32 pages with its NUL (execve(2)); a longer command is
  /// read by the shell as a script that lies in memory.
  private static let longestArgument = 32 * 4096 - 1

  /// The program that a command's first word means.
  private func file(of first: String) -> String? {
    if tools.isOwn(first), !first.contains("/"), let ownExecutable { return ownExecutable }
    // `a/b` is relative to the build's directory, where the child starts.
    return tools.program(first).map { first.contains("/") ? first : $0 }
  }

  /// - Returns: nil and errno when it cannot be started.
  private func launch(
    _ command: [UInt8], _ plain: ShellWords.Plain?, _ program: String?, _ output: Int32,
    _ progress: Int32
  ) -> OpaquePointer? {
    let script = command.count > Runner.longestArgument ? cs_script(command, command.count) : -1
    guard command.count <= Runner.longestArgument || script >= 0 else { return nil }
    let start = command.withUnsafeBytes { bytes -> OpaquePointer? in
      var wanted = cs_command(
        program: nil, command: bytes.baseAddress, count: bytes.count, words: plain?.words ?? 0,
        file: nil, script: script,
        environment: environment.pointers(tellsProgress: progress >= 0),
        directory: files.descriptor, input: nothing, output: output, progress: progress)
      guard let program else { return cs_start_new(&wanted) }
      return program.withCString { name in
        wanted.program = name
        guard let file = plain?.file else { return cs_start_new(&wanted) }
        return file.withCString { file in
          wanted.file = file
          return cs_start_new(&wanted)
        }
      }
    }
    let failure = errno
    if script >= 0 { close(script) }
    errno = failure
    return start
  }

  private static func notStarted(_ program: String, _ failure: Int32) -> QuenchError {
    QuenchError(
      .work, "cannot start \"\(program)\": \(reason(failure))",
      try: failure == E2BIG ? "a response file (rspfile) for what the command lists" : nil)
  }

  private static func pipe() throws(QuenchError) -> (Int32, Int32) {
    var ends: (Int32, Int32) = (-1, -1)
    let failure = withUnsafeMutablePointer(to: &ends) {
      $0.withMemoryRebound(to: Int32.self, capacity: 2) { cs_pipe($0) }
    }
    guard failure == 0 else {
      throw QuenchError(
        .work, "cannot make a pipe: \(reason(failure))",
        try: failure == EMFILE ? "fewer jobs with -j, or a higher ulimit -n" : nil)
    }
    return ends
  }

  /// Waits for something to happen.
  ///
  /// - Parameters:
  ///   - timeout: milliseconds, -1 for ever.
  ///   - other: one more descriptor that ends the waiting, -1 for none.
  func wait(timeout: Int32 = -1, also other: Int32 = -1) -> [Event] {
    var polled = [
      pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
      pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
      pollfd(fd: other, events: Int16(POLLIN), revents: 0),
    ]
    for child in children {
      for descriptor in [child.output, child.progress, child.ended] {
        // A negative descriptor is skipped by poll.
        polled.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
      }
    }
    var events: [Event] = []
    let patience = isEnding && timeout != 0 ? 100 : timeout
    guard poll(&polled, nfds_t(polled.count), patience) > 0 else {
      if isEnding {
        endLeftovers()
        collect(&events)
      }
      return events
    }
    if polled[0].revents != 0 {
      while case let number = cs_signals_read(signals), number != 0 {
        events.append(.signal(number))
      }
    }
    if polled[1].revents != 0 {
      var byte: UInt8 = 0
      if read(wake, &byte, 1) == 1 { events.append(.signal(Int32(byte))) }
    }
    for index in children.indices {
      let at = 3 + index * 3
      if polled[at].revents != 0 { readOutput(index) }
      if polled[at + 1].revents != 0 { readProgress(index, &events) }
      if polled[at + 2].revents != 0 { reap(index, isOver: true) }
    }
    if isEnding { endLeftovers() }
    collect(&events)
    return events
  }

  /// Sends a signal to every child and its process group; the build is about to end.
  func signal(_ number: Int32) {
    isEnding = true
    signaled = cs_monotonic()
    for index in children.indices {
      let child = children[index]
      if child.isConsole {
        if child.status == nil { kill(child.process, number) }
        continue
      }
      let mayMiss = number == SIGINT && Runner.mayMiss(child.process)
      // The group may outlive its leader, and then holds the output open.
      kill(-child.process, number)
      // Looked at on both sides, for what it forks meanwhile.
      children[index].mayHaveMissed =
        mayMiss || number == SIGINT && Runner.mayMiss(child.process)
      if number == SIGKILL, child.output >= 0, child.status != nil || hasEnded(child.process) {
        close(child.output)
        children[index].output = -1
      }
    }
  }

  /// Nanoseconds after which a shell that is still there has missed an interrupt.
  private static let repeatDelay: Int64 = 100_000_000

  /// Interrupts shells once more that may have missed the first one, with what they have started
  /// since: a shell that waits for a command leaves it to that command to end. No other program, for
  /// which a second one may mean more than the first.
  private func repeatInterrupts() {
    guard cs_monotonic() - signaled > Runner.repeatDelay else { return }
    for index in children.indices where children[index].mayHaveMissed {
      children[index].mayHaveMissed = false
      let process = children[index].process
      if children[index].status == nil, Runner.isShell(process) { kill(-process, SIGINT) }
    }
  }

  /// Whether a shell starts, or has just forked what is no other program yet: dash has a handler set
  /// then that forgets an interrupt. Not where it runs a program, which gets the interrupt itself.
  private static func mayMiss(_ process: pid_t) -> Bool {
    guard isShell(process) else { return false }
    let forked = Runner.forked(by: process)
    return forked.isEmpty || forked.contains(where: mayMiss)
  }

  /// The children of a process; none where the kernel does not tell (proc(5), `children`).
  private static func forked(by process: pid_t) -> [pid_t] {
    guard let file = fopen("/proc/\(process)/task/\(process)/children", "re") else { return [] }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 4096)
    guard fgets(&line, Int32(line.count), file) != nil else { return [] }
    let text = String(decoding: line.map(UInt8.init(bitPattern:)).prefix { $0 != 0 }, as: UTF8.self)
    return text.split(separator: " ").compactMap { pid_t($0) }
  }

  private static func isShell(_ process: pid_t) -> Bool {
    var own = stat()
    var shell = stat()
    return stat("/proc/\(process)/exe", &own) == 0 && stat("/bin/sh", &shell) == 0
      && own.st_ino == shell.st_ino && own.st_dev == shell.st_dev
  }

  /// After a signal: what a command left in the background and what keeps its output open has a
  /// second to end like the command itself. (Background jobs of a shell ignore SIGINT.)
  private func endLeftovers() {
    repeatInterrupts()
    for index in children.indices where !children[index].isConsole && children[index].output >= 0 {
      var status: Int32 = 0
      if children[index].status == nil,
        waitpid(children[index].process, &status, WNOHANG) > 0
      {
        children[index].status = status
        children[index].reaped = cs_monotonic()
      }
      let child = children[index]
      guard child.status != nil, cs_monotonic() - child.reaped > 1_000_000_000 else { continue }
      kill(-child.process, SIGKILL)
      // What it wrote is taken; nobody waits for more.
      _ = fcntl(child.output, F_SETFL, O_NONBLOCK)
      var pieces = 0
      while children[index].output >= 0, pieces < 64 {
        readOutput(index)
        pieces += 1
      }
      if children[index].output >= 0 { close(children[index].output) }
      children[index].output = -1
    }
  }

  /// Whether a process has ended, be it collected or not.
  private func hasEnded(_ process: pid_t) -> Bool {
    var info = siginfo_t()
    return waitid(P_PID, id_t(process), &info, WEXITED | WNOHANG | WNOWAIT) == 0
      && info.si_signo != 0
  }

  /// Children that ended and whose output is complete.
  private func collect(_ events: inout [Event]) {
    var index = 0
    while index < children.count {
      if children[index].output < 0, children[index].status == nil { reap(index) }
      guard children[index].output < 0, let status = children[index].status else {
        index += 1
        continue
      }
      // What it said last may lie in the pipe still; others that hold it open are not waited for.
      var pieces = 0
      while children[index].progress >= 0, pieces < 64, readProgress(index, &events) { pieces += 1 }
      let child = children.remove(at: index)
      if child.progress >= 0 { close(child.progress) }
      let program = cs_start_asked_shell(child.start) ? nil : child.program
      let failure = cs_start_end(child.start)
      guard failure == 0 else {
        let error = Runner.notStarted(program ?? "/bin/sh", failure)
        events.append(.notStarted(step: child.step, error))
        continue
      }
      events.append(
        .exited(
          step: child.step, code: cs_exit_code(status), output: child.text,
          duration: .nanoseconds(cs_monotonic() - child.started)))
    }
  }

  /// Collects a child that has ended. One that closed its output a moment ago is about to end; one
  /// that goes on without an output is left to a descriptor.
  private func reap(_ index: Int, isOver: Bool = false) {
    if children[index].ended >= 0, !isOver { return }
    var status: Int32 = 0
    var mayWait = isOver
    while true {
      let answer = waitpid(children[index].process, &status, mayWait ? 0 : WNOHANG)
      if answer > 0 { break }
      if answer == 0 {
        children[index].ended = cs_pidfd_open(children[index].process)
        if children[index].ended >= 0 { return }
        // A kernel without such descriptors.
        mayWait = true
      } else if errno != EINTR {
        // Somebody else collected the child; its success is unknown.
        status = 1 << 8
        break
      }
    }
    children[index].status = status
    children[index].reaped = cs_monotonic()
    if children[index].ended >= 0 { close(children[index].ended) }
    children[index].ended = -1
  }

  /// The end is read after all the rest, one piece a call: a read that poll announced never waits.
  private func readOutput(_ index: Int) {
    let count = read(children[index].output, piece.baseAddress, piece.count)
    if count > 0 {
      children[index].text.append(contentsOf: UnsafeRawBufferPointer(rebasing: piece[..<count]))
    } else if count == 0 || errno != EINTR {
      close(children[index].output)
      children[index].output = -1
    }
  }

  /// Lines `done total`, or `done total` and a text, of which only the last of a batch matters; and
  /// lines `note` and a text, which all count.
  ///
  /// - Returns: whether there was anything to read.
  @discardableResult
  private func readProgress(_ index: Int, _ events: inout [Event]) -> Bool {
    var piece = [UInt8](repeating: 0, count: 4096)
    let count = read(children[index].progress, &piece, piece.count)
    guard count > 0 else {
      if count == 0 || (errno != EAGAIN && errno != EINTR) {
        close(children[index].progress)
        children[index].progress = -1
      }
      return false
    }
    children[index].progressText.append(contentsOf: piece[..<count])
    guard let end = children[index].progressText.lastIndex(of: 0x0A) else {
      if children[index].progressText.count > 4096 { children[index].progressText.removeAll() }
      return true
    }
    let lines = children[index].progressText[..<end].split(separator: 0x0A)
    children[index].progressText.removeSubrange(...end)
    let step = children[index].step
    var last: Event?
    for line in lines {
      let words = Runner.printable(line).split(
        separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
      if words[0] == "note", words.count > 1 {
        events.append(.note(step: step, words[1...].joined(separator: " ")))
      } else if words.count > 1, let done = Int(words[0]), let total = Int(words[1]) {
        let detail = words.count > 2 ? String(words[2]) : ""
        last = .progress(step: step, done: done, total: total, detail: detail)
      }
    }
    if let last { events.append(last) }
    return true
  }

  /// A command's words stand in one line of ours: control characters would break out of it.
  private static func printable(_ line: ArraySlice<UInt8>) -> String {
    String(
      decoding: line.prefix(1000).map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: " ") : $0 },
      as: UTF8.self)
  }
}
