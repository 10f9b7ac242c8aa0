// SPDX-License-Identifier: Apache-2.0
// BuildEngine: files and edges as arrays of integers.

internal import Diagnostics

/// The build graph of one manifest with all that it includes.
///
/// Nodes are ids of the path table, edges count up in the order of the manifest. Edge `e` owns the
/// run `bounds[e].start..<bounds[e].end` of `members`, cut into outputs, implicit outputs, inputs,
/// implicit inputs, order-only inputs and validations, in this order.
final class Graph {
  /// Scratch space of whoever asks an edge.
  @exclusivity(unchecked) var marks = NodeMarks()
  struct Bounds {
    var start: Int32
    var outputs: Int32
    var allOutputs: Int32
    var inputs: Int32
    var allInputs: Int32
    var orderOnly: Int32
    var end: Int32
  }

  struct Binding {
    var name: Int32
    var value: Text
  }

  /// Where an edge stands in the manifest, for messages.
  struct Origin {
    var file: Int32
    var offset: Int32
  }

  /// A manifest file as it was read.
  struct Source {
    var path: String
    /// Nil when the graph comes from a snapshot.
    var bytes: [UInt8]?
    var identity: Identity
  }

  struct Pool {
    var name: Int32
    /// 0 means unlimited.
    var depth: Int
  }

  /// An edge whose further inputs and outputs stand in a file that may have to be made first.
  struct Dyndep {
    var edge: Int32
    var file: Int32
    var isLoaded = false
  }

  let paths: PathTable
  /// The snapshot that this is the graph of; 0: none.
  var origin: UInt64 = 0
  @exclusivity(unchecked) var members: Column<Int32>
  @exclusivity(unchecked) var bounds: Column<Bounds>
  @exclusivity(unchecked) var ruleOf: Column<Int32>
  @exclusivity(unchecked) var scopeOf: Column<Int32>
  @exclusivity(unchecked) var origins: Column<Origin>
  @exclusivity(unchecked) var bindings: Column<Binding>
  /// `bindings[bindingStart[e]..<bindingStart[e + 1]]` belong to edge e.
  @exclusivity(unchecked) var bindingStart: Column<Int32>
  /// -1 is the unlimited pool.
  @exclusivity(unchecked) var poolOf: Column<Int32>
  var pools: [Pool] = []
  var defaults: [Int32] = []
  var dyndeps: [Dyndep] = []
  var sources: [Source] = []
  /// Reads a source again whose bytes are not kept; nil when it is another one by now.
  var reread: ((Source) -> [UInt8]?)?
  @exclusivity(unchecked) var variables: Variables

  /// The edge that makes a node, by node; -1 for sources. Grows with the paths that are named.
  @exclusivity(unchecked) private(set) var producers: Column<Int32>
  @exclusivity(unchecked) private(set) var isMentioned: Column<Bool>
  var warnings: [String] = []

  init(paths: PathTable) {
    self.paths = paths
    members = Column()
    bounds = Column()
    ruleOf = Column()
    scopeOf = Column()
    origins = Column()
    bindings = Column()
    bindingStart = Column(repeating: 0, count: 1)
    poolOf = Column()
    producers = Column()
    isMentioned = Column()
    variables = Variables()
  }

  /// The graph of a snapshot; nil when it is not in order.
  init?(_ snapshot: Snapshot, paths: PathTable) {
    self.paths = paths
    members = snapshot.column(.members)
    bounds = snapshot.column(.bounds)
    ruleOf = snapshot.column(.ruleOf)
    scopeOf = snapshot.column(.scopeOf)
    origins = snapshot.column(.origins)
    bindings = snapshot.column(.bindings)
    bindingStart = snapshot.column(.bindingStart)
    poolOf = snapshot.column(.poolOf)
    producers = snapshot.column(.producers)
    isMentioned = snapshot.column(.isMentioned)
    variables = Variables(text: snapshot.column(.text), pieces: snapshot.column(.pieces))
    let edges = bounds.count
    guard ruleOf.count == edges, scopeOf.count == edges, origins.count == edges,
      poolOf.count == edges, bindingStart.count == edges + 1,
      isMentioned.count == producers.count, producers.count <= Int(Int32.max)
    else { return nil }
    origin = snapshot.id
    sources = snapshot.sources
    snapshot.withWords(.graph) { readDeclarations(&$0) }
  }

  func write(to writer: inout SnapshotWriter) {
    writer.add(.members, members)
    writer.add(.bounds, bounds)
    writer.add(.ruleOf, ruleOf)
    writer.add(.scopeOf, scopeOf)
    writer.add(.origins, origins)
    writer.add(.bindings, bindings)
    writer.add(.bindingStart, bindingStart)
    writer.add(.poolOf, poolOf)
    writer.add(.producers, producers)
    writer.add(.isMentioned, isMentioned)
    writer.add(.text, variables.text)
    writer.add(.pieces, variables.pieces)
    var words: [UInt8] = []
    appendDeclarations(to: &words)
    writer.add(.graph, words)
  }

