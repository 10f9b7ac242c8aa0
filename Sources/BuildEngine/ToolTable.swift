// SPDX-License-Identifier: Apache-2.0
// BuildEngine: which file a program's name means.

internal import Diagnostics
internal import Glibc

/// Looks programs up through PATH, each name once a build.
final class ToolTable {
  private let paths: PathTable
  private let files: FileSystem
  private let directories: [String]
  private let ownNames: Set<String>
  private var found: [Int32: Int32?] = [:]

  /// - Parameter ownExecutable: Quench itself. Its stage verbs carry their versions in their
  ///   command lines, so the binary is no input of theirs.
  init(
    paths: PathTable, files: FileSystem, environment: [String: String], ownExecutable: String?
  ) {
    self.paths = paths
    self.files = files
    directories = (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin")
      .split(separator: ":", omittingEmptySubsequences: false).map { $0.isEmpty ? "." : String($0) }
    ownNames = ownExecutable.map { ["quench", $0] } ?? ["quench"]
  }

  /// Whether a word starts Quench itself.
  func isOwn(_ word: String) -> Bool { ownNames.contains(word) || word.hasSuffix("/quench") }

  /// The file that a word means as a program; nil when there is none, or when it is Quench.
  func program(_ word: Int32) -> Int32? {
    if let known = found[word] { return known }
    let answer = lookUp(paths.string(word)).map { paths.intern($0) }
    found[word] = .some(answer)
    return answer
  }

  func program(_ word: String) -> String? { program(paths.intern(word)).map { paths.string($0) } }

  /// All answers that were given, sorted by word.
  var answers: [(word: String, file: String?)] {
    found.map { (paths.string($0.key), $0.value.map { paths.string($0) }) }
      .sorted { $0.word < $1.word }
  }

  private func lookUp(_ word: String) -> String? {
    guard !word.isEmpty, !isOwn(word), !ShellWords.builtins.contains(word) else { return nil }
    if word.contains("/") { return isProgram(word) ? CanonicalPath.fold(word) : nil }
    for directory in directories {
      let candidate = directory + "/" + word
      if isProgram(candidate) { return CanonicalPath.fold(candidate) }
    }
    return nil
  }

  private func isProgram(_ path: String) -> Bool {
    var status = stat()
    return fstatat(files.descriptor, path, &status, 0) == 0 && status.st_mode & S_IFMT == S_IFREG
      && faccessat(files.descriptor, path, X_OK, 0) == 0
  }
}
