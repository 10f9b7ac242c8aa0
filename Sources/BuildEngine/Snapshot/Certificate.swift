// SPDX-License-Identifier: Apache-2.0
// BuildEngine: proof that nothing is to be done: all that the last decision looked at.

internal import CSystem
internal import Glibc

/// What a build had looked at when its edges were fresh, all or but for some, for the next one to
/// compare.
///
/// The decision is a function of the manifest's files, the log, the state of each file, some
/// environment variables, what programs' names mean, and the options. While all of these are the
/// same, so is the answer: no manifest is parsed, no log read and no table built to know it. Any
/// difference, and any doubt about the file, leads to the whole decision (`Staleness.verdict`).
///
/// Format, little-endian: header of 72 bytes (see `Header`), then `files` identities of 44 bytes, each
/// with its number in the snapshot that the header names behind it (-1: none),
/// `files` + 1 offsets of u32 into the names, names with a NUL behind each, and a tail of u32-counted
/// blocks: the log's path and its end, options, variables, programs, edges. The checksum (XXH3, seeded with the length) covers all
/// behind the header's first 24 bytes.
enum Certificate {
  static let magic: UInt64 = 0x3453_5246_4843_4E51  // "QNCHFRS4"
  static let headerSize = 72

  /// Offsets of the header's fields.
  enum Header {
    static let magic = 0
    static let length = 8
    static let checksum = 16
    static let files = 24
    static let fresh = 28
    static let names = 32
    static let tail = 36
    /// The log's inode, size, change of content and of state, when the decision was made.
    static let log = 40
    /// The id of the snapshot that tells of the log's beginning; 0: none.
    static let snapshot = 64
  }

  /// What of the log must be the same: it only ever grows, or is replaced.
  struct LogMark: Equatable {
    var inode: UInt64
    var size: UInt64
    var changed: Int64

    init(_ identity: Identity) {
      inode = identity.inode
      size = identity.size
      changed = identity.changed
    }
  }

  /// All but the files.
  struct Terms {
    /// The log's path.
    var log = ""
    /// How it ended (`FileSystem.ending`): a log of the same size and times that ends otherwise may
    /// lack what edges were seen to read.
    var logEnding: [UInt8] = []
    /// Whatever the options say that may change the decision.
    var options: [UInt8] = []
    var variables: [(name: String, value: String?)] = []
    /// What names of programs mean.
    var programs: [(word: String, file: String?)] = []
    /// The edges that the targets need. Of no use where the difference of a file does not tell which
    /// edges it can concern.
    var needed = EdgeSet()
    /// Those of them that are not known to be fresh.
    var open = EdgeSet()
  }

  /// - Parameters:
  ///   - fresh: edges that the targets need, aliases left out.
  ///   - snapshot: holds the first names of `paths` under their ids, and the log's index; 0: none.
  static func encode(
    files: [(path: Int32, identity: Identity)], paths: PathTable, log: Identity, fresh: Int,
    terms: Terms, snapshot: UInt64
  ) -> [UInt8] {
    let files = byDirectory(files, paths)
    var out = [UInt8](repeating: 0, count: headerSize)
    out.reserveCapacity(headerSize + files.count * 96)
    for (path, identity) in files {
      identity.append(to: &out)
      out.append(word: snapshot != 0 && Int(path) < paths.originCount ? path : -1)
    }
    var offset: Int32 = 0
    for (path, _) in files {
      out.append(word: offset)
      offset += Int32(paths.length(path)) + 1
    }
    out.append(word: offset)
    for (path, _) in files {
      paths.withBytes(path) { out.append(contentsOf: $0) }
      out.append(0)
    }
    while out.count % 8 != 0 { out.append(0) }
    out.withUnsafeMutableBytes { bytes in
      bytes.storeBytes(of: magic, toByteOffset: Header.magic, as: UInt64.self)
      bytes.storeBytes(of: UInt32(files.count), toByteOffset: Header.files, as: UInt32.self)
      bytes.storeBytes(of: UInt32(offset), toByteOffset: Header.names, as: UInt32.self)
      bytes.storeBytes(of: UInt32(bytes.count), toByteOffset: Header.tail, as: UInt32.self)
    }
    append(terms, to: &out)
    out.withUnsafeMutableBytes { bytes in
      bytes.storeBytes(of: UInt64(bytes.count), toByteOffset: Header.length, as: UInt64.self)
      bytes.storeBytes(of: UInt32(fresh), toByteOffset: Header.fresh, as: UInt32.self)
      bytes.storeBytes(of: snapshot, toByteOffset: Header.snapshot, as: UInt64.self)
      store(LogMark(log), in: bytes)
      let check = checksum(UnsafeRawBufferPointer(bytes))
      bytes.storeBytes(of: check, toByteOffset: Header.checksum, as: UInt64.self)
    }
    return out
  }

