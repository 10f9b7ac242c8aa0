// SPDX-License-Identifier: Apache-2.0
// BuildEngine: records for the trace log, and their way to the disk.

internal import CSystem
internal import Diagnostics
internal import Glibc

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

  /// Says that an edge is about to run: cancels its last success until it ends well. On disk, too,
  /// where there is something to cancel.
  ///
  /// - Parameter isKept: whether it is to be known of an edge that never succeeded, too.
  func begin(_ output: Int32, isKept: Bool) throws(QuenchError) {
    guard isKept || record(output) != nil else {
      grow(to: Int(output))
      states[Int(output)] = .began
      return
    }
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

  /// Takes an edge's success; the caller flushes.
  func succeed(_ output: Int32, _ payload: [UInt8]) {
    retire(output)
    let offset = append(.edge) { $0.append(contentsOf: payload) }
    recordOffsets[Int(output)] = offset
    states[Int(output)] = .done
    if isIndexed { recent.append(output) }
  }

  /// Appends one record to the buffer. - Returns: the offset of its payload.
  @discardableResult
  private func append(_ kind: Kind, _ payload: (inout [UInt8]) -> Void) -> Int {
    let offset = buffer.count
    let place = end
    buffer.append(contentsOf: repeatElement(0, count: 16))
    payload(&buffer)
    let length = buffer.count - offset - 16
    while buffer.count % 8 != 0 { buffer.append(0) }
    let padded = buffer.count - offset - 16
    let seed = TraceLog.seed(place, kind, length)
    buffer.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      bytes.storeBytes(of: UInt32(length), toByteOffset: offset, as: UInt32.self)
      bytes.storeBytes(of: kind.rawValue, toByteOffset: offset + 4, as: UInt32.self)
      let check = cs_hash(base + offset + 16, padded, seed)
      bytes.storeBytes(of: check, toByteOffset: offset + 8, as: UInt64.self)
    }
    return place + 16
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
    guard descriptor >= 0, written < end else { return }
    let from = written - headCount
    let count = files.measured(.write) {
      buffer.withUnsafeBytes { bytes -> Int in
        guard let base = bytes.baseAddress else { return 0 }
        while true {
          let count = Glibc.write(descriptor, base + from, bytes.count - from)
          if count >= 0 || errno != EINTR { return count }
        }
      }
    }
    guard count == buffer.count - from else {
      let why = count < 0 ? reason() : reason(ENOSPC)
      _ = ftruncate(descriptor, off_t(written))
      throw QuenchError(
        .work, "cannot write the build log \"\(path)\": \(why)",
        try: "free some space and build again; nothing that was recorded is lost")
    }
    written = end
    guard buffer.count > TraceLog.mostInMemory,
      let map = FileMap(path, files: files, length: written)
    else { return }
    keep([], behind: map)
  }

  /// Of what is written, no more than this stays in memory.
  private static let mostInMemory = 1 << 22

  /// Whether more than half of a log of some size is of no use any more.
  var wantsCompaction: Bool { deadBytes > 1 << 20 && deadBytes > end / 2 }

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
