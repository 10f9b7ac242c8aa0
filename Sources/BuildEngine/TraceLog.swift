// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what earlier builds did, as an append-only file.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// The trace log: paths, contents, stat cache and one record for each edge that succeeded.
///
/// Format, little-endian: header of 16 bytes (`QNCHLOG`, NUL, u32 version, u32 zero), then records
/// {u32 length, u32 kind, u64 XXH3 of the padded payload seeded with offset, kind and length,
/// payload, zeros up to a multiple of 8}. Paths and contents get their ids by order. A record is
/// written by one call together with the paths and contents that it needs before it. The first
/// record whose length or checksum is wrong ends the log and is cut off with all after it: what is
/// lost runs again, since only an intact record makes an edge fresh.
final class TraceLog {
  static let version: UInt32 = 1
  /// An id that no content has: an alias that always counts as changed.
  static let always = Int32.max

  enum Kind: UInt32 {
    case path = 1
    case content, stat, text, edge, began, failed, dropped
  }

  enum ContentKind: UInt8 { case missing, file, directory, alias }

  /// Where an edge stands.
  enum EdgeState: UInt8 { case none, done, began, failed }

  let path: String
  let files: FileSystem
  let paths: PathTable
  /// The file's bytes, and behind them what is not written yet.
  @exclusivity(unchecked) var buffer: [UInt8] = []
  private var written = 0
  private var descriptor: Int32 = -1
  /// Bytes that were cut off because they were torn or damaged.
  private(set) var cutBytes = 0
  private(set) var isForeign = false
  /// Records that a later one has replaced, for the decision to compact.
  private(set) var deadBytes = 0

  // By log id.
  @exclusivity(unchecked) private(set) var nodeOfPath: [Int32] = []
  @exclusivity(unchecked) private(set) var contentNode: [Int32] = []
  @exclusivity(unchecked) private(set) var contentKind: [ContentKind] = []
  private(set) var contentDigest: [Digest] = []
  private var contentNext: [Int32] = []
  private(set) var texts: [Int32: Range<Int>] = [:]
  // By node.
  private var pathOfNode: [Int32] = []
  private var contentHead: [Int32] = []
  @exclusivity(unchecked) private var statContents: [Int32] = []
  @exclusivity(unchecked) private var stats: [Identity] = []
  @exclusivity(unchecked) private var recordOffsets: [Int] = []
  @exclusivity(unchecked) private var states: [EdgeState] = []

  init(_ path: String, files: FileSystem, paths: PathTable) {
    self.path = path
    self.files = files
    self.paths = paths
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  private static let header: [UInt8] = {
    var bytes = Array("QNCHLOG".utf8) + [0]
    withUnsafeBytes(of: version.littleEndian) { bytes += $0 }
    return bytes + [0, 0, 0, 0]
  }()
}

// MARK: - Loading

extension TraceLog {
  /// Reads the log; a missing one is empty. Changes nothing on disk.
  func load() throws(QuenchError) {
    let identity = try files.identity(path)
    guard identity?.isRegular != false else {
      throw QuenchError(.work, "the build log \"\(path)\" is not a file", at: .file(path))
    }
    buffer = identity == nil ? [] : try files.read(path)
    if buffer.count < 16 || !buffer.starts(with: TraceLog.header) {
      isForeign = buffer.count >= 16
      cutBytes = isForeign ? 0 : buffer.count
      buffer = TraceLog.header
      written = 0
      return
    }
    let end = buffer.withUnsafeBytes { scan($0) }
    cutBytes = buffer.count - end
    buffer.removeSubrange(end...)
    written = end
  }

