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
  /// The log's bytes from `headCount` on, those that are not written yet among them. No record lies
  /// on both sides.
  @exclusivity(unchecked) var buffer: [UInt8] = []
  /// The bytes before them, as they lie in the file.
  @exclusivity(unchecked) private var head: FileMap?
  @exclusivity(unchecked) private(set) var headCount = 0
  /// Nodes whose record there was found to be whole.
  @exclusivity(unchecked) private var intact: [Bool] = []
  /// Offset behind the last byte.
  var end: Int { headCount + buffer.count }
  /// First outputs of the edges that succeeded since the snapshot which the rest comes from, some more
  /// than once.
  var recent: [Int32] = []
  /// The log's beginning is the one that the snapshot `paths.origin` tells of.
  var isIndexed = false
  /// How much of it.
  var indexed = 0
  var written = 0
  var descriptor: Int32 = -1
  /// Bytes that were cut off because they were torn or damaged.
  var cutBytes = 0
  var isForeign = false
  /// Records that a later one has replaced, for the decision to compact.
  var deadBytes = 0

  // By log id.
  @exclusivity(unchecked) var nodeOfPath: Column<Int32>
  @exclusivity(unchecked) var contentNode: Column<Int32>
  @exclusivity(unchecked) var contentKind: Column<ContentKind>
  @exclusivity(unchecked) var contentDigest: Column<Digest>
  @exclusivity(unchecked) var contentNext: Column<Int32>
  var texts: [Int32: Range<Int>] = [:]
  // By node.
  @exclusivity(unchecked) var pathOfNode: Column<Int32>
  @exclusivity(unchecked) var contentHead: Column<Int32>
  @exclusivity(unchecked) var statContents: Column<Int32>
  @exclusivity(unchecked) var stats: Column<Identity>
  @exclusivity(unchecked) var recordOffsets: Column<Int>
  @exclusivity(unchecked) var states: Column<EdgeState>

  init(_ path: String, files: FileSystem, paths: PathTable) {
    self.path = path
    self.files = files
    self.paths = paths
    nodeOfPath = Column()
    contentNode = Column()
    contentKind = Column()
    contentDigest = Column()
    contentNext = Column()
    pathOfNode = Column()
    contentHead = Column()
    statContents = Column()
    stats = Column()
    recordOffsets = Column()
    states = Column()
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  static let header: [UInt8] = {
    var bytes = Array("QNCHLOG".utf8) + [0]
    withUnsafeBytes(of: version.littleEndian) { bytes += $0 }
    return bytes + [0, 0, 0, 0]
  }()
}

// MARK: - Asking

extension TraceLog {
  /// Offset of the payload of the edge's last success, by its first output.
  func record(_ output: Int32) -> EdgeRecord? {
    guard Int(output) < recordOffsets.count, recordOffsets[Int(output)] >= 0 else { return nil }
    let offset = recordOffsets[Int(output)]
    guard offset >= headCount || isIntact(output, at: offset) else { return nil }
    return EdgeRecord(offset: offset)
  }

  /// Whether a record in the part of the file that nobody read is the one that was written there. A
  /// damaged one is as if there were none.
  private func isIntact(_ output: Int32, at offset: Int) -> Bool {
    let index = Int(output)
    if index < intact.count, intact[index] { return true }
    if let head, head.holds(.edge, at: offset), node(ofPath: word(at: offset)) == output {
      if intact.isEmpty { intact = [Bool](repeating: false, count: recordOffsets.count) }
      if index < intact.count { intact[index] = true }
      return true
    }
    recordOffsets[index] = -1
    states[index] = .none
    return false
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
  func text(_ content: Int32) -> [UInt8]? { texts[content].map { bytes(in: $0) { Array($0) } } }

  /// Leaves the beginning in the file, and keeps what is behind it.
  func keep(_ tail: [UInt8], behind map: FileMap) {
    head = map
    headCount = map.bytes.count
    buffer = tail
  }

  /// Lends bytes of one record.
  func bytes<Result>(in range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    if let head, range.lowerBound < headCount {
      defer { withExtendedLifetime(head) {} }
      return body(UnsafeRawBufferPointer(rebasing: head.bytes[range]))
    }
    let first = headCount
    return buffer.withUnsafeBytes {
      body(
        UnsafeRawBufferPointer(rebasing: $0[range.lowerBound - first..<range.upperBound - first]))
    }
  }

  @inline(__always)
  func word(at offset: Int) -> Int32 {
    if let head, offset < headCount {
      return head.bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)
    }
    return buffer.withUnsafeBytes {
      $0.loadUnaligned(fromByteOffset: offset - headCount, as: Int32.self)
    }
  }

  /// Lends the payload of an edge's record.
  func withPayload<Result>(
    _ record: EdgeRecord, _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result {
    let length = Int(UInt32(bitPattern: word(at: record.offset - 16)))
    return bytes(in: record.offset..<record.offset + length, body)
  }

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
    (0..<Int32(recordOffsets.count)).filter { recordOffsets[Int($0)] >= 0 }
  }
}
