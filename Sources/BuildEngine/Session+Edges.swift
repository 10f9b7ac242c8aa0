// SPDX-License-Identifier: Apache-2.0
// BuildEngine: before and after one command.

internal import CSystem
internal import Diagnostics
internal import Glibc

extension Session {
  /// Everything that must stand before a command starts: inputs looked at again, directories and
  /// response file made, and the earlier success cancelled in the log.
  func prepare(_ edge: Int32, _ reason: Reason) throws(QuenchError) -> Run {
    states.forgetEarlyLooks()
    let command = try graph.value(.command, of: edge)
    let info = try build.info(edge, command: String(decoding: command, as: UTF8.self))
    var run = Run(
      edge: edge, info: info, command: command, reason: reason, start: 0, anchor: 0,
      observed: Observed(),
      inputs: [], named: [], outputs: [],
      expected: Int(edge) < expected.count ? expected[Int(edge)] : 1)
    let output = graph.firstOutput(edge)
    if let record = log.record(output) {
      let old = DecodedRecord(record, in: log)
      for word in old.unsettled {
        if let node = log.node(ofPath: word < 0 ? ~word : word) { run.unsettledBefore.append(node) }
      }
      for content in old.fields.discovered {
        if let node = log.node(ofContent: content) { run.discoveredBefore.append((node, content)) }
      }
      for entry in old.outputs {
        if let node = log.node(ofContent: entry.content) {
          run.previousOutputs.append((node, entry.content))
        }
      }
    }
    try protectUnknown(edge, run)
    var folderMade: Substring = ""
    for node in graph.outputs(edge) {
      let output = paths.string(node)
      let folder = output.prefix(upTo: output.lastIndex(of: "/") ?? output.startIndex)
      if folder != folderMade {
        try files.makeParents(of: output)
        folderMade = folder
      }
      run.outputs.append(try files.identity(node, in: paths))
    }
    try writeAuxiliaries(edge, &folderMade)
    for node in graph.inputs(edge) { run.inputs.append(try states.refresh(node)) }
    try observe(edge, run.command, &run.observed)
    for node in run.observed.named { run.named.append(try states.current(node)) }
    for file in run.discoveredBefore { try states.refresh(file.path) }
    try log.begin(output, isKept: try graph.flag(.generator, of: edge))
    run.start = states.tick()
    run.anchor = lock?.fileSystemTime() ?? cs_now()
    return run
  }

  /// Response file, and the directory that a depfile goes to.
  ///
  /// - Parameter folderMade: a directory that is there.
  private func writeAuxiliaries(_ edge: Int32, _ folderMade: inout Substring)
    throws(QuenchError)
  {
    if graph.has(.depfile, edge) {
      let depfile = try graph.string(.depfile, of: edge, quoting: .none)
      let folder = depfile.prefix(upTo: depfile.lastIndex(of: "/") ?? depfile.startIndex)
      if !depfile.isEmpty, folder != folderMade { try files.makeParents(of: depfile) }
    }
    guard graph.has(.rspfile, edge) else { return }
    let path = try graph.string(.rspfile, of: edge, quoting: .none)
    guard !path.isEmpty else { return }
    try files.makeParents(of: path)
    try files.write(path, try graph.value(.rspfileContent, of: edge))
  }

