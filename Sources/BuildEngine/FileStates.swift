// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what each file holds now, read as seldom as possible.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// The content of every file that a build looks at, as ids of the trace log.
///
/// A file is stat'ed once a build, a source that the log does not know twice, and all again around
/// each command that reads or writes them. A file is read only when its identity is not the one under
/// which its content is known.
final class FileStates {
  let files: FileSystem
  let paths: PathTable
  let log: TraceLog
  private(set) var graph: Graph

  /// What is known of one file. All zeros: nothing.
  private struct State: BitwiseCopyable {
    var identity: Identity
    /// Of its content, the complement of the id; 0 for a file that was not looked at in this build.
    var complement: Int32
    /// When its content was first known and last seen to change, in events of this build.
    var knownAt: Int32
    var changedAt: Int32
    /// When it was last looked at, likewise.
    var lookedAt: Int32
    var isSettled: Bool
    var keepsText: Bool
    /// Its edge would make it anew: set by dry runs and questions only.
    var isPending: Bool

    var isKnown: Bool { complement != 0 }
    var content: Int32 {
      get { ~complement }
      set { complement = ~newValue }
    }
  }

  /// By node. Most builds look at a few of all files, and touch no more of this.
  @exclusivity(unchecked) private var states: Column<State> = Column()
  /// Nodes whose content is known, in the order in which they were looked at.
  @exclusivity(unchecked) private var order: Column<Int32> = Column()
  /// Counts events; a command remembers the count at which it started.
  private(set) var clock: Int32 = 1
  /// What a glance saw before this build, by node: numbers in its certificate, -1 for others.
  /// Serves first looks only, and none after a command started.
  private var early: Glance?
  @exclusivity(unchecked) private var earlyOf: [Int32] = []
  /// The reverse: nodes by their numbers in the certificate.
  private(set) var certified: [Int32] = []
  /// Bytes that were read to digest them, for the figures at the end.
  private(set) var bytesRead = 0

  init(files: FileSystem, paths: PathTable, log: TraceLog, graph: Graph) {
    self.files = files
    self.paths = paths
    self.log = log
    self.graph = graph
  }

  /// Takes a reloaded graph and forgets what was seen.
  func restart(with graph: Graph) {
    self.graph = graph
    early = nil
    states = Column()
    order = Column()
  }

  /// Takes over what was seen a moment ago, so that no file is looked at twice.
  func takeOver(_ glance: Glance) {
    guard let certificate = glance.certificate else { return }
    early = glance
    earlyOf = [Int32](repeating: -1, count: paths.count)
    certified = [Int32](repeating: -1, count: certificate.count)
    let hasNumbers = certificate.snapshot != 0 && certificate.snapshot == paths.origin
    for index in 0..<certificate.count {
      var node = hasNumbers ? certificate.node(index) : -1
      if node < 0 || node >= paths.originCount {
        guard let name = certificate.name(index), let found = paths.find(name) else { continue }
        node = found
      }
      earlyOf[Int(node)] = Int32(index)
      certified[index] = node
    }
  }

  /// A file's number in the certificate that was taken over.
  func certificateIndex(_ node: Int32) -> Int? {
    Int(node) < earlyOf.count && earlyOf[Int(node)] >= 0 ? Int(earlyOf[Int(node)]) : nil
  }

  /// Whether this build looked at the file itself.
  func wasLookedAt(_ node: Int32) -> Bool {
    Int(node) < states.count && states[Int(node)].isKnown
  }

  /// Files of a certificate that this build found to be other than it tells.
  func differing(from certificate: Certificate.Reader) -> [Int32] {
    var found: [Int32] = []
    for place in 0..<order.count {
      let node = order[place]
      guard let index = certificateIndex(node),
        states[Int(node)].identity != certificate.identity(index)
      else { continue }
      found.append(node)
    }
    return found
  }

  /// A command may change any file from now on.
  func forgetEarlyLooks() { early = nil }

  private func look(_ node: Int32) throws(QuenchError) -> Identity? {
    if let early, let certificate = early.certificate, !states[Int(node)].isKnown,
      Int(node) < earlyOf.count, earlyOf[Int(node)] >= 0
    {
      let index = Int(earlyOf[Int(node)])
      let identity = early.changed[Int32(index)] ?? certificate.identity(index)
      return identity.inode == 0 ? nil : identity
    }
    return try files.measured(.look) { () throws(QuenchError) -> Identity? in
      try files.identity(node, in: paths)
    }
  }