  static func append(_ terms: Terms, to out: inout [UInt8]) {
    out.append(block: terms.log.utf8)
    out.append(block: terms.logEnding)
    out.append(block: terms.options)
    out.append(word: Int32(terms.variables.count))
    for (name, value) in terms.variables {
      out.append(block: name.utf8)
      out.append(word: value == nil ? 0 : 1)
      out.append(block: (value ?? "").utf8)
    }
    out.append(word: Int32(terms.programs.count))
    for (word, file) in terms.programs {
      out.append(block: word.utf8)
      out.append(word: file == nil ? 0 : 1)
      out.append(block: (file ?? "").utf8)
    }
    out.append(block: terms.needed.bits)
    out.append(block: terms.open.bits)
  }

  static func store(_ mark: LogMark, in header: UnsafeMutableRawBufferPointer) {
    header.storeBytes(of: mark.inode, toByteOffset: Header.log, as: UInt64.self)
    header.storeBytes(of: mark.size, toByteOffset: Header.log + 8, as: UInt64.self)
    header.storeBytes(of: mark.changed, toByteOffset: Header.log + 16, as: Int64.self)
  }

  /// The files of each directory together, so that one walk to it serves all.
  private static func byDirectory(
    _ files: [(path: Int32, identity: Identity)], _ paths: PathTable
  ) -> [(path: Int32, identity: Identity)] {
    let folders = PathTable(capacity: 256)
    let folderOf = files.map { file in
      paths.withBytes(file.path) { bytes in
        let slash = bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0
        return folders.intern(UnsafeBufferPointer(rebasing: bytes[..<slash]))
      }
    }
    var next = [Int](repeating: 0, count: folders.count + 1)
    for folder in folderOf { next[Int(folder) + 1] += 1 }
    for folder in 0..<folders.count { next[folder + 1] += next[folder] }
    var order = [Int](repeating: 0, count: files.count)
    for (index, folder) in folderOf.enumerated() {
      order[next[Int(folder)]] = index
      next[Int(folder)] += 1
    }
    return order.map { files[$0] }
  }

  static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    guard let base = bytes.baseAddress, bytes.count > 24 else { return 0 }
    return cs_hash(base + 24, bytes.count - 24, UInt64(bytes.count))
  }
}

// MARK: - Reading

extension Certificate {
  /// A certificate that lies in memory as it lies in the file. Its bytes are proven by length and
  /// checksum before anything else is read.
  final class Reader {
    let map: FileMap
    let count: Int
    let fresh: Int
    let log: LogMark
    let terms: Terms
    let snapshot: UInt64
    /// Where the terms begin.
    let tail: Int
    private let checksum: UInt64
    private let base: UnsafeRawPointer
    private let namesAt: Int
    private let namesLength: Int

