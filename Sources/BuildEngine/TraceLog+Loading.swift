// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the trace log read back, up to the first record that is not whole.

internal import CSystem
internal import Diagnostics
internal import Glibc

extension TraceLog {
  /// Reads the log; a missing one is empty. Changes nothing on disk.
  func load() throws(QuenchError) {
    let identity = try files.identity(path)
    guard identity?.isRegular != false else {
      throw QuenchError(.work, "the build log \"\(path)\" is not a file", at: .file(path))
    }
    buffer = []
    if let identity {
      let room = Int(clamping: identity.size) / 8 + 1 << 16
      buffer = try files.readWithIdentity(path, room: room).bytes
    }
    if buffer.count < 16 || !buffer.starts(with: TraceLog.header) {
      isForeign = buffer.count >= 16
      cutBytes = isForeign ? 0 : buffer.count
      buffer = TraceLog.header
      written = 0
      return
    }
    scan(from: 16)
  }

  /// Applies the records in memory and cuts off the first bad one with all behind it.
  func scan(from start: Int) {
    let good =
      start
      + buffer.withUnsafeBytes { scan(UnsafeRawBufferPointer(rebasing: $0[start...]), at: start) }
    cutBytes = buffer.count - good
    buffer.removeSubrange(good...)
    written = end
  }

  /// Applies records up to the first bad one. - Returns: how many bytes the good ones take.
  ///
  /// - Parameter first: where in the log they begin.
  func scan(_ bytes: UnsafeRawBufferPointer, at first: Int) -> Int {
    guard let base = bytes.baseAddress else { return 0 }
    var offset = 0
    while offset + 16 <= bytes.count {
      let length = Int(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
      let kind = bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
      let check = bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
      let padded = (length + 7) & ~7
      guard padded <= bytes.count - offset - 16, let kind = Kind(rawValue: kind),
        check == cs_hash(base + offset + 16, padded, TraceLog.seed(first + offset, kind, length)),
        apply(
          kind, UnsafeRawBufferPointer(rebasing: bytes[(offset + 16)..<(offset + 16 + length)]),
          at: first + offset + 16)
      else { return offset }
      offset += 16 + padded
    }
    return offset
  }

  static func seed(_ offset: Int, _ kind: Kind, _ length: Int) -> UInt64 {
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
      if isIndexed { recent.append(node) }
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

  func retire(_ node: Int32) {
    let offset = recordOffsets[Int(node)]
    if offset >= 0 { deadBytes += 16 + Int(word(at: offset - 16)) }
  }

  func addContent(_ node: Int32, _ kind: ContentKind, _ digest: Digest) {
    let id = Int32(contentNode.count)
    contentNode.append(node)
    contentKind.append(kind)
    contentDigest.append(digest)
    contentNext.append(contentHead[Int(node)])
    contentHead[Int(node)] = id
  }

  func node(ofPath id: Int32) -> Int32? {
    id >= 0 && Int(id) < nodeOfPath.count ? nodeOfPath[Int(id)] : nil
  }

  /// The file that a content belongs to.
  @inline(__always)
  func node(ofContent id: Int32) -> Int32? {
    id >= 0 && Int(id) < contentNode.count ? contentNode[Int(id)] : nil
  }

  func grow(to node: Int) {
    guard node >= pathOfNode.count else { return }
    let length = max(paths.count, node + 1) + 256
    pathOfNode.extend(to: length, with: -1)
    contentHead.extend(to: length, with: -1)
    statContents.extend(to: length, with: -1)
    stats.extend(to: length, with: Identity())
    recordOffsets.extend(to: length, with: -1)
    states.extend(to: length, with: EdgeState.none)
  }
}

extension FileMap {
  /// Whether a log mapped here has a whole record of a kind with its payload at an offset.
  func holds(_ kind: TraceLog.Kind, at payload: Int) -> Bool {
    guard payload >= 32, payload <= bytes.count, let base = bytes.baseAddress else { return false }
    let start = payload - 16
    let length = Int(bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self))
    let padded = (length + 7) & ~7
    return padded <= bytes.count - payload
      && bytes.loadUnaligned(fromByteOffset: start + 4, as: UInt32.self) == kind.rawValue
      && bytes.loadUnaligned(fromByteOffset: start + 8, as: UInt64.self)
        == cs_hash(base + payload, padded, TraceLog.seed(start, kind, length))
  }
}