  /// Programs that a command starts, and files that it names without declaring them.
  private func observe(_ edge: Int32, _ command: [UInt8], _ observed: inout Observed)
    throws(QuenchError)
  {
    marks.clear()
    for node in graph.outputs(edge) { marks.insert(node) }
    for node in graph.prerequisites(edge) { marks.insert(node) }
    for key in [RuleKey.depfile, .rspfile] where graph.has(key, edge) {
      marks.insert(
        paths.intern(CanonicalPath.fold(try graph.string(key, of: edge, quoting: .none))))
    }
    var failure: QuenchError?
    ShellWords.each(command) { word, isCommand, isWritten in
      guard !isWritten, failure == nil else { return }
      do throws(QuenchError) {
        if isCommand, try takeTool(word, &observed) { return }
        try takeFile(&word, &observed)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }

  /// - Returns: whether the word stands for a program, be it in a file or not.
  private func takeTool(_ word: [UInt8], _ observed: inout Observed) throws(QuenchError) -> Bool {
    let id = word.withUnsafeBufferPointer { paths.intern($0) }
    guard let file = tools.program(id) else { return tools.needsNoFile(id) }
    // A program that the build makes itself is an input like any other.
    if !marks.contains(file), !observed.tools.contains(where: { $0.word == id }) {
      try states.refresh(file)
      observed.tools.append((id, file))
    }
    return true
  }

  /// Takes a word that names a file, which no statement lists.
  private func takeFile(_ word: inout [UInt8], _ observed: inout Observed) throws(QuenchError) {
    // Options may carry a file behind an equals sign.
    if word.first == UInt8(ascii: "-") {
      guard let equals = word.firstIndex(of: UInt8(ascii: "=")) else { return }
      word.removeSubrange(...equals)
    }
    guard !word.isEmpty, word.count < 1024, CanonicalPath.isText(word) else { return }
    CanonicalPath.fold(&word)
    // Names that nobody knows are not taken down before there is a file.
    let known = word.withUnsafeBufferPointer { paths.find($0) }
    if let known, !marks.insert(known) || graph.producer(known) >= 0 { return }
    // A word that cannot be looked at is not a file.
    guard let identity = files.identity(of: &word), identity.isRegular else { return }
    let node = word.withUnsafeBufferPointer { paths.intern($0) }
    marks.insert(node)
    try states.refresh(node, seenAs: identity)
    observed.named.append(node)
  }

  /// What became of a command that ended.
  func conclude(
    _ run: Run, _ code: Int32, _ output: [UInt8], _ duration: Duration,
    _ events: (BuildEvent) -> Void
  ) throws(QuenchError) -> EdgeOutcome {
    if summary.interrupted, code != 0 {
      try removePartial(run)
      return .interrupted
    }
    guard code == 0 else { return try fail(run, code, Session.words(code)) }
    let end = states.tick()
    var discovered: [Int32] = []
    do throws(QuenchError) {
      discovered = try readDepfile(run)
    } catch {
      return try fail(run, 1, error.description)
    }
    var outputs: [(path: Int32, content: Int32)] = []
    var missing: [Int32] = []
    for node in graph.outputs(run.edge) {
      let content = try states.refresh(node)
      if log.contentKind[Int(content)] == .missing { missing.append(node) }
      outputs.append((log.pathID(node), content))
    }
    if let first = missing.first, !areMarkers(missing) {
      return try fail(
        run, 1, "the command succeeded but did not write \"\(paths.string(first))\"")
    }
    let milliseconds = Int64(duration / .milliseconds(1))
    let success = Success(
      run: run, end: end, outputs: outputs, discovered: discovered, milliseconds: milliseconds)
    if cache != nil || options.jobs == 1 {
      let isSettled = try succeed(success, events)
      try log.flush()
      if isSettled, cache != nil { try keep(run, outputs, discovered, output) }
    } else {
      if successes.isEmpty { settlingTime = cs_monotonic() + Session.patience }
      successes.append(success)
    }
    summary.ran += 1
    return .succeeded
  }

  /// Nanoseconds that a success may wait for others. One that is not in the log when the build is
  /// killed runs again.
  private static let patience: Int64 = 100_000_000

  /// Puts the successes into the log.
  ///
  /// A file that many of them read is looked at once: any look after a command's end tells whether
  /// the file changed since the command's start.
  func settle(_ events: (BuildEvent) -> Void) throws(QuenchError) {
    guard !successes.isEmpty else { return }
    let settled = successes
    successes.removeAll(keepingCapacity: true)
    for success in settled { _ = try succeed(success, events) }
    try log.flush()
  }

  private static func words(_ code: Int32) -> String {
    code > 128 ? "ended by signal \(code - 128)" : "exit code \(code)"
  }

  private func fail(_ run: Run, _ code: Int32, _ message: String) throws(QuenchError)
    -> EdgeOutcome
  {
    summary.failed.append(run.info.output)
    let program = run.info.command.split(separator: " ").first.map(String.init) ?? ""
    let isOwn = tools.isOwn(program) && QuenchError.Kind(rawValue: code) != nil
    if summary.exitCode == 0 { summary.exitCode = isOwn ? code : 1 }
    summary.lastCode = code
    for node in graph.outputs(run.edge) { try states.refresh(node) }
    try log.fail(graph.firstOutput(run.edge))
    return .failed(code: code, message: message)
  }

  /// Whether missing outputs only serve to run their command every time: nothing reads them but
  /// aliases, as with custom targets of CMake.
  private func areMarkers(_ missing: [Int32]) -> Bool {
    let missing = Set(missing)
    var isRead = false
    for edge in 0..<Int32(graph.edgeCount)
    where graph.prerequisites(edge).contains(where: { missing.contains($0) }) {
      guard graph.isPhony(edge) else { return false }
      isRead = true
    }
    return isRead
  }

  private func readDepfile(_ run: Run) throws(QuenchError) -> [Int32] {
    guard graph.has(.depfile, run.edge) else { return [] }
    let path = try graph.string(.depfile, of: run.edge, quoting: .none)
    if path.isEmpty, try graph.flag(.deps, of: run.edge) {
      throw QuenchError(
        .data, "edge with deps=gcc but no depfile makes no sense", at: graph.place(run.edge))
    }
    guard let nodes = try graph.depfileInputs(run.edge, files) else { return [] }
    if graph.has(.deps, run.edge), try !graph.value(.deps, of: run.edge).isEmpty {
      if !options.keepsDepfiles { try files.removeRead(path) }
    }
    return nodes
  }

  /// Writes the record of a success. Inputs that changed since the start make it worthless.
  ///
  /// - Returns: whether none did.
  func succeed(_ success: Success, _ events: (BuildEvent) -> Void) throws(QuenchError) -> Bool {
    let run = success.run
    let end = success.end
    let edge = run.edge
    var unsettled: [Int32] = []
    // Inputs that the command itself writes: known by a second change in a row.
    var written: [Int32] = []
    let isGenerator = try graph.flag(.generator, of: edge)
    for (index, node) in graph.inputs(edge).enumerated() {
      let now = try states.refresh(node, after: end)
      guard now != TraceLog.always, states.changed(node, since: run.start) else { continue }
      // A command that touches its input every time must not run for ever; a generator may also
      // change it every time, as Meson does with its own state.
      if run.unsettledBefore.contains(node), isGenerator || now == run.inputs[index] {
        written.append(node)
        continue
      }
      unsettled.append(node)
    }
    var observed = run.observed
    for tool in observed.tools {
      try states.refresh(tool.file, after: end)
      if states.changed(tool.file, since: run.start) { unsettled.append(tool.file) }
    }
    observed.named.removeAll()
    for (index, node) in run.observed.named.enumerated() {
      if try states.refresh(node, after: end) != run.named[index] {
        // Twice in a row means that the command itself writes it.
        if run.unsettledBefore.contains(node) { continue }
        unsettled.append(node)
      }
      observed.named.append(node)
    }
    observed.discovered = success.discovered
    marks.clear()
    for node in success.discovered { marks.insert(node) }
    observed.named.removeAll { marks.contains($0) }
    for node in success.discovered {
      let isKnown = states.isKnown(node, since: run.start)
      let now = try states.refresh(node, after: end)
      let changed =
        isKnown
        ? states.changed(node, since: run.start)
        : (states.identity(node)?.changed ?? 0) >= run.anchor
      guard changed else { continue }
      if run.unsettledBefore.contains(node),
        run.discoveredBefore.contains(where: { $0.path == node && $0.content == now })
      {
        written.append(node)
        continue
      }
      unsettled.append(node)
    }
    for node in unsettled { events(.warning(warning(node, run))) }
    try record(
      edge, run.reason, observed, success.outputs, (unsettled, written), success.milliseconds)
    try settleUnknown(edge, events)
    if graph.has(.rspfile, edge) {
      let path = try graph.string(.rspfile, of: edge, quoting: .none)
      if !path.isEmpty, !options.keepsResponseFiles { try files.remove(path) }
    }
    return unsettled.isEmpty && written.isEmpty
  }

  private func warning(_ node: Int32, _ run: Run) -> String {
    let name = paths.string(node)
    guard graph.producer(node) < 0 || graph.inputs(run.edge).contains(node) else {
      return "\(run.info.output) reads \(name), which another edge makes, but does not list it; "
        + "the next build makes it again, in the right order"
    }
    return "\(name) changed while \(run.info.output) was made from it; "
      + "the next build makes it again"
  }

  private func record(
    _ edge: Int32, _ reason: Reason, _ observed: Observed,
    _ outputs: [(path: Int32, content: Int32)], _ changed: (unsettled: [Int32], written: [Int32]),
    _ milliseconds: Int64
  ) throws(QuenchError) {
    var fields = FieldBytes(log: log)
    try staleness.writeFields(edge, observed, to: &fields)
    let manifest = log.pathID(paths.intern(CanonicalPath.fold(options.manifest)))
    let payload = EdgeRecord.encode(
      output: log.pathID(graph.firstOutput(edge)), manifest: manifest, flags: 0,
      milliseconds: Int32(clamping: milliseconds),
      reason: reason.description, outputs: outputs,
      unsettled: changed.unsettled.map { log.pathID($0) } + changed.written.map { ~log.pathID($0) },
      fields: fields.bytes)
    log.succeed(graph.firstOutput(edge), payload)
  }

  /// Takes outputs that a generator's user made by hand as if the edge had made them.
  func adopt(_ edge: Int32) throws(QuenchError) {
    var observed = Observed()
    if let found = try graph.depfileInputs(edge, files) {
      observed.discovered = found
    } else if let record = log.record(graph.firstOutput(edge)) {
      let old = DecodedRecord(record, in: log).fields
      observed.discovered = old.discovered.compactMap { log.node(ofContent: $0) }
    }
    for node in observed.discovered { try states.refresh(node) }
    var outputs: [(path: Int32, content: Int32)] = []
    for node in graph.outputs(edge) {
      outputs.append((log.pathID(node), try states.current(node)))
    }
    try record(edge, .neverBuilt, observed, outputs, ([], []), 0)
  }

  /// Removes what an interrupted command may have left half-written: outputs that changed since
  /// its start, and all of them when a depfile says that its inputs are not known.
  private func removePartial(_ run: Run) throws(QuenchError) {
    // What people edit is written whole by its command, or was written by them.
    if graph.isSet(.keepEdits, of: run.edge) { return }
    if try graph.flag(.generator, of: run.edge) { return }
    let all = graph.has(.depfile, run.edge)
    for (index, node) in graph.outputs(run.edge).enumerated() {
      guard let now = try files.identity(node, in: paths), !now.isDirectory else { continue }
      if all || now != run.outputs[index] { try files.remove(paths.string(node)) }
    }
  }
}
