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
  /// The last bytes of the log, those that are not written yet among them. What is before them is
  /// read from the file when it is asked for. No record lies in both.
  @exclusivity(unchecked) var buffer: [UInt8] = []
  /// How many bytes are before them.
  @exclusivity(unchecked) var headCount = 0
  @exclusivity(unchecked) private var window = LogWindow()
  /// Offset behind the last byte.
  var end: Int { headCount + buffer.count }
  /// First outputs of the edges that succeeded since the snapshot which the rest comes from.
  var recent: Set<Int32> = []
  /// The log's beginning is the one that the snapshot `paths.origin` tells of.
  var isIndexed = false
  /// How much of it.
  var indexed = 0
  var written = 0
  var descriptor: Int32 = -1
  /// Reads what is not in memory, before the log is opened for writing.
  var reader: Int32 = -1
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

  deinit {
    if descriptor >= 0 { close(descriptor) }
    if reader >= 0 { close(reader) }
  }

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
  func text(_ content: Int32) -> [UInt8]? { texts[content].map { bytes(in: $0) { Array($0) } } }

  /// Lends bytes of one record.
  func bytes<Result>(in range: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    let isInMemory = range.lowerBound >= headCount
    let window = isInMemory ? nil : self.window(over: range)
    let first = window?.start ?? headCount
    return (window?.bytes ?? buffer).withUnsafeBytes {
      body(
        UnsafeRawBufferPointer(rebasing: $0[range.lowerBound - first..<range.upperBound - first]))
    }
  }

  @inline(__always)
  func word(at offset: Int) -> Int32 {
    if offset >= headCount {
      return buffer.withUnsafeBytes {
        $0.loadUnaligned(fromByteOffset: offset - headCount, as: Int32.self)
      }
    }
    let window = window(over: offset..<offset + 4)
    return window.bytes.withUnsafeBytes {
      $0.loadUnaligned(fromByteOffset: offset - window.start, as: Int32.self)
    }
  }

  /// Bytes of the file. Whoever uses them keeps them, also when another part is read meanwhile.
  @inline(__always)
  private func window(over range: Range<Int>) -> LogWindow {
    if range.lowerBound < window.start || range.upperBound > window.start + window.bytes.count {
      // A record's length stands before it.
      window = LogWindow(
        descriptor >= 0 ? descriptor : reader, from: max(0, range.lowerBound - 64),
        to: range.upperBound)
    }
    return window
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

/// A part of the log that was read from the file.
private final class LogWindow {
  let start: Int
  let bytes: [UInt8]

  init() {
    start = 0
    bytes = []
  }

  /// Reads at least that much; what cannot be read is zeros, which no key equals.
  init(_ file: Int32, from start: Int, to end: Int) {
    self.start = start
    let count = max(end - start, 1 << 15)
    bytes = [UInt8](unsafeUninitializedCapacity: count) { space, filled in
      guard let base = space.baseAddress else { return }
      while filled < count {
        let more = pread(file, base + filled, count - filled, off_t(start + filled))
        if more < 0, errno == EINTR { continue }
        if more <= 0 { break }
        filled += more
      }
      let missing = end - start - filled
      if missing > 0 {
        memset(base + filled, 0, missing)
        filled += missing
      }
    }
  }
}
