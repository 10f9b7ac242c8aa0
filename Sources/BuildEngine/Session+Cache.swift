// SPDX-License-Identifier: Apache-2.0
// BuildEngine: edges whose outputs come out of the cache.

internal import Diagnostics
internal import Glibc

extension Session {
  /// The most that a command may print and still be kept.
  private static let textLimit = 1 << 16

  /// The key of an edge that may be cached: its outputs are files that it alone writes and nothing
  /// else is expected of it. Nil otherwise, and when an input always counts as changed.
  private func cacheKey(_ edge: Int32, _ observed: Observed) throws(QuenchError) -> Digest? {
    guard !build.isConsole(edge), !graph.isSet(.keepEdits, of: edge),
      try !graph.flag(.generator, of: edge)
    else { return nil }
    var known = observed
    known.discovered = []
    var key = FieldKey(log: log)
    guard try staleness.writeFields(edge, known, to: &key) == nil else { return nil }
    return key.digest
  }

  /// Puts the outputs of an equal earlier run in place.
  ///
  /// - Returns: the files which that run discovered and what it printed; nil when there is none.
  func restore(_ run: Run) throws(QuenchError) -> (discovered: [Int32], text: [UInt8])? {
    guard let cache, let key = try cacheKey(run.edge, run.observed) else { return nil }
    let outputs = Array(graph.outputs(run.edge))
    let ordered = Set(graph.prerequisites(run.edge)).union(staleness.discoveredProducts(run.edge))
    entries: for entry in cache.entries(key) {
      guard entry.outputs.count == outputs.count else { continue }
      var discovered: [Int32] = []
      for found in entry.discovered {
        let node = found.path.withUnsafeBufferPointer { paths.intern($0) }
        // What another edge makes counts only when it is sure to be up to date by now.
        guard graph.producer(node) < 0 || ordered.contains(node) else { continue entries }
        let content = Int(try states.refresh(node))
        guard content < log.contentKind.count, log.contentKind[content].rawValue == found.kind,
          log.contentDigest[content] == found.digest
        else { continue entries }
        discovered.append(node)
      }
      guard try place(entry.outputs, outputs, cache) else { continue }
      cache.touch(key)
      return (discovered, entry.text)
    }
    return nil
  }

  /// Puts contents in place. What is damaged is thrown away, and the command runs.
  private func place(_ kept: [LocalCache.Output], _ outputs: [Int32], _ cache: LocalCache)
    throws(QuenchError) -> Bool
  {
    for (output, node) in zip(kept, outputs) {
      guard paths.withBytes(node, { $0.elementsEqual(output.path) }) else { return false }
      let path = paths.string(node)
      switch files.kind(path) {
      case S_IFREG:
        let now = Int(try states.refresh(node))
        if log.contentDigest[now] == output.digest, log.contentKind[now] == .file,
          states.identity(node).map({ $0.mode & 0o7777 == output.mode & 0o7777 }) == true
        {
          continue
        }
      case 0: break
      default: return false
      }
      guard try cache.restore(output, to: path) else { return false }
      let now = Int(try states.refresh(node))
      guard log.contentDigest[now] == output.digest else {
        try cache.discard(output.digest)
        return false
      }
    }
    return true
  }

  /// Keeps what a command made.
  func keep(
    _ run: Run, _ outputs: [(path: Int32, content: Int32)], _ discovered: [Int32], _ text: [UInt8]
  ) throws(QuenchError) {
    guard let cache, text.count <= Session.textLimit,
      let key = try cacheKey(run.edge, run.observed)
    else { return }
    var entry = LocalCache.Entry(text: text)
    for node in discovered {
      let content = Int(try states.current(node))
      guard content < log.contentKind.count else { return }
      entry.discovered.append(
        LocalCache.Found(
          path: paths.withBytes(node) { Array($0) }, kind: log.contentKind[content].rawValue,
          digest: log.contentDigest[content]))
    }
    for (node, output) in zip(graph.outputs(run.edge), outputs) {
      let content = Int(output.content)
      let path = paths.string(node)
      guard log.contentKind[content] == .file, files.kind(path) == S_IFREG,
        let identity = states.identity(node)
      else { return }
      try cache.store(path, as: log.contentDigest[content])
      entry.outputs.append(
        LocalCache.Output(
          path: paths.withBytes(node) { Array($0) }, digest: log.contentDigest[content],
          mode: identity.mode))
    }
    try cache.add(entry, under: key)
  }
}

extension FileSystem {
  /// The kind of what stands there, links not followed; 0 when nothing does.
  func kind(_ path: String) -> mode_t {
    var status = stat()
    guard fstatat(descriptor, path, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return 0 }
    return status.st_mode & S_IFMT
  }
}
