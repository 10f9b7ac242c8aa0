// SPDX-License-Identifier: Apache-2.0
// BuildEngine: outputs by the digest of what they were made from.

internal import CSystem
internal import Diagnostics
internal import Glibc

/// Outputs of earlier runs in `.quench/cache`, found by the digest of an edge's key.
///
/// `k/ab/…` holds, for the digest of all that is known before a run, up to eight entries: the files
/// that the run discovered, with their digests, and its outputs. `b/ab/…` holds contents by their
/// digest. Outputs are copied in and out (as clones where the file system can), never hard-linked, so
/// that nobody changes the cache through an output. A file's time of last change is its last use.
final class LocalCache {
  struct Output: Equatable {
    var path: [UInt8]
    var digest: Digest
    var mode: UInt32
  }

  struct Found: Equatable {
    var path: [UInt8]
    var kind: UInt8
    var digest: Digest
  }

  /// One run.
  struct Entry: Equatable {
    var discovered: [Found] = []
    var outputs: [Output] = []
    /// What the command printed.
    var text: [UInt8] = []
  }

  static let defaultLimit: Int64 = 5 << 30
  private static let magic: Int32 = 0x3143_4851  // QHC1
  private static let entriesPerKey = 8

  let files: FileSystem
  let folder: String
  let limit: Int64
  private var storedBytes: Int64 = 0
  private var made: Set<String> = []

  init(_ folder: String, limit: Int64, files: FileSystem) {
    self.folder = folder
    self.limit = limit
    self.files = files
  }

  /// The size limit that options, environment or manifest ask for; nil: no cache.
  static func limit(_ options: BuildOptions, _ graph: Graph) throws(QuenchError) -> Int64? {
    switch options.cache {
    case .off: return nil
    case .on(let limit): return limit ?? defaultLimit
    case .automatic: break
    }
    if let text = options.variable("QUENCH_CACHE") {
      return try limit(text, at: .option("QUENCH_CACHE"))
    }
    guard let name = graph.variables.names.find("quench_cache"),
      let value = graph.variables.value(name, in: 0)
    else { return nil }
    return try limit(graph.text(value), at: .option("quench_cache"))
  }

  private static func limit(_ text: String, at place: Place) throws(QuenchError) -> Int64? {
    switch text.lowercased() {
    case "", "0", "off", "no", "false": return nil
    case "1", "on", "yes", "true": return defaultLimit
    default:
      guard let bytes = MemorySize.bytes(text) else {
        throw QuenchError(
          .usage, "\"\(text)\" is no cache size", at: place, try: "on, off, or a size such as 10G")
      }
      return bytes
    }
  }

  private func keyPath(_ hex: String) -> String { "\(folder)/k/\(hex.prefix(2))/\(hex)" }
  private func blobPath(_ hex: String) -> String { "\(folder)/b/\(hex.prefix(2))/\(hex)" }

  private func makeParents(_ path: String) throws(QuenchError) {
    let parent = String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex))
    if made.insert(parent).inserted { try files.makeDirectory(parent) }
  }
}

// MARK: - Entries

extension LocalCache {
  /// What is known under a key, newest first. Damaged or foreign files hold nothing.
  func entries(_ key: Digest) -> [Entry] {
    // A file that is not there is the usual case.
    guard let bytes = try? files.read(keyPath(key.hex)), bytes.count > 16 else { return [] }
    let body = bytes.count - 8
    return bytes.withUnsafeBytes { raw -> [Entry] in
      let check = raw.loadUnaligned(fromByteOffset: body, as: UInt64.self)
      guard cs_hash(raw.baseAddress, body, 0) == check else { return [] }
      var reader = WordReader(bytes: UnsafeRawBufferPointer(rebasing: raw[..<body]), offset: 0)
      guard reader.word() == LocalCache.magic else { return [] }
      return (0..<reader.count()).map { _ in LocalCache.entry(&reader) }
    }
  }

  private static func entry(_ reader: inout WordReader) -> Entry {
    var entry = Entry()
    for _ in 0..<reader.count() {
      let path = reader.block()
      let kind = UInt8(truncatingIfNeeded: reader.word())
      entry.discovered.append(Found(path: path, kind: kind, digest: reader.digest()))
    }
    for _ in 0..<reader.count() {
      let path = reader.block()
      let mode = UInt32(bitPattern: reader.word())
      entry.outputs.append(Output(path: path, digest: reader.digest(), mode: mode))
    }
    entry.text = reader.block()
    return entry
  }

  /// Adds a run under a key.
  func add(_ entry: Entry, under key: Digest) throws(QuenchError) {
    var known = entries(key).filter { $0.discovered != entry.discovered }
    known.insert(entry, at: 0)
    var bytes: [UInt8] = []
    bytes.append(word: LocalCache.magic)
    bytes.append(word: Int32(min(known.count, LocalCache.entriesPerKey)))
    for entry in known.prefix(LocalCache.entriesPerKey) {
      bytes.append(word: Int32(entry.discovered.count))
      for found in entry.discovered {
        bytes.append(block: found.path)
        bytes.append(word: Int32(found.kind))
        found.digest.append(to: &bytes)
      }
      bytes.append(word: Int32(entry.outputs.count))
      for output in entry.outputs {
        bytes.append(block: output.path)
        bytes.append(word: Int32(bitPattern: output.mode))
        output.digest.append(to: &bytes)
      }
      bytes.append(block: entry.text)
    }
    let check = bytes.withUnsafeBytes { cs_hash($0.baseAddress, $0.count, 0) }
    withUnsafeBytes(of: check.littleEndian) { bytes.append(contentsOf: $0) }
    let path = keyPath(key.hex)
    try makeParents(path)
    try files.write(path + ".new", bytes)
    try files.rename(path + ".new", to: path)
    storedBytes += Int64(bytes.count)
  }

