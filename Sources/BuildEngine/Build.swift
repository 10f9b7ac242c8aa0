// SPDX-License-Identifier: Apache-2.0
// BuildEngine: manifest language, graph, digests, trace log, staleness, scheduler, processes.

internal import CSystem
public import Diagnostics
internal import Glibc

/// A build of one manifest in one directory.
///
/// Use from one thread at a time; only `interrupt` may be called from another.
public final class Build {
  let options: BuildOptions
  let files: FileSystem
  let paths: PathTable
  var graph: Graph
  var logPath: String
  var lockPath: String
  /// When reading began: what changed after that may not have been read.
  let opened: Int64
  /// What was seen before; serves one run.
  private var glance: Glance?
  /// Where names and graph come from; its index of the log serves one run.
  private var snapshot: Snapshot?
  /// A pipe: a byte wakes the runner, which takes it for a signal.
  private let wake: (read: Int32, write: Int32)

  /// Reads the manifest. The log is read when it is needed.
  ///
  /// - Throws: `.noInput` when directory or manifest are missing; `.data` with line and column when
  ///   the manifest is malformed.
  ///
  /// - Parameter glance: what was just seen in the same directory with the same options.
  public init(_ options: BuildOptions, after glance: Glance? = nil) throws(QuenchError) {
    self.options = options
    self.glance = glance
    if let glance {
      files = glance.files
    } else {
      files = try FileSystem(options.directory)
      if options.measures { files.metrics = BuildMetrics() }
    }
    opened = cs_now()
    let snapshot = Snapshot(options, files: files)
    if let snapshot, snapshot.isCurrent || glance?.certificate?.snapshot == snapshot.id,
      let names = PathTable(snapshot)
    {
      paths = names
    } else {
      paths = PathTable(capacity: 4096)
    }
    if let snapshot, snapshot.isCurrent, paths.origin == snapshot.id,
      let known = Graph(snapshot, paths: paths)
    {
      graph = known
      known.reread = { [files] source in
        guard let (bytes, identity) = try? files.readWithIdentity(source.path) else { return nil }
        return identity == source.identity ? bytes : nil
      }
    } else {
      graph = try Build.parse(options, files, paths)
    }
    self.snapshot = snapshot
    (logPath, lockPath) = Build.statePaths(options, graph)
    var ends: (Int32, Int32) = (-1, -1)
    let failure = withUnsafeMutablePointer(to: &ends) {
      $0.withMemoryRebound(to: Int32.self, capacity: 2) { cs_pipe($0) }
    }
    guard failure == 0 else {
      throw QuenchError(.work, "cannot make a pipe: \(reason(failure))")
    }
    _ = fcntl(ends.0, F_SETFL, O_NONBLOCK)
    wake = (ends.0, ends.1)
  }

  private static func parse(_ options: BuildOptions, _ files: FileSystem, _ paths: PathTable)
    throws(QuenchError) -> Graph
  {
    try files.measured(.manifest) { () throws(QuenchError) -> Graph in
      try Parser.parse(
        options.manifest, files: files, paths: paths,
        refusesSelfReference: options.refusesSelfReference)
    }
  }

  /// The path of a file beside the log.
  func statePath(_ name: String) -> String {
    guard let slash = logPath.lastIndex(of: "/") else { return name }
    // Not `+` of a slice: for its types the runtime would search every conformance of the binary.
    return String(logPath[...slash]) + name
  }

  deinit {
    close(wake.read)
    close(wake.write)
  }

  /// Ends a running build as the signal would. May be called from any thread; between two runs it
  /// ends the next one.
  public func interrupt(signal: Int32 = 2) {
    var byte = UInt8(truncatingIfNeeded: signal)
    _ = write(wake.write, &byte, 1)
  }

  /// The targets that are built when none are named.
  public var defaultTargets: [String] { defaultNodes().map { paths.string($0) } }

