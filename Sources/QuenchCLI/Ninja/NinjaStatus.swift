// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: a build as Ninja shows it.

internal import BuildEngine
internal import Glibc

/// Ninja's lines: a status before each command, redrawn in place on a terminal.
final class NinjaStatus {
  static let defaultFormat = "[%f/%t] "

  private let format: String
  private let isQuiet: Bool
  private let isVerbose: Bool
  private let isDryRun: Bool
  private let explains: Bool
  private let isSmart: Bool
  private var hasLine = false
  private var started = 0
  private let clock = ContinuousClock()
  private let begin: ContinuousClock.Instant
  /// Moments at which the last commands ended, for the current rate.
  private var recent: [ContinuousClock.Instant] = []

  init(format: String, isQuiet: Bool, isVerbose: Bool, isDryRun: Bool, explains: Bool) {
    self.format = format
    self.isQuiet = isQuiet
    self.isVerbose = isVerbose
    self.isDryRun = isDryRun
    self.explains = explains
    isSmart = Style.output.isTerminal && !isVerbose && !isDryRun
    begin = clock.now
  }

  func show(_ event: BuildEvent) {
    switch event {
    case .started(let edge, let reason, let counts):
      started += 1
      if explains { line("ninja explain: \(edge.output) is dirty: \(reason)", to: 2) }
      if edge.usesConsole || (isSmart && !isQuiet) {
        status(edge, counts)
        if edge.usesConsole { endLine() }
      }
    case .finished(let edge, let outcome, let output, _, let counts):
      recent.append(clock.now)
      finished(edge, outcome, output, counts)
    case .restored(let edge, _, let output, let counts):
      started += 1
      status(edge, counts)
      text(output)
    case .waitingForLock: line("ninja: waiting for another build in this directory", to: 2)
    case .warning(let text): line("ninja: warning: \(text)", to: 2)
    case .removedDead(let path): if isVerbose { line("ninja: removed dead output \(path)", to: 1) }
    case .edited(let edit): line("ninja: \(edit.path) was edited by hand", to: 1)
    case .editConflict(let edge, let edit, let reason):
      line(
        "ninja: error: \(edit.path) was edited by hand, and must be made anew because \(reason)"
          + " (\(edge.output))", to: 2)
    case .editKept(let path, let kept): line("ninja: \(path): the edit is kept as \(kept)", to: 1)
    case .note(let edge, let text): if !isQuiet { line("\(edge.description): \(text)", to: 1) }
    case .reloaded, .progress, .skipped, .tick: break
    }
  }

  private func finished(
    _ edge: EdgeInfo, _ outcome: EdgeOutcome, _ output: [UInt8], _ counts: BuildCounts
  ) {
    if !edge.usesConsole, !isQuiet { status(edge, counts) }
    if case .failed(let code, let message) = outcome {
      line("FAILED: [code=\(code)] \(edge.output) ", to: 1)
      line(edge.command, to: 1)
      if code == 1, !message.hasPrefix("exit code") { line("ninja: error: \(message)", to: 1) }
    }
    text(output)
  }

  /// Ends with a sentence. - Returns: the exit code.
  func end(_ summary: BuildSummary, keepGoing: Int) -> Int32 {
    endLine()
    if summary.interrupted {
      line("ninja: build stopped: interrupted by user.", to: 1)
      return 130
    }
    if !summary.failed.isEmpty {
      let reached = keepGoing > 0 && summary.failed.count >= keepGoing
      let why =
        !reached
        ? "cannot make progress due to previous errors"
        : keepGoing > 1 ? "subcommands failed" : "subcommand failed"
      line("ninja: build stopped: \(why).", to: 1)
      return summary.lastCode == 0 ? 1 : summary.lastCode
    }
    if summary.ran == 0, summary.restored == 0, !isQuiet {
      line("ninja: no work to do.", to: 1)
    }
    return 0
  }
}

// MARK: - Lines

extension NinjaStatus {
  private func status(_ edge: EdgeInfo, _ counts: BuildCounts) {
    guard !isQuiet else { return }
    let words = prefix(counts) + edge.description
    guard isSmart else {
      Terminal.print(words)
      return
    }
    let flat = words.replacing("\n", with: " ")
    Terminal.write(1, "\r" + NinjaStatus.elided(flat, to: Terminal.width) + "\u{1B}[K")
    hasLine = true
  }

