// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the trace log without what is of no use any more.

internal import Diagnostics

extension TraceLog {
  /// Rewrites the log with only the records that count: a new file, then a rename.
  ///
  /// The caller holds the lock. This object is of no use for appending afterwards.
  func compact() throws(QuenchError) {
    let fresh = TraceLog(path, files: files, paths: paths)
    fresh.beginEmpty()
    for node in 0..<Int32(paths.count) {
      guard let (content, identity) = stat(of: node) else { continue }
      fresh.noteStat(node, identity, copy(content, to: fresh))
    }
    for output in recordedOutputs() {
      guard let record = record(output) else { continue }
      let old = DecodedRecord(record, in: self)
      let payload = EdgeRecord.encode(
        output: fresh.pathID(output), manifest: copyPath(old.manifest, to: fresh),
        flags: old.flags, milliseconds: old.milliseconds, reason: old.reason,
        outputs: old.outputs.map { (copyPath($0.path, to: fresh), copy($0.content, to: fresh)) },
        unsettled: old.unsettled.map {
          $0 < 0 ? ~copyPath(~$0, to: fresh) : copyPath($0, to: fresh)
        },
        fields: old.fields.encode(
          path: { copyPath($0, to: fresh) }, content: { copy($0, to: fresh) }))
      fresh.succeed(output, payload)
      switch state(output) {
      case .began: try fresh.begin(output, isKept: true)
      case .failed: try fresh.fail(output)
      case .none, .done: break
      }
    }
    try replaceFile(with: fresh.buffer)
  }

  private func copyPath(_ id: Int32, to fresh: TraceLog) -> Int32 {
    guard id >= 0, Int(id) < nodeOfPath.count else { return id }
    return fresh.pathID(nodeOfPath[Int(id)])
  }

  private func copy(_ content: Int32, to fresh: TraceLog) -> Int32 {
    guard let node = node(ofContent: content) else { return content }
    let id = fresh.content(node, contentKind[Int(content)], contentDigest[Int(content)])
    if let text = text(content) { fresh.remember(id, text) }
    return id
  }
}