  private static func statePaths(_ options: BuildOptions, _ graph: Graph) -> (String, String) {
    let name = graph.variables.names.intern("builddir")
    guard let value = graph.variables.value(name, in: 0), value.count > 0 else {
      return (options.logPath, options.lockPath)
    }
    let folder = graph.text(value)
    return (folder + "/" + options.logPath, folder + "/" + options.lockPath)
  }

  func defaultNodes() -> [Int32] { graph.defaults.isEmpty ? graph.roots() : graph.defaults }

  /// Builds targets, or the default ones.
  ///
  /// Takes the lock, brings the manifest up to date first when an edge makes it, and reads it
  /// again when that edge ran.
  /// - Returns: what came of it; failing commands are in there, not thrown.
  /// - Throws: what kept the build from being done at all.
  public func run(targets: [String] = [], events: (BuildEvent) -> Void) throws(QuenchError)
    -> BuildSummary
  {
    let glance: Glance
    if let taken = self.glance {
      glance = taken
      self.glance = nil
    } else {
      glance = try Glance(options, targets: targets)
    }
    if glance.files !== files { files.metrics?.add(glance.files.metrics) }
    if var summary = glance.nothingToDo {
      summary.metrics = files.metrics
      return summary
    }
    var lock: BuildLock?
    if !options.dryRun {
      lock = try BuildLock(lockPath, files: files) { events(.waitingForLock(pid: $0)) }
    }
    try rereadIfChanged()
    let log = try files.measured(.log) { () throws(QuenchError) -> TraceLog in try openLog(glance) }
    if !options.dryRun { try log.openForWriting() }
    if log.isForeign {
      events(.warning("the build log is of another version; everything is built anew"))
    } else if log.cutBytes > 0 {
      events(.warning("the build log was damaged; its last \(log.cutBytes) bytes were dropped"))
    }
    for warning in graph.warnings { events(.warning(warning)) }

    let session = try Session(self, log: log, lock: lock, wake: wake.read)
    if options.usesJobserver, !options.dryRun {
      let announcement = Jobserver.announcement(options.variable("MAKEFLAGS") ?? "")
      if let server = Jobserver(announcement) {
        session.tokens = JobTokens(server)
      } else if announcement != .none {
        events(.warning("make's jobserver cannot be reached (mark the recipe with +)"))
      }
    }
    // Nothing may have happened between the glance and the lock, and the log must be all there: what
    // a lost record tells of its edge's inputs, nobody else knows.
    if glance.isComplete, glance.logIsSame, log.cutBytes == 0, !log.isForeign {
      session.followsCertificate = true
      session.states.takeOver(glance)
      if glance.termsHold, let terms = glance.certificate?.terms {
        session.tools.takeOver(terms.programs)
      }
      session.scope = try session.scope(after: glance, log.isIndexed ? snapshot : nil)
    }
    if session.scope == nil { session.keepTexts(of: 0..<Int32(graph.edgeCount)) }
    try regenerate(session, events)
    var isPlanned = false
    if !session.summary.interrupted, session.summary.failed.isEmpty {
      if session.scope == nil { try session.removeDead(events) }
      let nodes = try targets.isEmpty ? defaultNodes() : targets.map(node)
      guard !nodes.isEmpty || graph.edgeCount == 0 else {
        throw graph.rootless()
      }
      try session.build(nodes, scope: session.scope, events)
      isPlanned = true
    }
    snapshot = nil
    try log.flush()
    session.summary.trace.runs = session.trace
    if !options.dryRun, !session.trace.isEmpty {
      try files.overwrite(statePath("last.json"), session.summary.trace.file)
    }
    try session.cache?.trim()
    session.summary.bytesRead = session.states.bytesRead
    session.summary.metrics = files.metrics
    if !options.dryRun, log.wantsCompaction {
      try log.compact()
    } else if !options.dryRun, isPlanned, log.cutBytes == 0, !log.isForeign {
      session.certify(targets: targets, log: logPath, opened: opened)
    }
    withExtendedLifetime(lock) {}
    return session.summary
  }