  var edgeCount: Int { bounds.count }

  @inline(__always)
  func producer(_ node: Int32) -> Int32 {
    Int(node) < producers.count ? producers[Int(node)] : -1
  }

  /// Whether the manifest names this path as an input or an output.
  func mentions(_ node: Int32) -> Bool {
    Int(node) < isMentioned.count && isMentioned[Int(node)]
  }

  func mention(_ node: Int32, producer edge: Int32 = -1) {
    if Int(node) >= producers.count {
      let length = max(paths.count, Int(node) + 1) * 3 / 2
      producers.extend(to: length, with: -1)
      isMentioned.extend(to: length, with: false)
    }
    isMentioned[Int(node)] = true
    if edge >= 0 { producers[Int(node)] = edge }
  }

  @inline(__always)
  func isPhony(_ edge: Int32) -> Bool { ruleOf[Int(edge)] == Variables.phonyRule }

  func firstOutput(_ edge: Int32) -> Int32 { members[Int(bounds[Int(edge)].start)] }

  func outputs(_ edge: Int32) -> ColumnSlice<Int32> {
    let b = bounds[Int(edge)]
    return members[Int(b.start)..<Int(b.allOutputs)]
  }

  func explicitOutputs(_ edge: Int32) -> ColumnSlice<Int32> {
    let b = bounds[Int(edge)]
    return members[Int(b.start)..<Int(b.outputs)]
  }

  func explicitInputs(_ edge: Int32) -> ColumnSlice<Int32> {
    let b = bounds[Int(edge)]
    return members[Int(b.allOutputs)..<Int(b.inputs)]
  }

  /// Explicit and implicit inputs: those whose content matters.
  func inputs(_ edge: Int32) -> ColumnSlice<Int32> {
    let b = bounds[Int(edge)]
    return members[Int(b.allOutputs)..<Int(b.allInputs)]
  }

  /// All inputs that must be up to date first, order-only ones too.
  func prerequisites(_ edge: Int32) -> ColumnSlice<Int32> {
    let b = bounds[Int(edge)]
    return members[Int(b.allOutputs)..<Int(b.orderOnly)]
  }

  func orderOnlyInputs(_ edge: Int32) -> ColumnSlice<Int32> {
    let b = bounds[Int(edge)]
    return members[Int(b.allInputs)..<Int(b.orderOnly)]
  }

  func validations(_ edge: Int32) -> ColumnSlice<Int32> {
    let b = bounds[Int(edge)]
    return members[Int(b.orderOnly)..<Int(b.end)]
  }

  /// Line and column of an edge's build statement.
  func place(_ edge: Int32) -> Place {
    let origin = origins[Int(edge)]
    let source = sources[Int(origin.file)]
    guard let bytes = source.bytes ?? reread?(source) else { return .file(source.path) }
    return bytes.withUnsafeBufferPointer {
      Lexer.place(file: source.path, bytes: $0, offset: Int(origin.offset))
    }
  }

  /// The nodes that no edge reads: what is built when there is no `default`.
  func roots() -> [Int32] {
    var isRead = [Bool](repeating: false, count: producers.count)
    for edge in 0..<Int32(edgeCount) {
      for node in prerequisites(edge) { isRead[Int(node)] = true }
    }
    var roots: [Int32] = []
    for edge in 0..<Int32(edgeCount) {
      for node in outputs(edge) where !isRead[Int(node)] { roots.append(node) }
    }
    return roots
  }

  /// Why a graph of one edge or more has no root: it has a cycle that everything leads to.
  func rootless() -> QuenchError {
    let consumers = consumers()
    // From the first edge to one that reads its output and so on, until an edge comes again.
    var (walk, position) = ([Int32](), [Int32: Int]())
    var edge: Int32? = 0
    while let next = edge, position[next] == nil {
      position[next] = walk.count
      walk.append(next)
      edge = consumers[Int(firstOutput(next))].first
    }
    guard let edge, let start = position[edge] else {
      return QuenchError(.data, "could not determine root nodes of build graph")
    }
    // A path of needs, as from a target.
    let needs = walk[start...].reversed() + [walk[walk.count - 1]]
    let names = needs.map { paths.string(firstOutput($0)) }
    return QuenchError(
      .data, "dependency cycle: " + names.joined(separator: " -> "), at: place(needs[0]))
  }

  /// For each node, the edges that read it: computed when a question needs it.
  func consumers() -> [[Int32]] {
    var consumers = [[Int32]](repeating: [], count: producers.count)
    for edge in 0..<Int32(edgeCount) {
      for node in prerequisites(edge) { consumers[Int(node)].append(edge) }
    }
    return consumers
  }
}
