// SPDX-License-Identifier: Apache-2.0
// BuildEngine: how to build.

internal import CSystem
internal import Glibc

/// How a build is to be done.
public struct BuildOptions: Sendable {
  /// The directory that all paths are relative to and all commands run in.
  public var directory: String
  /// The manifest, relative to `directory`.
  public var manifest = "build.ninja"
  /// How many commands run at once; 0 means without limit.
  public var jobs: Int
  /// How many failures it takes to stop starting commands; 0 means never stop.
  public var keepGoing = 1
  /// No new command starts while the load average is above this; nil means no limit.
  public var loadLimit: Double?
  /// Says what would run, runs nothing and writes nothing.
  public var dryRun = false
  /// Descriptions are the full commands.
  public var verbose = false
  /// Says of each edge why it runs.
  public var explain = false
  /// Leaves outputs that no edge makes any more.
  public var keepDead = false
  /// Makes edited `keep_edits` outputs anew; the edited file is kept beside it.
  public var discardEdits = false
  /// The trace log, relative to `directory` (to `builddir` where the manifest sets it).
  public var logPath = ".quench/log"
  /// The lock file, likewise.
  public var lockPath = ".quench/lock"
  /// What commands get as their environment.
  public var environment: [String: String]
  /// Quench's own executable, which commands call by the name `quench`; nil: found through PATH.
  public var ownExecutable: String?

  /// Defaults: the processor count plus two jobs, stop at the first failure, this process's
  /// environment.
  public init(directory: String = ".") {
    self.directory = directory
    let processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
    jobs = processors <= 1 ? 2 : processors == 2 ? 3 : processors + 2
    environment = BuildOptions.processEnvironment()
  }

  private static func processEnvironment() -> [String: String] {
    var values: [String: String] = [:]
    var next = cs_environment()
    while let entry = next.pointee {
      let text = String(cString: entry)
      if let equals = text.firstIndex(of: "="), equals != text.startIndex {
        values[String(text[..<equals])] = String(text[text.index(after: equals)...])
      }
      next += 1
    }
    return values
  }
}