  /// Applies records up to the first bad one. - Returns: the offset behind the last good one.
  private func scan(_ bytes: UnsafeRawBufferPointer) -> Int {
    guard let base = bytes.baseAddress else { return 16 }
    var offset = 16
    while offset + 16 <= bytes.count {
      let length = Int(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
      let kind = bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
      let check = bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
      let padded = (length + 7) & ~7
      guard padded <= bytes.count - offset - 16, let kind = Kind(rawValue: kind),
        check == cs_hash(base + offset + 16, padded, seed(offset, kind, length)),
        apply(
          kind, UnsafeRawBufferPointer(rebasing: bytes[(offset + 16)..<(offset + 16 + length)]),
          at: offset + 16)
      else { return offset }
      offset += 16 + padded
    }
    return offset
  }

  private func seed(_ offset: Int, _ kind: Kind, _ length: Int) -> UInt64 {
    UInt64(offset) &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(kind.rawValue) << 32 ^ UInt64(length)
  }

  /// - Returns: false when the record refers to something that is not there.
  private func apply(_ kind: Kind, _ p: UnsafeRawBufferPointer, at offset: Int) -> Bool {
    func word(_ index: Int) -> Int32 { p.loadUnaligned(fromByteOffset: index * 4, as: Int32.self) }
    switch kind {
    case .path:
      let node = paths.intern(p.assumingMemoryBound(to: UInt8.self))
      grow(to: Int(node))
      pathOfNode[Int(node)] = Int32(nodeOfPath.count)
      nodeOfPath.append(node)
    case .content:
      guard p.count == 40, let node = node(ofPath: word(0)),
        let kind = ContentKind(rawValue: p[4])
      else { return false }
      addContent(node, kind, Digest(p, at: 8))
    case .stat:
      guard p.count == 48, let node = node(ofContent: word(0)) else { return false }
      if statContents[Int(node)] >= 0 { deadBytes += 64 }
      statContents[Int(node)] = word(0)
      stats[Int(node)] = Identity(p, at: 4)
    case .text:
      guard p.count >= 4, node(ofContent: word(0)) != nil else { return false }
      texts[word(0)] = offset + 4..<offset + p.count
    case .edge:
      guard p.count >= 24, let node = node(ofPath: word(0)) else { return false }
      retire(node)
      recordOffsets[Int(node)] = offset
      states[Int(node)] = .done
    case .began, .failed:
      guard p.count >= 4, let node = node(ofPath: word(0)) else { return false }
      deadBytes += 24
      states[Int(node)] = kind == .began ? .began : .failed
    case .dropped:
      guard p.count >= 4, let node = node(ofPath: word(0)) else { return false }
      retire(node)
      recordOffsets[Int(node)] = -1
      states[Int(node)] = .none
    }
    return true
  }

  private func retire(_ node: Int32) {
    let offset = recordOffsets[Int(node)]
    if offset >= 0 { deadBytes += 16 + Int(word(at: offset - 16)) }
  }

  private func addContent(_ node: Int32, _ kind: ContentKind, _ digest: Digest) {
    let id = Int32(contentNode.count)
    contentNode.append(node)
    contentKind.append(kind)
    contentDigest.append(digest)
    contentNext.append(contentHead[Int(node)])
    contentHead[Int(node)] = id
  }

  private func node(ofPath id: Int32) -> Int32? {
    id >= 0 && Int(id) < nodeOfPath.count ? nodeOfPath[Int(id)] : nil
  }

  /// The file that a content belongs to.
  @inline(__always)
  func node(ofContent id: Int32) -> Int32? {
    id >= 0 && Int(id) < contentNode.count ? contentNode[Int(id)] : nil
  }

  private func grow(to node: Int) {
    guard node >= pathOfNode.count else { return }
    let more = max(paths.count, node + 1) * 5 / 4 + 16 - pathOfNode.count
    pathOfNode.append(contentsOf: repeatElement(-1, count: more))
    contentHead.append(contentsOf: repeatElement(-1, count: more))
    statContents.append(contentsOf: repeatElement(-1, count: more))
    stats.append(contentsOf: repeatElement(Identity(), count: more))
    recordOffsets.append(contentsOf: repeatElement(-1, count: more))
    states.append(contentsOf: repeatElement(EdgeState.none, count: more))
  }

  @inline(__always)
  func word(at offset: Int) -> Int32 {
    buffer.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Int32.self) }
  }
}

