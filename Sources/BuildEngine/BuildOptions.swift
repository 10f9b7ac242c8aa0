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
  /// What commands get as their environment; that of this process unless something else is set.
  public var environment: [String: String] {
    get { givenEnvironment ?? BuildOptions.processEnvironment() }
    set { givenEnvironment = newValue }
  }
  /// Whether outputs are kept in and taken from `.quench/cache`.
  public var cache = CacheSetting.automatic
  /// Takes part in the jobserver of a make that started this build: its tokens, not `jobs`, say how
  /// many commands run at once.
  public var usesJobserver = false
  /// What running commands may declare together as `memory = …`, in bytes.
  public var memoryLimit = BuildOptions.physicalMemory
  /// Sends `.tick` twice a second while nothing else happens, and estimates of the time left.
  public var ticks = false
  /// Counts come with an estimate of the time left.
  public var wantsEstimate = false
  /// Sends `.skipped` for edges that are fresh.
  public var reportsFresh = false
  /// Leaves response files after success (`-d keeprsp`).
  public var keepsResponseFiles = false
  /// Leaves depfiles of `deps = gcc` (`-d keepdepfile`).
  public var keepsDepfiles = false
  /// Measures the steps of the build (`-d stats`).
  public var measures = false
  /// A phony edge that names itself is an error (`-w phonycycle=err`).
  public var refusesSelfReference = false
  /// Quench's own executable, which commands call by the name `quench`; nil: found through PATH.
  public var ownExecutable: String?

  /// Where the wish for a cache comes from.
  public enum CacheSetting: Sendable, Equatable {
    /// The environment's QUENCH_CACHE, else the manifest's `quench_cache`, else none.
    case automatic
    /// No cache.
    case off
    /// A cache of at most so many bytes; nil: 5 GiB.
    case on(limit: Int64?)
  }

  private var givenEnvironment: [String: String]?

  /// `environment` is not the process's.
  var hasOwnEnvironment: Bool { givenEnvironment != nil }

  private static var physicalMemory: Int64 {
    Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE)))
  }

  /// Defaults: the processor count plus two jobs, stop at the first failure, this process's
  /// environment.
  public init(directory: String = ".") {
    self.directory = directory
    let processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
    jobs = processors <= 1 ? 2 : processors == 2 ? 3 : processors + 2
  }

  /// Where programs are looked for; without PATH, where shells look then.
  var searchPath: String {
    variable("PATH") ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  }

  /// One variable of the environment, without a table of them all: a build with nothing to do asks
  /// for a few.
  func variable(_ name: String) -> String? {
    if let givenEnvironment { return givenEnvironment[name] }
    var value: String?
    let length = name.utf8.count
    var next = cs_environment()
    while let entry = next.pointee {
      if strncmp(entry, name, length) == 0, entry[length] == CChar(bitPattern: UInt8(ascii: "=")),
        length > 0
      {
        value = String(cString: entry + length + 1)
      }
      next += 1
    }
    return value
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