  /// Every file that this build looked at, with what was seen; nil when one of them could change
  /// without notice. Without aliases that always count as changed.
  func looked() -> [(path: Int32, identity: Identity)]? {
    // In the order of the nodes, by a bit for each: `sort` needs types for which the runtime searches
    // every conformance of the binary.
    var isKnown: Column<UInt64> = Column(zeros: states.count / 64 + 1)
    for place in 0..<order.count {
      isKnown[Int(order[place] >> 6)] |= 1 << UInt64(order[place] & 63)
    }
    var seen: [(path: Int32, identity: Identity)] = []
    seen.reserveCapacity(order.count)
    for word in 0..<isKnown.count {
      while isKnown[word] != 0 {
        let node = Int32(word * 64 + isKnown[word].trailingZeroBitCount)
        isKnown[word] &= isKnown[word] - 1
        guard add(node, to: &seen) else { return nil }
      }
    }
    return seen
  }

  /// - Returns: false when the file could change without notice.
  private func add(_ node: Int32, to seen: inout [(path: Int32, identity: Identity)]) -> Bool {
    let state = states[Int(node)]
    guard state.isSettled else { return false }
    if state.content == TraceLog.always { return true }
    let edge = graph.producer(node)
    // An alias is what its members are; without members, it is a file that must stay absent.
    if edge >= 0, graph.isPhony(edge), !graph.inputs(edge).isEmpty { return true }
    seen.append((node, state.identity))
    return true
  }

  func tick() -> Int32 {
    clock += 1
    return clock
  }

  private func grow(to node: Int) {
    guard node >= states.count else { return }
    states.extendWithZeros(to: max(paths.count, node + 1) * 5 / 4 + 16)
  }

  /// The content of a file as first seen in this build.
  @inline(__always)
  func current(_ node: Int32) throws(QuenchError) -> Int32 {
    if Int(node) < states.count, states[Int(node)].isKnown { return states[Int(node)].content }
    return try refresh(node)
  }

  /// Whether the file is there (an alias counts as there).
  func exists(_ node: Int32) throws(QuenchError) -> Bool {
    let content = try current(node)
    return content == TraceLog.always || log.contentKind[Int(content)] != .missing
  }

  /// Whether a source is there, whose content will be asked for later: not read now unless its
  /// content is known without, so that commands may run while others of its kind are read.
  func isThere(_ node: Int32) throws(QuenchError) -> Bool {
    grow(to: Int(node))
    guard !states[Int(node)].isKnown else { return try exists(node) }
    states[Int(node)].lookedAt = clock
    let identity = try look(node)
    if let identity, log.content(node, seenAs: identity) == nil { return true }
    try see(node, identity)
    return identity != nil
  }

  func identity(_ node: Int32) -> Identity? {
    guard wasLookedAt(node), states[Int(node)].identity.inode != 0 else { return nil }
    return states[Int(node)].identity
  }

  /// Whether the file has changed, or may have, since an event of this build.
  func changed(_ node: Int32, since start: Int32) -> Bool {
    Int(node) < states.count && states[Int(node)].changedAt > start
  }

  func isKnown(_ node: Int32, since start: Int32) -> Bool {
    guard Int(node) < states.count else { return false }
    let known = states[Int(node)].knownAt
    return known > 0 && known <= start
  }

  /// The content of a file that was looked at.
  func known(_ node: Int32) -> Int32 { states[Int(node)].content }

  func setPending(_ node: Int32) {
    grow(to: Int(node))
    states[Int(node)].isPending = true
  }

  func isPending(_ node: Int32) -> Bool {
    Int(node) < states.count && states[Int(node)].isPending
  }

  /// Asks for the text of this file to be kept whenever it is read.
  func keepText(_ node: Int32) {
    grow(to: Int(node))
    states[Int(node)].keepsText = true
  }

  /// The content of a file at some time after an event of this build.
  @discardableResult
  func refresh(_ node: Int32, after event: Int32) throws(QuenchError) -> Int32 {
    if wasLookedAt(node), states[Int(node)].lookedAt >= event { return states[Int(node)].content }
    return try refresh(node)
  }

  /// Takes a look at a file that somebody had a moment ago.
  func refresh(_ node: Int32, seenAs identity: Identity) throws(QuenchError) {
    grow(to: Int(node))
    states[Int(node)].lookedAt = clock
    try take(node, identity)
  }

  /// Looks at the file again. - Returns: its content now.
  @discardableResult
  func refresh(_ node: Int32) throws(QuenchError) -> Int32 {
    grow(to: Int(node))
    states[Int(node)].lookedAt = clock
    let edge = graph.producer(node)
    if edge >= 0, graph.isPhony(edge), let content = try alias(node, edge) {
      note(node, content, nil, settled: true)
      return content
    }
    return try see(node, try look(node))
  }

