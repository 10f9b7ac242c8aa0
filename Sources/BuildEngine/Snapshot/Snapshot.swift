// SPDX-License-Identifier: Apache-2.0
// BuildEngine: graph and log as they lie in memory, in a file.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// The parsed manifest, all names, and the index of the log, as arrays to be mapped and used where
/// they lie: no text is parsed, no table built, no record decoded that nobody asks for.
///
/// Serves as long as the manifest's files are what they were; its part on the log, as long as a
/// certificate that names it tells that the log's beginning is the same. Any doubt leads to parsing.
///
/// Format, little-endian: header of 32 bytes (magic, u32 version, u32 number of sections, u64
/// length, u64 XXH3 of the table seeded with the length), a table of 40 bytes for each section
/// (offset, bytes, bytes of room behind them, size of an element, XXH3 of the bytes; u64 each), the
/// sections at multiples of 64.
final class Snapshot {
  static let magic: UInt64 = 0x504E_5348_434E_4551  // "QENCHSNP"
  /// Raised with every change of a column's meaning or of the manifest language.
  static let version: UInt32 = 1
  static let headerSize = 32
  static let entrySize = 40

  enum Section: Int, CaseIterable {
    case sources, graph
    case pathArena, pathStarts, pathLengths, pathTags, pathSlots
    case members, bounds, ruleOf, scopeOf, origins, bindings, bindingStart, poolOf, producers
    case isMentioned, text, pieces
    case log
    case nodeOfPath, contentNode, contentKind, contentDigest, contentNext
    case pathOfNode, contentHead, statContents, stats, recordOffsets, states
    case readerStart, readers

    /// Whether the section is of use only with the log that it was made from.
    var isOfLog: Bool { rawValue >= Section.log.rawValue }
  }

  struct Entry {
    var offset = 0
    var length = 0
    var room = 0
    var stride = 0
    var checksum: UInt64 = 0
  }

  /// Tells this snapshot from every other.
  let id: UInt64
  private(set) var sources: [Graph.Source] = []
  /// Its graph is that of the manifest as it is now.
  private(set) var isCurrent = false
  private let map: FileMap
  private let entries: [Entry]
  private let base: UnsafeMutableRawPointer

  /// Where the snapshot of a directory lies.
  static func path(_ options: BuildOptions) -> String {
    let slash = options.logPath.lastIndex(of: "/")
    return (slash.map { String(options.logPath[...$0]) } ?? "") + "graph"
  }

  /// Opens the snapshot of a directory; nil when there is any doubt.
  init?(_ options: BuildOptions, files: FileSystem) {
    guard let map = FileMap(Snapshot.path(options), files: files, isScratch: true),
      let start = map.bytes.baseAddress, map.bytes.count >= Snapshot.headerSize,
      map.bytes.load(as: UInt64.self) == Snapshot.magic,
      map.bytes.load(fromByteOffset: 8, as: UInt32.self) == Snapshot.version,
      map.bytes.load(fromByteOffset: 12, as: UInt32.self) == UInt32(Section.allCases.count),
      map.bytes.load(fromByteOffset: 16, as: UInt64.self) == UInt64(map.bytes.count)
    else { return nil }
    let table = Section.allCases.count * Snapshot.entrySize
    guard map.bytes.count >= Snapshot.headerSize + table else { return nil }
    self.map = map
    base = UnsafeMutableRawPointer(mutating: start)
    id = cs_hash(base + Snapshot.headerSize, table, UInt64(map.bytes.count))
    var entries: [Entry] = []
    for section in Section.allCases {
      func field(_ index: Int) -> Int {
        map.bytes.load(
          fromByteOffset: Snapshot.headerSize + section.rawValue * Snapshot.entrySize + index * 8,
          as: Int.self)
      }
      let entry = Entry(
        offset: field(0), length: field(1), room: field(2), stride: field(3),
        checksum: UInt64(bitPattern: Int64(field(4))))
      guard entry.offset >= 0, entry.offset % 64 == 0, entry.length >= 0, entry.room >= 0,
        entry.offset <= map.bytes.count, entry.length <= map.bytes.count - entry.offset,
        entry.room <= map.bytes.count - entry.offset - entry.length, entry.stride > 0
      else { return nil }
      entries.append(entry)
    }
    self.entries = entries
    guard id != 0, map.bytes.load(fromByteOffset: 24, as: UInt64.self) == id,
      isIntact({ !$0.isOfLog })
    else { return nil }
    isCurrent = isOf(options, files)
  }

  /// Whether the part that is of use with its log only is whole.
  var hasLog: Bool { isIntact { $0.isOfLog } }

  private func isIntact(_ isWanted: (Section) -> Bool) -> Bool {
    Section.allCases.allSatisfy { section in
      let entry = entries[section.rawValue]
      return !isWanted(section)
        || cs_hash(base + entry.offset, entry.length, 0) == entry.checksum
    }
  }

  /// Whether it was made with these options from the manifest's files as they are now.
  private func isOf(_ options: BuildOptions, _ files: FileSystem) -> Bool {
    withWords(.sources) { reader in
      guard reader.block() == Snapshot.key(options) else { return false }
      let count = reader.count(size: 2)
      for _ in 0..<count {
        let path = String(decoding: reader.block(), as: UTF8.self)
        let bytes = reader.block()
        guard bytes.count == 44 else { return false }
        let identity = bytes.withUnsafeBytes { Identity($0, at: 0) }
        guard let now = try? files.identity(path), now == identity else { return false }
        sources.append(Graph.Source(path: path, bytes: nil, identity: identity))
      }
      return count > 0
    }
  }

  /// What the graph depends on beside the files.
  static func key(_ options: BuildOptions) -> [UInt8] {
    var out: [UInt8] = []
    out.append(word: options.refusesSelfReference ? 1 : 0)
    out.append(block: options.manifest.utf8)
    out.append(block: options.logPath.utf8)
    return out
  }

  /// A section's values, where they lie. Each section serves one column only, which may write to it.
  func column<Element: BitwiseCopyable>(_ section: Section) -> Column<Element> {
    let entry = entries[section.rawValue]
    let stride = MemoryLayout<Element>.stride
    guard entry.stride == stride, entry.length % stride == 0 else { return Column() }
    return Column(
      map, base + entry.offset, count: entry.length / stride,
      capacity: (entry.length + entry.room) / stride)
  }

  func withWords<Result>(_ section: Section, _ body: (inout WordReader) -> Result) -> Result {
    let entry = entries[section.rawValue]
    var reader = WordReader(
      bytes: UnsafeRawBufferPointer(start: base + entry.offset, count: entry.length), offset: 0)
    return body(&reader)
  }
}
