// SPDX-License-Identifier: Apache-2.0
// BuildEngine: which file a program's name means.

internal import Diagnostics
internal import Glibc

/// Looks programs up through PATH.
struct ToolSearch {
  let files: FileSystem
  let directories: String
  let ownExecutable: String?

  /// - Parameters:
  ///   - path: directories, as in the variable PATH.
  ///   - ownExecutable: Quench itself. Its stage verbs carry their versions in their command lines,
  ///     so the binary is no input of theirs.
  init(_ files: FileSystem, path: String, ownExecutable: String?) {
    self.files = files
    directories = path
    self.ownExecutable = ownExecutable
  }

  /// Whether a word starts Quench itself.
  func isOwn(_ word: String) -> Bool {
    word == "quench" || word == ownExecutable || word.hasSuffix("/quench")
  }

  /// The file that a word means as a program; nil when there is none, or when it is Quench.
  func file(_ word: String) -> String? {
    guard !word.isEmpty, !isOwn(word), !ShellWords.builtinNames.contains(word) else { return nil }
    if word.contains("/") { return isProgram(word) ? CanonicalPath.fold(word) : nil }
    // Not `split`: for its types the runtime would search every conformance of the binary.
    let bytes = directories.utf8
    var start = bytes.startIndex
    while true {
      let end = bytes[start...].firstIndex(of: UInt8(ascii: ":")) ?? bytes.endIndex
      var candidate = start == end ? "." : String(directories[start..<end])
      candidate += "/" + word
      if isProgram(candidate) { return CanonicalPath.fold(candidate) }
      guard end < bytes.endIndex else { return nil }
      start = bytes.index(after: end)
    }
  }

  private func isProgram(_ path: String) -> Bool {
    var status = stat()
    return fstatat(files.descriptor, path, &status, 0) == 0 && status.st_mode & S_IFMT == S_IFREG
      && faccessat(files.descriptor, path, X_OK, 0) == 0
  }
}

/// Looks each program up once a build.
final class ToolTable {
  private let paths: PathTable
  private let search: ToolSearch
  /// -1: no file.
  private var found = NumberMap<Int32>()
  private var alone = NumberMap<Bool>()

  init(paths: PathTable, search: ToolSearch) {
    self.paths = paths
    self.search = search
  }

  /// Takes answers that were found to be right a moment ago.
  func takeOver(_ answers: [(word: String, file: String?)]) {
    for (word, file) in answers { found[paths.intern(word)] = file.map { paths.intern($0) } ?? -1 }
  }

  /// Whether a word starts Quench itself.
  func isOwn(_ word: String) -> Bool { search.isOwn(word) }

  /// Whether a word that means no program's file can mean no other file either: Quench itself, and
  /// what the shell does without one.
  func needsNoFile(_ word: Int32) -> Bool {
    if let known = alone[word] { return known }
    let text = paths.string(word)
    let answer = isOwn(text) || ShellWords.builtinNames.contains(text)
    alone[word] = answer
    return answer
  }

  /// The file that a word means as a program; nil when there is none, or when it is Quench.
  func program(_ word: Int32) -> Int32? {
    if let known = found[word] { return known < 0 ? nil : known }
    let answer = search.file(paths.string(word)).map { paths.intern($0) }
    found[word] = answer ?? -1
    return answer
  }

  func program(_ word: String) -> String? { program(paths.intern(word)).map { paths.string($0) } }

  /// All answers that were given, sorted by word.
  var answers: [(word: String, file: String?)] {
    var answers = zip(found.keys, found.values).map { word, file in
      (word: paths.string(word), file: file < 0 ? nil : paths.string(file))
    }
    answers.sort { $0.word < $1.word }
    return answers
  }
}