  /// The log as it is; the snapshot's index of it where the log is sure to be the same.
  private func openLog(_ glance: Glance) throws(QuenchError) -> TraceLog {
    // What a run wrote to the index is of no use to the next one.
    snapshot = snapshot ?? Snapshot(options, files: files)
    if let snapshot, glance.isComplete, glance.logIsSame, let certificate = glance.certificate,
      certificate.snapshot == snapshot.id, certificate.terms.log == logPath,
      let log = TraceLog(
        logPath, files: files, paths: paths, snapshot: snapshot, size: Int(certificate.log.size))
    {
      return log
    }
    let log = TraceLog(logPath, files: files, paths: paths)
    try log.load()
    return log
  }

  /// Makes the manifest itself, as often as it takes.
  private func regenerate(_ session: Session, _ events: (BuildEvent) -> Void) throws(QuenchError) {
    for _ in 0..<100 {
      let manifest = paths.intern(CanonicalPath.fold(options.manifest))
      guard graph.producer(manifest) >= 0 else { return }
      let before = session.summary.ran
      try session.build([manifest], events)
      session.manifestPlan = session.planned
      if options.dryRun || session.summary.interrupted || !session.summary.failed.isEmpty { return }
      session.summary.fresh = 0
      guard session.summary.ran > before else { return }
      graph = try Build.parse(options, files, paths)
      session.restart()
      events(.reloaded(manifest: options.manifest))
    }
    throw QuenchError(
      .data, "manifest '\(options.manifest)' is still stale after 100 tries",
      at: .file(options.manifest))
  }

  /// Reads the manifest again if somebody changed it since it was read.
  private func rereadIfChanged() throws(QuenchError) {
    if graph.dyndeps.contains(where: \.isLoaded) {
      // What a dyndep file added may be another thing today.
      graph = try Build.parse(options, files, paths)
    }
    for source in graph.sources where try files.identity(source.path) != source.identity {
      graph = try Build.parse(options, files, paths)
      (logPath, lockPath) = Build.statePaths(options, graph)
      return
    }
  }

  /// The node of a target that a user named; `file^` means the first output made from it, also
  /// when only an earlier run discovered that it reads the file.
  func node(_ target: String) throws(QuenchError) -> Int32 {
    let name = CanonicalPath.fold(target)
    if let node = paths.find(name), graph.mentions(node) { return node }
    if target.hasSuffix("^") {
      let source = CanonicalPath.fold(String(target.dropLast()))
      if let node = paths.find(source), graph.mentions(node) {
        for edge in 0..<Int32(graph.edgeCount) where graph.prerequisites(edge).contains(node) {
          return graph.firstOutput(edge)
        }
      }
      if let output = try reader(of: source) { return output }
      throw QuenchError(.usage, "nothing is made from '\(source)'")
    }
    throw QuenchError(.usage, "unknown target '\(target)'\(graph.hint(name))")
  }

  /// The first output whose last run discovered a file.
  private func reader(of source: String) throws(QuenchError) -> Int32? {
    let session = try look()
    guard let node = paths.find(source) else { return nil }
    for edge in 0..<Int32(graph.edgeCount) where !graph.isPhony(edge) {
      if session.observed(edge).discovered.contains(node) { return graph.firstOutput(edge) }
    }
    return nil
  }

  func info(_ edge: Int32) throws(QuenchError) -> EdgeInfo {
    try info(edge, command: graph.string(.command, of: edge))
  }

  func info(_ edge: Int32, command: String) throws(QuenchError) -> EdgeInfo {
    var description = try options.verbose ? "" : graph.string(.description, of: edge)
    if description.isEmpty { description = command }
    return EdgeInfo(
      index: Int(edge), output: paths.string(graph.firstOutput(edge)), description: description,
      command: command, usesConsole: isConsole(edge))
  }

  func isConsole(_ edge: Int32) -> Bool { graph.poolOf[Int(edge)] == 0 }
}