  /// Says that a key was of use.
  func touch(_ key: Digest) { _ = utimensat(files.descriptor, keyPath(key.hex), nil, 0) }
}

// MARK: - Contents

extension LocalCache {
  /// Keeps a copy of a file.
  func store(_ path: String, as digest: Digest) throws(QuenchError) {
    let blob = blobPath(digest.hex)
    if try files.identity(blob) != nil {
      _ = utimensat(files.descriptor, blob, nil, 0)
      return
    }
    try makeParents(blob)
    try copy(path, to: blob + ".new", mode: 0o444)
    try files.rename(blob + ".new", to: blob)
    storedBytes += Int64(try files.identity(blob)?.size ?? 0)
  }

  /// Puts a copy of a content in place of an output, by rename. - Returns: false when it is gone.
  func restore(_ output: Output, to path: String) throws(QuenchError) -> Bool {
    let blob = blobPath(output.digest.hex)
    guard try files.identity(blob)?.isRegular == true else { return false }
    let temporary = path + ".quench-restored"
    try copy(blob, to: temporary, mode: output.mode & 0o7777)
    try files.rename(temporary, to: path)
    _ = utimensat(files.descriptor, blob, nil, 0)
    return true
  }

  /// Removes a content that is not what its name says.
  func discard(_ digest: Digest) throws(QuenchError) { try files.remove(blobPath(digest.hex)) }

  private func copy(_ from: String, to: String, mode: UInt32) throws(QuenchError) {
    let source = openat(files.descriptor, from, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw QuenchError(.work, "cannot open \"\(from)\": \(reason())") }
    defer { close(source) }
    _ = unlinkat(files.descriptor, to, 0)
    let target = openat(files.descriptor, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard target >= 0 else { throw QuenchError(.work, "cannot create \"\(to)\": \(reason())") }
    defer { close(target) }
    let failure = cs_copy(source, target)
    guard failure == 0, fchmod(target, mode) == 0 else {
      let why = failure == 0 ? reason() : reason(failure)
      _ = unlinkat(files.descriptor, to, 0)
      throw QuenchError(.work, "cannot write \"\(to)\": \(why)")
    }
  }
}

// MARK: - Size

extension LocalCache {
  private struct Item {
    var path: String
    var size: Int64
    var used: Int64
  }

  /// Removes what was not used for longest until nine tenths of the limit are left, when the limit is
  /// exceeded. A total is kept in a file, so that most builds need not look at the whole cache.
  func trim() throws(QuenchError) {
    guard storedBytes > 0 else { return }
    let note = folder + "/size"
    // Without the total, it is counted anew.
    let text = (try? files.read(note)).map { String(decoding: $0, as: UTF8.self) }
    var total = text.flatMap { Int64($0) }.map { $0 + storedBytes } ?? Int64.max
    storedBytes = 0
    if total > limit {
      var items: [Item] = []
      for kind in ["k", "b"] {
        for group in try names(in: "\(folder)/\(kind)") {
          for name in try names(in: "\(folder)/\(kind)/\(group)") {
            let path = "\(folder)/\(kind)/\(group)/\(name)"
            guard let identity = try files.identity(path) else { continue }
            items.append(
              Item(path: path, size: Int64(identity.size), used: identity.modified))
          }
        }
      }
      total = items.reduce(0) { $0 + $1.size }
      if total > limit {
        for item in items.sorted(by: { ($0.used, $0.path) < ($1.used, $1.path) })
        where total > limit / 10 * 9 {
          try files.remove(item.path)
          total -= item.size
        }
      }
    }
    try files.write(note, Array("\(total)".utf8))
  }

  private func names(in path: String) throws(QuenchError) -> [String] {
    guard try files.identity(path)?.isDirectory == true else { return [] }
    return try files.listing(path).split(separator: 0x0A).compactMap { line in
      line.firstIndex(of: 0).map { String(decoding: line[..<$0], as: UTF8.self) }
    }
  }
}

extension WordReader {
  mutating func digest() -> Digest {
    guard offset + 32 <= bytes.count else { return Digest() }
    defer { offset += 32 }
    return Digest(bytes, at: offset)
  }
}

/// Fields of an edge with paths and digests in place of the log's numbers: the same in every tree.
struct FieldKey: FieldSink {
  private(set) var bytes: [UInt8] = []
  let log: TraceLog

  init(log: TraceLog) { self.log = log }

  mutating func begin(_ field: Field, count: Int) {
    bytes.append(word: field.rawValue)
    bytes.append(word: Int32(count))
  }
  mutating func bytes(_ value: [UInt8]) { bytes.append(block: value) }
  mutating func optional(_ text: String?) {
    bytes.append(word: text == nil ? 0 : 1)
    bytes.append(block: Array((text ?? "").utf8))
  }
  mutating func path(_ node: Int32) { bytes.append(block: log.paths.withBytes(node) { Array($0) }) }
  mutating func content(_ id: Int32, of node: Int32) {
    path(node)
    guard log.node(ofContent: id) != nil else { return }
    bytes.append(word: Int32(log.contentKind[Int(id)].rawValue))
    log.contentDigest[Int(id)].append(to: &bytes)
  }

  /// SHA-256 of it all; nil when memory is short.
  var digest: Digest? { Digest.of { update in bytes.withUnsafeBytes { update($0) } } }
}