// MARK: - Asking

extension TraceLog {
  /// Offset of the payload of the edge's last success, by its first output.
  func record(_ output: Int32) -> EdgeRecord? {
    guard Int(output) < recordOffsets.count, recordOffsets[Int(output)] >= 0 else { return nil }
    return EdgeRecord(offset: recordOffsets[Int(output)])
  }

  func state(_ output: Int32) -> EdgeState {
    Int(output) < states.count ? states[Int(output)] : .none
  }

  /// The content that a file has as long as it looks like this.
  func content(_ node: Int32, seenAs identity: Identity) -> Int32? {
    guard Int(node) < stats.count, statContents[Int(node)] >= 0, stats[Int(node)] == identity
    else { return nil }
    return statContents[Int(node)]
  }

  /// The text that a content had, where it was kept.
  func text(_ content: Int32) -> [UInt8]? { texts[content].map { Array(buffer[$0]) } }

  /// The identity under which a file's content is known, and that content.
  func stat(of node: Int32) -> (content: Int32, identity: Identity)? {
    guard Int(node) < stats.count, statContents[Int(node)] >= 0 else { return nil }
    return (statContents[Int(node)], stats[Int(node)])
  }

  /// How long the run of a record took.
  func milliseconds(_ record: EdgeRecord) -> Int64 { Int64(word(at: record.offset + 12)) }

  /// Starts over with nothing but the header.
  func beginEmpty() {
    buffer = TraceLog.header
    written = 0
  }

  /// First outputs of all edges with a record.
  func recordedOutputs() -> [Int32] {
    recordOffsets.indices.filter { recordOffsets[$0] >= 0 }.map { Int32($0) }
  }
}

// MARK: - Appending

extension TraceLog {
  /// The id of a file's content, new if the file was never seen to hold it.
  func content(_ node: Int32, _ kind: ContentKind, _ digest: Digest) -> Int32 {
    grow(to: Int(node))
    var id = contentHead[Int(node)]
    while id >= 0 {
      if contentDigest[Int(id)] == digest, contentKind[Int(id)] == kind { return id }
      id = contentNext[Int(id)]
    }
    let path = pathID(node)
    append(.content) { out in
      out.append(word: path)
      out.append(contentsOf: [kind.rawValue, 0, 0, 0])
      digest.append(to: &out)
    }
    addContent(node, kind, digest)
    return Int32(contentNode.count - 1)
  }

  /// The log's id of a path.
  func pathID(_ node: Int32) -> Int32 {
    grow(to: Int(node))
    if pathOfNode[Int(node)] >= 0 { return pathOfNode[Int(node)] }
    append(.path) { out in paths.withBytes(node) { out.append(contentsOf: $0) } }
    pathOfNode[Int(node)] = Int32(nodeOfPath.count)
    nodeOfPath.append(node)
    return pathOfNode[Int(node)]
  }

  /// Remembers that a file with this identity has this content.
  func noteStat(_ node: Int32, _ identity: Identity, _ content: Int32) {
    grow(to: Int(node))
    if statContents[Int(node)] == content, stats[Int(node)] == identity { return }
    if statContents[Int(node)] >= 0 { deadBytes += 64 }
    statContents[Int(node)] = content
    stats[Int(node)] = identity
    append(.stat) { out in
      out.append(word: content)
      identity.append(to: &out)
    }
  }

  /// Keeps a text, so that a later change of it can be shown by line.
  func remember(_ content: Int32, _ text: [UInt8]) {
    guard texts[content] == nil else { return }
    let offset = append(.text) { out in
      out.append(word: content)
      out.append(contentsOf: text)
    }
    texts[content] = offset + 4..<offset + 4 + text.count
  }

  /// Says that an edge is about to run: cancels its last success until it ends well.
  func begin(_ output: Int32) throws(QuenchError) {
    let path = pathID(output)
    append(.began) { $0.append(word: path) }
    states[Int(output)] = .began
    try flush()
  }

