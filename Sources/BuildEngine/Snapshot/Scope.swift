// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the edges that can be stale when no more than some files changed.

internal import CSystem
internal import Diagnostics

/// What a build has to ask when all was fresh but for some edges and the content of some files.
///
/// An edge's answer is a function of its statement, its record, the files that it looks at,
/// environment and programs (`Staleness.verdict`). A certificate says which answers were "fresh" for
/// one state of all these; what differs now are a few files. So only edges that look at such a file,
/// or make it, and all that look at what these edges make, can have another answer.
struct Scope {
  let certificate: Certificate.Reader
  let readers: Readers
  /// Contents of the files that differ, as the certificate knows them.
  fileprivate(set) var contents = NumberMap<Int32>()
  /// The edges that the targets need and that can be stale, in the order of the manifest.
  fileprivate(set) var needed: [Int32] = []
  private var affected: [Bool]

  fileprivate init(_ certificate: Certificate.Reader, _ graph: Graph, _ readers: Readers) {
    self.certificate = certificate
    self.readers = readers
    affected = [Bool](repeating: false, count: graph.edgeCount)
  }

  func isAffected(_ edge: Int32) -> Bool { affected[Int(edge)] }

  /// The edges that make a file or look at it.
  func neighbours(_ node: Int32, _ graph: Graph) -> [Int32] {
    var found: [Int32] = []
    if graph.producer(node) >= 0 { found.append(graph.producer(node)) }
    readers.each(node) { found.append($0) }
    return found
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
      for node in graph.outputs(edge) { readers.each(node, reach) }
    }
  }

  fileprivate mutating func pickNeeded() {
    needed = (0..<Int32(affected.count)).filter {
      affected[Int($0)] && certificate.terms.needed[$0]
    }
  }
}

extension Session {
  /// What can be stale after a look at the files; nil: anything.
  ///
  /// - Parameter snapshot: whose log's index the log was opened with.
  func scope(after glance: Glance, _ snapshot: Snapshot?) throws(QuenchError) -> Scope? {
    guard let certificate = glance.certificate, glance.termsHold, graph.dyndeps.isEmpty,
      graph.edgeCount > 0, certificate.terms.needed.serves(graph.edgeCount),
      certificate.terms.open.serves(graph.edgeCount), isSameManifest(glance, certificate),
      files.ending(of: certificate.terms.log) == certificate.terms.logEnding
    else { return nil }
    let readers: Readers
    if let snapshot, graph.origin == snapshot.id {
      readers = Readers(snapshot, graph, staleness, recent: log.recent)
    } else {
      readers = Readers(graph, staleness)
    }
    var scope = Scope(certificate, graph, readers)
    var changed: [Int32] = []
    for index in glance.changed.keys.map(Int.init) {
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
    scope.spread(certificate.terms.open.members, graph)
    scope.pickNeeded()
    keepTexts(of: scope.needed)
    return scope
  }

  /// Whether the manifest that was read is the one that was certified.
  private func isSameManifest(_ glance: Glance, _ certificate: Certificate.Reader) -> Bool {
    graph.sources.allSatisfy { source in
      guard let node = paths.find(source.path), let index = states.certificateIndex(node) else {
        return false
      }
      return glance.changed[Int32(index)] == nil && certificate.identity(index) == source.identity
    }
  }

  /// The content that a file had in an earlier state; nil when nobody knows.
  private func content(of node: Int32, as identity: Identity) -> Int32? {
    if identity.inode == 0 { return log.content(node, .missing, Digest()) }
    guard let (content, known) = log.stat(of: node), known == identity else { return nil }
    return content
  }
}

/// Some of a manifest's edges, a bit for each.
struct EdgeSet {
  private(set) var bits: [UInt8] = []

  /// A set of a manifest of so many edges; without a manifest it is of no use.
  init() {}
  init(of edges: [Int32], count: Int) {
    bits = [UInt8](repeating: 0, count: (count + 7) / 8)
    for edge in edges { bits[Int(edge >> 3)] |= 1 << UInt8(edge & 7) }
  }
  init(bits: [UInt8]) { self.bits = bits }

  func serves(_ edgeCount: Int) -> Bool { bits.count == (edgeCount + 7) / 8 }

  subscript(edge: Int32) -> Bool { bits[Int(edge >> 3)] & (1 << UInt8(edge & 7)) != 0 }

  var isEmpty: Bool { bits.allSatisfy { $0 == 0 } }

  var members: [Int32] {
    var found: [Int32] = []
    for (index, byte) in bits.enumerated() where byte != 0 {
      for bit in 0..<8 where byte & (1 << UInt8(bit)) != 0 { found.append(Int32(index * 8 + bit)) }
    }
    return found
  }
}
