// SPDX-License-Identifier: Apache-2.0
// BuildEngine: writes down that nothing was to be done, and why.

internal import Diagnostics
internal import Glibc

extension Session {
  /// Leaves a certificate when this build found nothing to do, said nothing that the next one would
  /// have to say again, and saw no file that could change without notice.
  ///
  /// A certificate saves time and nothing else: where it cannot be written, there is none.
  func certify(targets: [String], log path: String, opened: Int64) {
    guard summary.isNothingToDo, summary.edits.isEmpty, summary.exitCode == 0,
      graph.warnings.isEmpty, var seen = states.looked(),
      let mark = try? files.identity(path)
    else { return }
    for source in graph.sources {
      guard files.isSettled(source.identity, at: opened) else { return }
      seen.append((paths.intern(source.path), source.identity))
    }
    let terms = Certificate.Terms(
      log: path, options: Certificate.key(options, targets: targets),
      variables: staleness.variables.sorted().map { ($0, options.environment[$0]) },
      programs: tools.answers)
    let bytes = Certificate.encode(
      files: seen, paths: paths, log: mark, fresh: summary.fresh, terms: terms)
    files.replaceCache(Certificate.path(options, targets: targets), bytes)
  }
}

extension FileSystem {
  /// Puts a file that only saves time in place, whole or not at all; a failure leaves none.
  func replaceCache(_ path: String, _ bytes: [UInt8]) {
    let temporary = "\(path).\(getpid()).new"
    do throws(QuenchError) {
      try makeParents(of: path)
      try write(temporary, bytes)
      try rename(temporary, to: path)
    } catch {
      unlinkat(descriptor, temporary, 0)
    }
  }
}