  private func endLine() {
    if hasLine { Terminal.write(1, "\n") }
    hasLine = false
  }

  private func line(_ text: String, to descriptor: Int32) {
    endLine()
    Terminal.write(descriptor, text + "\n")
  }

  /// What a command printed; colour is taken out where nobody sees it.
  private func text(_ output: [UInt8]) {
    guard !output.isEmpty else { return }
    endLine()
    let keepsColor = Style.output.isTerminal || Style.environment("CLICOLOR_FORCE") ?? "0" != "0"
    var bytes = keepsColor ? output : NinjaStatus.withoutEscapes(output)
    if bytes.last != UInt8(ascii: "\n") { bytes.append(UInt8(ascii: "\n")) }
    Terminal.write(1, bytes)
  }

  /// Cut in the middle to a width.
  static func elided(_ text: String, to width: Int) -> String {
    let letters = Array(text)
    guard letters.count > width else { return text }
    guard width > 3 else { return String(letters.prefix(max(0, width))) }
    let left = (width - 3) / 2
    return String(letters.prefix(left)) + "..." + String(letters.suffix(width - 3 - left))
  }

  /// Without ANSI escape sequences.
  static func withoutEscapes(_ bytes: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    var index = 0
    while index < bytes.count {
      guard bytes[index] == 0x1B else {
        out.append(bytes[index])
        index += 1
        continue
      }
      guard index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "[") else {
        index += 1
        continue
      }
      index += 2
      while index < bytes.count, !(0x40...0x7E).contains(bytes[index]) { index += 1 }
      index += 1
    }
    return out
  }

  /// NINJA_STATUS (Ninja manual, "Environment variables").
  private func prefix(_ counts: BuildCounts) -> String {
    var out = ""
    var letters = Substring(format)
    let elapsed = (clock.now - begin) / .seconds(1)
    while let letter = letters.popFirst() {
      guard letter == "%" else {
        out.append(letter)
        continue
      }
      switch letters.popFirst() {
      case "%": out += "%"
      case "s": out += "\(started)"
      case "t": out += "\(counts.total)"
      case "r": out += "\(counts.running)"
      case "u": out += "\(max(0, counts.total - started))"
      case "f": out += "\(counts.finished)"
      case "p":
        out += NinjaStatus.padded(counts.total == 0 ? 0 : counts.finished * 100 / counts.total, 3)
        out += "%"
      case "P":
        let left = counts.left.map { $0 / .seconds(1) } ?? 0
        let share = elapsed + left > 0 ? elapsed / (elapsed + left) : 0
        out += NinjaStatus.padded(Int(share * 100), 3) + "%"
      case "o": out += elapsed > 0 ? NinjaStatus.decimal(Double(counts.finished) / elapsed, 1) : "?"
      case "c": out += rate
      case "e": out += NinjaStatus.decimal(elapsed, 3)
      case "w": out += NinjaStatus.clockTime(elapsed)
      case "E": out += counts.left.map { NinjaStatus.decimal($0 / .seconds(1), 3) } ?? "?"
      case "W": out += counts.left.map { NinjaStatus.clockTime($0 / .seconds(1)) } ?? "?"
      case let other: out += "%" + (other.map(String.init) ?? "")
      }
    }
    return out
  }

  /// Commands a second over the last ones that ended.
  private var rate: String {
    recent = recent.suffix(8)
    guard let first = recent.first, recent.count > 1 else { return "?" }
    let span = (clock.now - first) / .seconds(1)
    return span > 0 ? NinjaStatus.decimal(Double(recent.count) / span, 1) : "?"
  }

  private static func padded(_ number: Int, _ width: Int) -> String {
    let text = "\(number)"
    return String(repeating: " ", count: max(0, width - text.count)) + text
  }

  private static func decimal(_ value: Double, _ digits: Int) -> String {
    var scale = 1
    for _ in 0..<digits { scale *= 10 }
    let whole = Int((value * Double(scale)).rounded())
    let rest = "\(whole % scale)"
    return "\(whole / scale)." + String(repeating: "0", count: digits - rest.count) + rest
  }

  private static func clockTime(_ seconds: Double) -> String {
    let whole = Int(seconds)
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let minutes = "\(two(whole / 60 % 60)):\(two(whole % 60))"
    return whole >= 3600 ? "\(whole / 3600):\(minutes)" : minutes
  }
}
