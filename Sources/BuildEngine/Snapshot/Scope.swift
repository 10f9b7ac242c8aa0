// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the edges that can be stale when no more than some files changed.

internal import CSystem
internal import Diagnostics

/// What a build has to ask when all was fresh but for the content of some files.
///
/// An edge's answer is a function of its statement, its record, the files that it looks at,
/// environment and programs (`Staleness.verdict`). A certificate says that all answers were "fresh"
/// for one state of all these; what differs now are a few files. So only edges that look at such a
/// file, or make it, and all that look at what these edges make, can have another answer.
struct Scope {
  let certificate: Certificate.Reader
  let readers: Readers
  /// Contents of the files that differ, as they were when all was fresh.
  fileprivate(set) var contents: [Int32: Int32] = [:]
  /// The edges that the targets need and that can be stale, in the order of the manifest.
  fileprivate(set) var needed: [Int32] = []
  private var affected: [Bool]

  fileprivate init(_ certificate: Certificate.Reader, _ graph: Graph, _ readers: Readers) {
    self.certificate = certificate
    self.readers = readers
    affected = [Bool](repeating: false, count: graph.edgeCount)
  }

  /// Edges that were fresh, aliases left out.
  var freshBefore: Int { certificate.fresh }

  func isAffected(_ edge: Int32) -> Bool { affected[Int(edge)] }

  /// The edges that make a file or look at it.
  fileprivate func neighbours(_ node: Int32, _ graph: Graph) -> [Int32] {
    let maker = graph.producer(node)
    return maker >= 0 ? [maker] + readers[node] : Array(readers[node])
  }

  /// Adds edges with all that follows from them.
  fileprivate mutating func spread(_ edges: [Int32], _ graph: Graph) {
    var queue: [Int32] = []
    func reach(_ edge: Int32) {
      guard !affected[Int(edge)] else { return }
      affected[Int(edge)] = true
      queue.append(edge)
    }
    edges.forEach(reach)
    while let edge = queue.popLast() {
      for node in graph.outputs(edge) { readers[node].forEach(reach) }
    }
  }

  fileprivate mutating func pickNeeded() {
    let bits = certificate.terms.needed
    needed = (0..<Int32(affected.count)).filter {
      affected[Int($0)] && bits[Int($0 >> 3)] & (1 << UInt8($0 & 7)) != 0
    }
  }
}

extension Session {
  /// What can be stale after a look at the files; nil: anything.
  func scope(after glance: Glance) throws(QuenchError) -> Scope? {
    guard let certificate = glance.certificate, glance.termsHold, graph.dyndeps.isEmpty,
      certificate.terms.needed.count == (graph.edgeCount + 7) / 8, graph.edgeCount > 0,
      isSameManifest(glance, certificate)
    else { return nil }
    var scope = Scope(certificate, graph, Readers(graph, staleness))
    var changed: [Int32] = []
    for index in glance.changed.keys.sorted() {
      let node = states.certified[index]
      guard node >= 0 else { return nil }
      let neighbours = scope.neighbours(node, graph)
      // A file that is there for another reason, or stands for an alias.
      guard let first = neighbours.first, first != graph.producer(node) || !graph.isPhony(first)
      else { return nil }
      keepTexts(of: neighbours)
      let before = content(of: node, as: certificate.identity(index))
      scope.contents[node] = before
      if try states.refresh(node) != before { changed.append(node) }
    }
    for node in changed { scope.spread(scope.neighbours(node, graph), graph) }
    scope.pickNeeded()
    keepTexts(of: scope.needed)
    return scope
  }

  /// Whether the manifest that was read is the one that was certified.
  private func isSameManifest(_ glance: Glance, _ certificate: Certificate.Reader) -> Bool {
    var missing = Set(graph.sources.map(\.path))
    for source in graph.sources {
      let node = paths.find(source.path)
      for index in states.certified.indices where states.certified[index] == node {
        guard glance.changed[index] == nil, certificate.identity(index) == source.identity else {
          return false
        }
        missing.remove(source.path)
      }
    }
    return missing.isEmpty
  }

  /// The content that a file had in an earlier state; nil when nobody knows.
  private func content(of node: Int32, as identity: Identity) -> Int32? {
    if identity.inode == 0 { return log.content(node, .missing, Digest()) }
    guard let (content, known) = log.stat(of: node), known == identity else { return nil }
    return content
  }
}