  func fail(_ output: Int32) throws(QuenchError) {
    let path = pathID(output)
    append(.failed) { $0.append(word: path) }
    states[Int(output)] = .failed
    try flush()
  }

  func drop(_ output: Int32) {
    let path = pathID(output)
    append(.dropped) { $0.append(word: path) }
    retire(output)
    recordOffsets[Int(output)] = -1
    states[Int(output)] = .none
  }

  func succeed(_ output: Int32, _ payload: [UInt8]) throws(QuenchError) {
    retire(output)
    let offset = append(.edge) { $0.append(contentsOf: payload) }
    recordOffsets[Int(output)] = offset
    states[Int(output)] = .done
    try flush()
  }

  /// Appends one record to the buffer. - Returns: the offset of its payload.
  @discardableResult
  private func append(_ kind: Kind, _ payload: (inout [UInt8]) -> Void) -> Int {
    let offset = buffer.count
    buffer.append(contentsOf: repeatElement(0, count: 16))
    payload(&buffer)
    let length = buffer.count - offset - 16
    while buffer.count % 8 != 0 { buffer.append(0) }
    let padded = buffer.count - offset - 16
    let seed = seed(offset, kind, length)
    buffer.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      bytes.storeBytes(of: UInt32(length), toByteOffset: offset, as: UInt32.self)
      bytes.storeBytes(of: kind.rawValue, toByteOffset: offset + 4, as: UInt32.self)
      let check = cs_hash(base + offset + 16, padded, seed)
      bytes.storeBytes(of: check, toByteOffset: offset + 8, as: UInt64.self)
    }
    return offset + 16
  }
}

// MARK: - Writing

extension TraceLog {
  /// Opens the file for appending; cuts a torn tail, puts a log of another version aside.
  ///
  /// The caller holds the lock.
  func openForWriting() throws(QuenchError) {
    guard descriptor < 0 else { return }
    try files.makeParents(of: path)
    if isForeign { try files.rename(path, to: path + ".old") }
    descriptor = openat(files.descriptor, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw QuenchError(.work, "cannot open the build log \"\(path)\": \(reason())")
    }
    // Cutting nothing would still change the file's time.
    var raw = cs_identity()
    if cs_identify_open(descriptor, &raw) == 0, raw.size == UInt64(written) { return }
    guard ftruncate(descriptor, off_t(written)) == 0 else {
      throw QuenchError(.work, "cannot repair the build log \"\(path)\": \(reason())")
    }
  }

  /// Writes what has been appended, in one call. A failure leaves the file as it was.
  func flush() throws(QuenchError) {
    guard descriptor >= 0, written < buffer.count else { return }
    let count = buffer.withUnsafeBytes { bytes -> Int in
      guard let base = bytes.baseAddress else { return 0 }
      while true {
        let count = write(descriptor, base + written, bytes.count - written)
        if count >= 0 || errno != EINTR { return count }
      }
    }
    guard count == buffer.count - written else {
      let why = count < 0 ? reason() : reason(ENOSPC)
      _ = ftruncate(descriptor, off_t(written))
      throw QuenchError(
        .work, "cannot write the build log \"\(path)\": \(why)",
        try: "free some space and build again; nothing that was recorded is lost")
    }
    written = buffer.count
  }

  /// Whether more than half of a log of some size is of no use any more.
  var wantsCompaction: Bool { deadBytes > 1 << 20 && deadBytes > buffer.count / 2 }

  /// Puts a freshly written log in place of this one.
  func replaceFile(with fresh: [UInt8]) throws(QuenchError) {
    let temporary = path + ".new"
    try files.write(temporary, fresh)
    let file = openat(files.descriptor, temporary, O_WRONLY | O_CLOEXEC)
    if file >= 0 {
      fdatasync(file)
      close(file)
    }
    try files.rename(temporary, to: path)
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
  }
}