  @discardableResult
  private func see(_ node: Int32, _ identity: Identity?) throws(QuenchError) -> Int32 {
    guard let identity else {
      let content = log.content(node, .missing, Digest())
      note(node, content, Identity(), settled: true)
      return content
    }
    return try take(node, identity)
  }

  @discardableResult
  private func take(_ node: Int32, _ identity: Identity) throws(QuenchError) -> Int32 {
    let old = states[Int(node)]
    if old.isKnown, old.isSettled, old.identity == identity { return old.content }
    if let content = log.content(node, seenAs: identity),
      !old.keepsText || log.texts[content] != nil
    {
      note(node, content, identity, settled: true)
      return content
    }
    return try files.measured(.digest) { () throws(QuenchError) -> Int32 in
      try digest(node, identity)
    }
  }

  private func note(_ node: Int32, _ content: Int32, _ identity: Identity?, settled: Bool) {
    let index = Int(node)
    let state = states[index]
    if !state.isKnown {
      order.append(node)
      states[index].knownAt = tick()
    } else if state.content != content
      || identity.map({ $0.modified != state.identity.modified }) == true
    {
      states[index].changedAt = tick()
    }
    states[index].content = content
    if let identity { states[index].identity = identity }
    states[index].isSettled = settled
  }

  private func digest(_ node: Int32, _ identity: Identity) throws(QuenchError) -> Int32 {
    let path = paths.string(node)
    let started = cs_now()
    if identity.isDirectory {
      let listing = try files.listing(path)
      guard let digest = Digest.of({ update in listing.withUnsafeBytes { update($0) } }) else {
        throw FileStates.noMemory
      }
      let after = try files.identity(path) ?? Identity()
      return record(
        node, .directory, digest, after,
        settled: after == identity && files.isSettled(after, at: started))
    }
    guard identity.isRegular else {
      // A device or pipe has no content to compare: its identity stands for it.
      var bytes: [UInt8] = []
      identity.append(to: &bytes)
      guard let digest = Digest.of({ update in bytes.withUnsafeBytes { update($0) } }) else {
        throw FileStates.noMemory
      }
      return record(node, .file, digest, identity, settled: true)
    }
    let keeps = states[Int(node)].keepsText && identity.size <= 256 << 10
    var text: [UInt8] = []
    var settled = false
    var seen = identity
    var found: Digest?
    for _ in 0..<3 {
      let started = cs_now()
      text.removeAll()
      var stable = false
      found = try Digest.of { (update) throws(QuenchError) in
        let before = seen
        let (after, count) = try files.read(path, size: before.size) { bytes in
          update(bytes)
          bytesRead += bytes.count
          if keeps { text.append(contentsOf: bytes) }
        }
        seen = after
        stable = before == after && (UInt64(count) == after.size || after.size == 0)
        settled = stable && files.isSettled(after, at: started)
      }
      if stable { break }
    }
    guard let found else { throw FileStates.noMemory }
    let content = record(node, .file, found, seen, settled: settled)
    if keeps { log.remember(content, text) }
    return content
  }

  private func record(
    _ node: Int32, _ kind: TraceLog.ContentKind, _ digest: Digest, _ identity: Identity,
    settled: Bool
  ) -> Int32 {
    let content = log.content(node, kind, digest)
    if settled { log.noteStat(node, identity, content) }
    note(node, content, identity, settled: settled)
    return content
  }

  /// What an alias stands for: a digest of its members. Nil when the alias is a file after all.
  ///
  /// Without members and without a file it always counts as changed (the Ninja manual, `phony`).
  private func alias(_ node: Int32, _ edge: Int32) throws(QuenchError) -> Int32? {
    let members = graph.inputs(edge)
    if members.isEmpty {
      if try look(node) != nil { return nil }
      return graph.validations(edge).isEmpty ? TraceLog.always : log.content(node, .alias, Digest())
    }
    var bytes: [UInt8] = []
    for member in members {
      // An alias may be asked for again after its members were made.
      let content = wasLookedAt(node) ? try refresh(member) : try current(member)
      if content == TraceLog.always { return TraceLog.always }
      paths.withBytes(member) { bytes.append(contentsOf: $0) }
      bytes.append(0)
      bytes.append(log.contentKind[Int(content)].rawValue)
      log.contentDigest[Int(content)].append(to: &bytes)
    }
    return log.content(node, .alias, Digest(mixing: bytes))
  }

  private static var noMemory: QuenchError {
    QuenchError(.work, "there is no memory for a digest")
  }
}
