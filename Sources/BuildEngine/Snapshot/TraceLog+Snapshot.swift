// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the trace log's index in a snapshot.

internal import CSystem
internal import Glibc

extension TraceLog {
  /// A log whose beginning need not be read: the snapshot has its index, and whoever asks knows that
  /// the file is the same. Nil when there is any doubt.
  convenience init?(
    _ path: String, files: FileSystem, paths: PathTable, snapshot: Snapshot, size: Int
  ) {
    guard snapshot.hasLog, paths.origin == snapshot.id else { return nil }
    self.init(path, files: files, paths: paths)
    nodeOfPath = snapshot.column(.nodeOfPath)
    contentNode = snapshot.column(.contentNode)
    contentKind = snapshot.column(.contentKind)
    contentDigest = snapshot.column(.contentDigest)
    contentNext = snapshot.column(.contentNext)
    pathOfNode = snapshot.column(.pathOfNode)
    contentHead = snapshot.column(.contentHead)
    statContents = snapshot.column(.statContents)
    stats = snapshot.column(.stats)
    recordOffsets = snapshot.column(.recordOffsets)
    states = snapshot.column(.states)
    let length = snapshot.withWords(.log) { reader -> Int in
      let length = reader.long()
      deadBytes = reader.long()
      for _ in 0..<reader.count(size: 5) {
        let content = reader.word()
        let from = reader.long()
        texts[content] = from..<max(from, reader.long())
      }
      return length
    }
    guard length >= 16, length <= size, contentNode.count == contentKind.count,
      contentNode.count == contentDigest.count, contentNode.count == contentNext.count,
      pathOfNode.count == states.count, pathOfNode.count == recordOffsets.count,
      pathOfNode.count == stats.count, pathOfNode.count == statContents.count,
      pathOfNode.count == contentHead.count,
      let map = FileMap(path, files: files, length: size), map.identity.size == UInt64(size)
    else { return nil }
    keep([], behind: map)
    isIndexed = true
    indexed = length
    written = size
    // What was appended since. It was whole when the certificate was made.
    guard scan(UnsafeRawBufferPointer(rebasing: map.bytes[length...]), at: length) == size - length
    else { return nil }
  }

  /// Adds the index of all that is written.
  func write(to writer: inout SnapshotWriter) {
    writer.add(.nodeOfPath, nodeOfPath)
    writer.add(.contentNode, contentNode)
    writer.add(.contentKind, contentKind)
    writer.add(.contentDigest, contentDigest)
    writer.add(.contentNext, contentNext)
    writer.add(.pathOfNode, pathOfNode)
    writer.add(.contentHead, contentHead)
    writer.add(.statContents, statContents)
    writer.add(.stats, stats)
    writer.add(.recordOffsets, recordOffsets)
    writer.add(.states, states)
    var words: [UInt8] = []
    words.append(long: end)
    words.append(long: deadBytes)
    words.append(word: Int32(texts.count))
    for (content, range) in texts.sorted(by: { $0.key < $1.key }) {
      words.append(word: content)
      words.append(long: range.lowerBound)
      words.append(long: range.upperBound)
    }
    writer.add(.log, words)
  }

  /// Whether so much was appended since the snapshot that a new one is worth its while.
  var hasOutgrownSnapshot: Bool { !isIndexed || end - indexed > 1 << 18 + indexed / 8 }
}
