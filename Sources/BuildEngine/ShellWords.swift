// SPDX-License-Identifier: Apache-2.0
// BuildEngine: how a command line reads, without running a shell.

/// What the engine has to know of a command: whether a shell is needed, which programs it starts,
/// which files and environment variables it names.
enum ShellWords {
  /// One word of a command line.
  struct Word: Equatable {
    var text: String
    /// Stands where a program's name stands.
    var isCommand = false
    /// Written to by a redirection.
    var isWritten = false
  }

  /// Whether bytes need no quoting (the characters that Ninja leaves alone).
  static func isSafe(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "+"),
        UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "/"):
        continue
      default: return false
      }
    }
    return true
  }

  static func quote(_ bytes: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "'"))
    for byte in bytes {
      if byte == UInt8(ascii: "'") {
        out.append(contentsOf: "'\\''".utf8)
      } else {
        out.append(byte)
      }
    }
    out.append(UInt8(ascii: "'"))
  }

  /// A command that means the same without a shell.
  struct Plain: Equatable {
    /// The first word.
    var program: String
    /// So many bytes are the words, which stand between spaces.
    var words: Int
    /// Where the output goes, written anew.
    var file: String?
  }

  /// What a command is without a shell; nil when it needs one.
  static func plain(_ command: [UInt8]) -> Plain? {
    guard let arrow = command.firstIndex(of: UInt8(ascii: ">")) else {
      return plainProgram(command[...]).map { Plain(program: $0, words: command.count) }
    }
    // `2>` is a descriptor, not a word.
    guard arrow > 0, command[arrow - 1] == 0x20,
      let start = command[(arrow + 1)...].firstIndex(
        where: { $0 != 0x20 }), let program = plainProgram(command[..<arrow]),
      // As plain as a program's name, and the last word.
      let last = command.lastIndex(where: { $0 != 0x20 }),
      !command[start...last].contains(where: { $0 == 0x20 || $0 == UInt8(ascii: ">") }),
      let file = plainWord(command[start...last])
    else { return nil }
    return Plain(program: program, words: arrow, file: file)
  }

  /// A word that a shell takes as it stands.
  private static func plainWord(_ word: ArraySlice<UInt8>) -> String? {
    for (index, byte) in word.enumerated() where isSpecial(byte, isFirst: index == 0) {
      return nil
    }
    // Bytes that are no text go to the shell as they are.
    return String(validating: word, as: UTF8.self)
  }

  /// Whether a byte of a word means something to a shell.
  private static func isSpecial(_ byte: UInt8, isFirst: Bool) -> Bool {
    switch byte {
    case UInt8(ascii: "|"), UInt8(ascii: "&"), UInt8(ascii: ";"), UInt8(ascii: "<"),
      UInt8(ascii: ">"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "$"),
      UInt8(ascii: "`"), UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "'"),
      UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "["), UInt8(ascii: "]"),
      UInt8(ascii: "{"), UInt8(ascii: "}"), 0...0x1F:
      true
    case UInt8(ascii: "~"), UInt8(ascii: "#"), UInt8(ascii: "!"), UInt8(ascii: "%"): isFirst
    default: false
    }
  }

  /// The program of a command whose words are what stands between spaces, and that means the same with
  /// and without a shell; else nil.
  private static func plainProgram(_ command: ArraySlice<UInt8>) -> String? {
    var first: Range<Int>?
    var start = 0
    for (index, byte) in command.enumerated() {
      switch byte {
      case 0x20:
        if first == nil, start < index { first = start..<index }
        start = index + 1
      case UInt8(ascii: "=") where first == nil: return nil
      case UInt8(ascii: ":") where first == nil: return nil
      default: if isSpecial(byte, isFirst: index == start) { return nil }
      }
    }
    if first == nil, start < command.count { first = start..<command.count }
    // Bytes that are no text go to the shell as they are.
    guard let first, let word = String(validating: command[first], as: UTF8.self),
      !builtinNames.contains(word)
    else { return nil }
    return word
  }

  /// Names that a shell answers itself.
  static let builtinNames = [
    ".", ":", "alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "do", "done",
    "echo", "elif", "else", "esac", "eval", "exec", "exit", "export", "false", "fg", "fi", "for",
    "function", "getopts", "hash", "if", "in", "jobs", "kill", "let", "local", "printf", "pwd",
    "read", "readonly", "return", "select", "set", "shift", "source", "test", "then", "time",
    "times", "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "until", "wait",
    "while", "[", "[[", "{", "}", "!",
  ]

  private static let beforeCommands = [
    "if", "then", "else", "elif", "while", "until", "do", "!", "{", "(", "time", "exec",
  ].map { Array($0.utf8) }

  /// The words of a command line. Words that a shell would expand are left as they stand.
  static func split(_ command: [UInt8]) -> [Word] {
    var words: [Word] = []
    each(command) { text, isCommand, isWritten in
      words.append(
        Word(
          text: String(decoding: text, as: UTF8.self), isCommand: isCommand, isWritten: isWritten))
    }
    return words
  }

  /// Lends the words of a command line, with what `Word` tells of them; they may be changed.
  static func each(
    _ command: [UInt8], _ body: (inout [UInt8], _ isCommand: Bool, _ isWritten: Bool) -> Void
  ) {
    var current: [UInt8] = []
    var open = false
    var atCommand = true
    var afterRedirection = false
    func finish() {
      guard open else { return }
      open = false
      let isWritten = afterRedirection
      var isCommand = false
      if isWritten {
        afterRedirection = false
      } else if atCommand {
        isCommand = (current.firstIndex(of: UInt8(ascii: "=")) ?? 0) == 0
        if isCommand, !beforeCommands.contains(current) { atCommand = false }
      }
      body(&current, isCommand, isWritten)
      current.removeAll(keepingCapacity: true)
    }
    var index = 0
    while index < command.count {
      let byte = command[index]
      switch byte {
      case 0x20, 0x09: finish()
      case 0x0A, UInt8(ascii: ";"), UInt8(ascii: "|"), UInt8(ascii: "&"), UInt8(ascii: "("),
        UInt8(ascii: ")"), UInt8(ascii: "`"):
        finish()
        afterRedirection = false
        atCommand = true
      case UInt8(ascii: ">"):
        // `2>` is a descriptor, not a word.
        if !(open && current.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }) { finish() }
        open = false
        current.removeAll(keepingCapacity: true)
        afterRedirection = true
        if index + 1 < command.count,
          command[index + 1] == UInt8(ascii: ">") || command[index + 1] == UInt8(ascii: "&")
            || command[index + 1] == UInt8(ascii: "|")
        {
          index += 1
        }
      case UInt8(ascii: "<"): finish()
      case UInt8(ascii: "'"):
        open = true
        index += 1
        while index < command.count, command[index] != UInt8(ascii: "'") {
          current.append(command[index])
          index += 1
        }
      case UInt8(ascii: "\""):
        open = true
        index += 1
        while index < command.count, command[index] != UInt8(ascii: "\"") {
          if command[index] == UInt8(ascii: "\\"), index + 1 < command.count { index += 1 }
          current.append(command[index])
          index += 1
        }
      case UInt8(ascii: "\\"):
        open = true
        index += 1
        if index < command.count { current.append(command[index]) }
      default:
        open = true
        current.append(byte)
      }
      index += 1
    }
    finish()
  }

  /// Names after `$` in the text that the shell sees, in order, each once.
  static func environmentNames(_ command: [UInt8]) -> [String] {
    var names: [String] = []
    var index = 0
    while index < command.count {
      defer { index += 1 }
      guard command[index] == UInt8(ascii: "$") else { continue }
      var start = index + 1
      if start < command.count, command[start] == UInt8(ascii: "{") { start += 1 }
      var end = start
      while end < command.count, Lexer.isName(command[end], dots: false),
        command[end] != UInt8(ascii: "-")
      {
        end += 1
      }
      guard end > start, command[start] > 0x39 || command[start] < 0x30 else { continue }
      let name = String(decoding: command[start..<end], as: UTF8.self)
      if !names.contains(name) { names.append(name) }
    }
    return names
  }
}