    /// Nil when there is any doubt.
    init?(_ map: FileMap) {
      let bytes = map.bytes
      guard bytes.count >= headerSize, bytes.count % 4 == 0, let base = bytes.baseAddress,
        bytes.load(fromByteOffset: Header.magic, as: UInt64.self) == magic,
        bytes.load(fromByteOffset: Header.length, as: UInt64.self) == UInt64(bytes.count),
        case let checksum = bytes.load(fromByteOffset: Header.checksum, as: UInt64.self),
        checksum == Certificate.checksum(bytes)
      else { return nil }
      self.checksum = checksum
      let files = Int(bytes.load(fromByteOffset: Header.files, as: UInt32.self))
      let names = Int(bytes.load(fromByteOffset: Header.names, as: UInt32.self))
      let tail = Int(bytes.load(fromByteOffset: Header.tail, as: UInt32.self))
      let namesAt = headerSize + files * 48 + (files + 1) * 4
      guard namesAt + names <= tail, tail <= bytes.count, names > 0,
        bytes[namesAt + names - 1] == 0
      else { return nil }
      self.map = map
      self.base = base
      self.tail = tail
      snapshot = bytes.load(fromByteOffset: Header.snapshot, as: UInt64.self)
      count = files
      fresh = Int(bytes.load(fromByteOffset: Header.fresh, as: UInt32.self))
      self.namesAt = namesAt
      namesLength = names
      var mark = LogMark(Identity())
      mark.inode = bytes.load(fromByteOffset: Header.log, as: UInt64.self)
      mark.size = bytes.load(fromByteOffset: Header.log + 8, as: UInt64.self)
      mark.changed = bytes.load(fromByteOffset: Header.log + 16, as: Int64.self)
      log = mark
      var reader = WordReader(bytes: bytes, offset: tail)
      var terms = Terms()
      func text() -> String { String(decoding: reader.block(), as: UTF8.self) }
      func optional() -> String? {
        let isThere = reader.word() != 0
        let value = text()
        return isThere ? value : nil
      }
      terms.log = text()
      terms.logEnding = reader.block()
      terms.options = reader.block()
      for _ in 0..<reader.count(size: 3) { terms.variables.append((text(), optional())) }
      for _ in 0..<reader.count(size: 3) { terms.programs.append((text(), optional())) }
      terms.needed = EdgeSet(bits: reader.block())
      terms.open = EdgeSet(bits: reader.block())
      self.terms = terms
    }

    /// Nobody has begun to bring it up to date where it lies (`Certificate.update`).
    var isUntouched: Bool {
      map.bytes.load(fromByteOffset: Header.checksum, as: UInt64.self) == checksum
    }

    /// The identity that a file had; inode 0 when it was not there.
    @inline(__always)
    func identity(_ index: Int) -> Identity {
      Identity(map.bytes, at: headerSize + index * 48)
    }

    /// The number of a file in the snapshot; -1 when it is not in there.
    @inline(__always)
    func node(_ index: Int) -> Int32 {
      map.bytes.load(fromByteOffset: headerSize + index * 48 + 44, as: Int32.self)
    }

    /// Compares all files; see `cs_sweep`.
    func sweep(
      _ directory: Int32, _ threads: Int32, _ differs: UnsafeMutablePointer<UInt8>
    ) -> Int32 {
      let offsets = base + (headerSize + count * 48)
      return cs_sweep(
        directory, (base + namesAt).assumingMemoryBound(to: CChar.self), namesLength,
        offsets.assumingMemoryBound(to: UInt32.self), base + headerSize, count, threads, differs)
    }

    /// A file's name, NUL behind it. Nil when the certificate is not in order.
    @inline(__always)
    func name(_ index: Int) -> UnsafeBufferPointer<UInt8>? {
      let at = headerSize + count * 48 + index * 4
      let start = Int(map.bytes.load(fromByteOffset: at, as: UInt32.self))
      let end = Int(map.bytes.load(fromByteOffset: at + 4, as: UInt32.self))
      guard start < end, end <= namesLength else { return nil }
      return UnsafeRawBufferPointer(rebasing: map.bytes[(namesAt + start)..<(namesAt + end - 1)])
        .assumingMemoryBound(to: UInt8.self)
    }
  }
}
