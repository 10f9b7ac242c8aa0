// SPDX-License-Identifier: Apache-2.0
// BuildEngine: which edges look at a file.

/// For each node, the edges whose answer may be another one when the file changes.
struct Readers {
  /// The readers of node n are `edges[start[n]..<start[n + 1]]`.
  private var start: [Int32]
  private var edges: [Int32]

  /// All that the edges of a graph look at, by the manifest and by their records.
  init(_ graph: Graph, _ staleness: Staleness) {
    start = [Int32](repeating: 0, count: graph.paths.count + 2)
    edges = []
    for edge in 0..<Int32(graph.edgeCount) {
      Readers.eachFile(edge, graph, staleness) { start[Int($0) + 2] += 1 }
    }
    for node in start.indices.dropFirst() { start[node] += start[node - 1] }
    edges = [Int32](repeating: 0, count: Int(start[start.count - 1]))
    for edge in 0..<Int32(graph.edgeCount) {
      Readers.eachFile(edge, graph, staleness) { node in
        edges[Int(start[Int(node) + 1])] = edge
        start[Int(node) + 1] += 1
      }
    }
  }

  subscript(node: Int32) -> ArraySlice<Int32> {
    guard Int(node) + 1 < start.count else { return [] }
    return edges[Int(start[Int(node)])..<Int(start[Int(node) + 1])]
  }

  private static func eachFile(
    _ edge: Int32, _ graph: Graph, _ staleness: Staleness, _ body: (Int32) -> Void
  ) {
    for node in graph.inputs(edge) { body(node) }
    // Of these only their being there counts, and only where no edge makes them.
    for node in graph.orderOnlyInputs(edge) where graph.producer(node) < 0 { body(node) }
    for node in graph.validations(edge) where graph.producer(node) < 0 { body(node) }
    if !graph.isPhony(edge) { staleness.eachObserved(edge, body) }
  }
}
