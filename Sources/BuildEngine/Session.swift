// SPDX-License-Identifier: Apache-2.0
// BuildEngine: one run of a build: the scheduler's actions performed.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// All that lives from the moment the lock is taken until it is given back.
final class Session {
  /// Copies of editable outputs of which nobody knows who wrote them, by output.
  var unclaimed: [Int32: String] = [:]
  /// What has to be remembered of a command until it ends.
  struct Run {
    var step = -1
    var edge: Int32
    var info: EdgeInfo
    var command: [UInt8]
    var reason: Reason
    /// Event count at the start: a file that changed later changed during the run.
    var start: Int32
    /// The file system's time just before the start.
    var anchor: Int64
    var observed: Observed
    /// Contents of the inputs and of the named files at the start.
    var inputs: [Int32]
    var named: [Int32]
    var outputs: [Identity?]
    /// Files that changed during the run before this one.
    var unsettledBefore: [Int32] = []
    /// What the run before this one discovered and made, with the contents of that time.
    var discoveredBefore: [(path: Int32, content: Int32)] = []
    var previousOutputs: [(path: Int32, content: Int32)] = []
    /// When the command began, by the monotonic clock, and how many milliseconds it may take.
    var begun: Int64 = 0
    var expected: Int64 = 0
  }

  /// A command that ended, of which nothing is known yet.
  struct Ended {
    var step: Int
    var code: Int32
    var output: [UInt8]
    var duration: Duration
  }

  /// A success that is not in the log yet: its inputs are looked at together with those of others.
  struct Success {
    var run: Run
    /// Event count when it had ended.
    var end: Int32
    var outputs: [(path: Int32, content: Int32)]
    var discovered: [Int32]
    var milliseconds: Int64
  }

  let build: Build
  let options: BuildOptions
  let files: FileSystem
  let paths: PathTable
  let log: TraceLog
  let lock: BuildLock?
  let states: FileStates
  var graph: Graph
  var staleness: Staleness
  let tools: ToolTable
  var runner: Runner?
  let wake: Int32
  var summary = BuildSummary()
  /// What runs, and what has ended and is not dealt with.
  var runs: [Run] = []
  /// Commands whose places others have taken.
  var ended: [Ended] = []
  var successes: [Success] = []
  /// Nodes of the edge that is looked at.
  var marks = NodeMarks()
  /// When the first of them is to be in the log, by the monotonic clock.
  var settlingTime: Int64 = 0
  var finished = 0
  var cache: LocalCache?
  var trace: [BuildTrace.Run] = []
  /// When the build began, by the monotonic clock.
  let began = cs_monotonic()
  /// Why steps of the plan run, by step; empty while none is stale.
  var reasons: [Reason] = []
  var tokens: JobTokens?
  /// Milliseconds that edges took, or may take, by edge; filled when the first command is to run.
  var expected: Column<Int64> = Column()
  /// Edges of the current plan whose outputs came out of the cache.
  var restoredHere = 0
  var signalsSeen = 0
  /// Edges that an earlier plan of this build has dealt with: kept only where dyndep files make
  /// several plans necessary.
  var done: Set<Int32> = []
  var failedEdges: Set<Int32> = []
  /// Dyndep files that cannot be had in this build.
  var lostDyndeps: Set<Int32> = []
  /// What was seen before the build is all that an earlier one looked at.
  var followsCertificate = false
  /// The only edges that can be stale; nil: any can.
  var scope: Scope?
  /// Edges of the last plan.
  var planned: [Int32] = []
  /// Edges that the manifest itself needs.
  var manifestPlan: [Int32] = []
  /// A file was found that an earlier build made, no edge makes, and others have changed.
  var hasDead = false

  init(_ build: Build, log: TraceLog, lock: BuildLock?, wake: Int32) throws(QuenchError) {
    self.build = build
    options = build.options
    files = build.files
    paths = build.paths
    graph = build.graph
    self.log = log
    self.lock = lock
    self.wake = wake
    files.fineDevice = files.fineDevice ?? lock?.probe()
    states = FileStates(files: files, paths: paths, log: log, graph: graph)
    tools = ToolTable(
      paths: paths,
      search: ToolSearch(
        files, path: options.searchPath, ownExecutable: options.ownExecutable))
    staleness = Staleness(
      graph: graph, states: states, log: log, options: options, tools: tools)
    if lock != nil, let limit = try LocalCache.limit(options, graph) {
      cache = LocalCache(build.statePath("cache"), limit: limit, files: files)
    }
  }

  /// Goes on with a manifest that was read again.
  func restart() {
    done.removeAll()
    failedEdges.removeAll()
    lostDyndeps.removeAll()
    scope = nil
    manifestPlan = []
    graph = build.graph
    states.restart(with: graph)
    staleness = Staleness(
      graph: graph, states: states, log: log, options: options, tools: tools)
    keepTexts(of: 0..<Int32(graph.edgeCount))
  }

  /// Texts whose changes are shown by line: outputs that may be edited, and settings.
  func keepTexts(of edges: some Sequence<Int32>) {
    for edge in edges where !graph.isPhony(edge) {
      if graph.isSet(.keepEdits, of: edge) {
        for node in graph.outputs(edge) { states.keepText(node) }
      }
      for node in graph.inputs(edge) where isSettings(node) { states.keepText(node) }
    }
  }

  /// Extensions of small texts that people edit, as the bytes of a number.
  private static let settings: [UInt64] = [
    "cfg", "conf", "ini", "json", "toml", "yaml", "yml", "samples", "csv", "ninja",
  ].map { $0.utf8.reduce(0) { $0 << 8 | UInt64($1) } }

  private func isSettings(_ node: Int32) -> Bool {
    paths.withBytes(node) { bytes in
      var suffix: UInt64 = 0
      for (distance, byte) in bytes.reversed().prefix(8).enumerated() {
        if byte == UInt8(ascii: ".") { return distance > 1 && Session.settings.contains(suffix) }
        suffix |= UInt64(byte) << UInt64(8 * distance)
      }
      return false
    }
  }
}
