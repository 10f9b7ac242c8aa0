// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what a build tells while it goes on.

/// An edge as people see it.
public struct EdgeInfo: Sendable, Hashable {
  /// Number of the edge in the manifest.
  public var index: Int
  /// Its first output.
  public var output: String
  /// The rule's description, or the command.
  public var description: String
  /// The command as it is run.
  public var command: String
  /// Whether the command has the terminal to itself.
  public var usesConsole: Bool

  /// Describes an edge; see the properties.
  public init(
    index: Int, output: String, description: String, command: String, usesConsole: Bool = false
  ) {
    self.index = index
    self.output = output
    self.description = description
    self.command = command
    self.usesConsole = usesConsole
  }
}

/// Where a build stands.
public struct BuildCounts: Sendable, Equatable {
  /// Commands that ended.
  public var finished: Int
  /// Commands that run.
  public var running: Int
  /// Commands that ran, run, or may still have to: falls when inputs turn out unchanged.
  public var total: Int
  /// Of these, commands of which nobody knows yet whether they have to run.
  public var unknown = 0
  /// Time left, from what commands took last time; nil when it is not known or was not asked for.
  public var left: Duration?

  /// Counts; see the properties.
  public init(finished: Int, running: Int, total: Int) {
    self.finished = finished
    self.running = running
    self.total = total
  }
}

/// How a command ended.
public enum EdgeOutcome: Sendable, Equatable {
  /// It made its outputs.
  case succeeded
  /// It ended with this code (128 + n: signal n), or made no outputs; the reason in words.
  case failed(code: Int32, message: String)
  /// A signal to the build ended it.
  case interrupted
}

/// An output that was edited by hand.
public struct HandEdit: Sendable, Equatable {
  /// The edited file.
  public var path: String
  /// What was changed in it since it was written; empty when the old text was not kept.
  public var lines: [LineChange]

  /// An edit; see the properties.
  public init(path: String, lines: [LineChange]) {
    self.path = path
    self.lines = lines
  }
}

/// What a build tells while it goes on. Sent on the thread that called `Build.run`.
public enum BuildEvent: Sendable {
  /// Another build holds the lock; its process id if it is known.
  case waitingForLock(pid: Int32?)
  /// The manifest was made anew and is read again.
  case reloaded(manifest: String)
  /// A command starts; the reason is always known.
  case started(EdgeInfo, Reason, BuildCounts)
  /// A command says how far it is, and perhaps more in words of its own; "" when it does not.
  case progress(EdgeInfo, done: Int, total: Int, detail: String)
  /// A command that runs says something that people should see now, in one line.
  case note(EdgeInfo, String)
  /// A command ended, with all that it printed.
  case finished(EdgeInfo, EdgeOutcome, output: [UInt8], duration: Duration, BuildCounts)
  /// An edge's outputs were taken from the cache, with what its command had printed.
  case restored(EdgeInfo, Reason, output: [UInt8], BuildCounts)
  /// An edge is fresh; sent only where `BuildOptions.reportsFresh` asks for it.
  case skipped(EdgeInfo)
  /// Half a second went by.
  case tick(BuildCounts)
  /// An edit by hand stands.
  case edited(HandEdit)
  /// An edit by hand is in the way of a stale edge: it does not run.
  case editConflict(EdgeInfo, HandEdit, Reason)
  /// An edited file was kept under another name.
  case editKept(path: String, as: String)
  /// An output that no edge makes any more was removed.
  case removedDead(String)
  /// Something that people should know, in a sentence.
  case warning(String)
}

/// What came of a build.
public struct BuildSummary: Sendable {
  /// Commands that ran and succeeded.
  public var ran = 0
  /// Edges whose outputs came out of the cache.
  public var restored = 0
  /// Exit code of the command that failed last.
  public var lastCode: Int32 = 0
  /// What ran, when and for how long.
  public var trace = BuildTrace(runs: [])
  /// Edges that were up to date.
  public var fresh = 0
  /// Edges that failed, by their first outputs.
  public var failed: [String] = []
  /// Edges that could not run because something they need failed.
  public var blocked = 0
  /// Hand edits that stand.
  public var edits: [HandEdit] = []
  /// Dead outputs that were removed.
  public var removed: [String] = []
  /// 0; the code of a failed edge when its command is one of Quench's own verbs, else 1; 130.
  public var exitCode: Int32 = 0
  /// Stopped by a signal.
  public var interrupted = false
  /// Bytes that were read to digest files.
  public var bytesRead = 0
  /// Where the time went; only where `BuildOptions.measures` asks for it.
  public var metrics: BuildMetrics?

  /// A build that has done nothing yet.
  public init() {}

  /// Whether nothing had to be done.
  public var isNothingToDo: Bool {
    ran == 0 && restored == 0 && failed.isEmpty && !interrupted && removed.isEmpty
  }
}

/// One edge, as `status` lists it.
public struct EdgeStatus: Sendable {
  /// The edge.
  public var edge: EdgeInfo
  /// Nil when it is fresh.
  public var reason: Reason?
  /// Edits by hand that stand.
  public var edits: [HandEdit]
}

/// One step of the answer to "why": the culprit first, then what follows from it.
public struct Explanation: Sendable {
  /// First output of the edge.
  public var output: String
  /// Nil when the edge is fresh.
  public var reason: Reason?
  /// The answer in one sentence.
  public var text: String
}
