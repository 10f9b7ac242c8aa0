// SPDX-License-Identifier: Apache-2.0
// BuildEngine: a look at the files before anything is loaded.

internal import CSystem
public import Diagnostics
internal import Glibc

/// The cheapest way to know that nothing is to be done: every file that the last decision looked at
/// is compared with its certificate, and nothing else is opened.
///
/// What was seen serves the build that follows when something did change.
public final class Glance {
  let files: FileSystem
  /// When the first file was looked at.
  let taken: Int64
  let certificate: Certificate.Reader?
  /// Files that are not what they were, by their number in the certificate.
  private(set) var changed = NumberMap<Identity>()
  /// All that the certificate tells was compared: what is not in `changed` is as it was.
  private(set) var isComplete = false
  /// Options, environment and programs are as they were, too.
  private(set) var termsHold = false
  /// What the build would say; nil: only the build itself can tell.
  public private(set) var nothingToDo: BuildSummary?

  /// Looks.
  ///
  /// Takes no lock: the log's identity before and after tells whether a command began meanwhile.
  /// - Throws: `.noInput` when the directory cannot be entered.
  public init(_ options: BuildOptions, targets: [String]) throws(QuenchError) {
    files = try FileSystem(options.directory)
    if options.measures { files.metrics = BuildMetrics() }
    taken = cs_now()
    guard !options.dryRun, !options.reportsFresh,
      let map = FileMap(Certificate.path(options, targets: targets), files: files),
      let certificate = Certificate.Reader(map)
    else {
      certificate = nil
      return
    }
    self.certificate = certificate
    guard logIsSame, sweep(), logIsSame else { return }
    isComplete = true
    guard
      certificate.terms.options == Certificate.key(options, targets: targets),
      certificate.terms.variables.allSatisfy({ options.variable($0.name) == $0.value })
    else { return }
    let tools = ToolSearch(
      files, path: options.searchPath, ownExecutable: options.ownExecutable)
    guard certificate.terms.programs.allSatisfy({ tools.file($0.word) == $0.file }) else {
      return
    }
    termsHold = true
    guard changed.isEmpty, certificate.terms.open.isEmpty else { return }
    var summary = BuildSummary()
    summary.fresh = certificate.fresh
    summary.metrics = files.metrics
    nothingToDo = summary
  }

  /// Whether the log is the one that the certificate was written beside, and the certificate still
  /// what it was.
  var logIsSame: Bool {
    guard let certificate, certificate.isUntouched else { return false }
    var raw = cs_identity()
    return cs_identify(files.descriptor, certificate.terms.log, &raw) == 0
      && Certificate.LogMark(Identity(raw)) == certificate.log
  }

  /// Looks at each file once. - Returns: false when the certificate is not in order.
  private func sweep() -> Bool {
    guard let certificate else { return false }
    let threads: Int32 =
      certificate.count > 4096 && sysconf(Int32(_SC_NPROCESSORS_ONLN)) > 1 ? 2 : 1
    var differs = [UInt8](repeating: 0, count: certificate.count)
    let failure = differs.withUnsafeMutableBufferPointer { differs -> Int32 in
      guard let base = differs.baseAddress else { return 0 }
      return files.measured(.compare, count: certificate.count) {
        certificate.sweep(files.descriptor, threads, base)
      }
    }
    guard failure == 0 else { return false }
    for (index, differs) in differs.enumerated() where differs != 0 {
      guard let name = certificate.name(index) else { return false }
      var raw = cs_identity()
      let failure = name.withMemoryRebound(to: CChar.self) { name in
        name.baseAddress.map { cs_identify(files.descriptor, $0, &raw) } ?? ENOENT
      }
      // A file that cannot be looked at is for the build to tell.
      guard failure == 0 || failure == ENOENT || failure == ENOTDIR else { return false }
      changed[Int32(index)] = failure == 0 ? Identity(raw) : Identity()
    }
    return true
  }
}

extension Certificate {
  /// Where the certificate of a directory lies: one for the default targets, one for the others.
  static func path(_ options: BuildOptions, targets: [String]) -> String {
    let slash = options.logPath.lastIndex(of: "/")
    return (slash.map { String(options.logPath[...$0]) } ?? "")
      + (targets.isEmpty ? "fresh" : "fresh.targets")
  }

  /// Raised whenever the same files could be judged in another way.
  static let decision = 1

  /// All options that a decision depends on, with the targets.
  static func key(_ options: BuildOptions, targets: [String]) -> [UInt8] {
    var out: [UInt8] = []
    out.append(word: Int32(decision))
    out.append(
      word: (options.keepDead ? 1 : 0) | (options.discardEdits ? 2 : 0)
        | (options.refusesSelfReference ? 4 : 0))
    out.append(block: options.manifest.utf8)
    out.append(block: options.logPath.utf8)
    out.append(block: options.lockPath.utf8)
    out.append(block: (options.ownExecutable ?? "").utf8)
    for target in targets { out.append(block: target.utf8) }
    return out
  }
}
