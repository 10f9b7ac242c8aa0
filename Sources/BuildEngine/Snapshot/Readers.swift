// SPDX-License-Identifier: Apache-2.0
// BuildEngine: which edges look at a file.

/// For each node, the edges whose answer may be another one when the file changes.
final class Readers {
  /// The readers of node n are `edges[start[n]..<start[n + 1]]`.
  @exclusivity(unchecked) private var start: Column<Int32>
  @exclusivity(unchecked) private var edges: Column<Int32>
  /// What the records of edges tell that ran since: chains of edges, each with the number of the next
  /// one, that begin by node. Numbers count from 1, 0 is none.
  private var firstMore: Column<Int32>
  private var more: Column<(edge: Int32, next: Int32)> = Column()

  /// All that the edges of a graph look at, by the manifest and by their records.
  init(_ graph: Graph, _ staleness: Staleness) {
    firstMore = Column()
    start = Column(repeating: 0, count: graph.paths.count + 2)
    edges = Column()
    for edge in 0..<Int32(graph.edgeCount) {
      Readers.eachFile(edge, graph, staleness) { start[Int($0) + 2] += 1 }
    }
    for node in 1..<start.count { start[node] += start[node - 1] }
    edges = Column(repeating: 0, count: Int(start[start.count - 1]))
    for edge in 0..<Int32(graph.edgeCount) {
      Readers.eachFile(edge, graph, staleness) { node in
        edges[Int(start[Int(node) + 1])] = edge
        start[Int(node) + 1] += 1
      }
    }
  }

  /// Those of a snapshot, with what the log's end tells.
  init(_ snapshot: Snapshot, _ graph: Graph, _ staleness: Staleness, recent: [Int32]) {
    start = snapshot.column(.readerStart)
    edges = snapshot.column(.readers)
    firstMore = Column(zeros: graph.paths.count)
    var isDone: Column<Bool> = Column(zeros: graph.edgeCount)
    for output in recent {
      let edge = graph.producer(output)
      guard edge >= 0, !isDone[Int(edge)] else { continue }
      isDone[Int(edge)] = true
      staleness.eachObserved(edge) { node in
        more.append((edge, firstMore[Int(node)]))
        firstMore[Int(node)] = Int32(more.count)
      }
    }
  }

  func write(to writer: inout SnapshotWriter) {
    writer.add(.readerStart, start, room: false)
    writer.add(.readers, edges, room: false)
  }

  /// Lends the readers of a node.
  func each(_ node: Int32, _ body: (Int32) -> Void) {
    if Int(node) + 1 < start.count {
      for edge in edges[Int(start[Int(node)])..<Int(start[Int(node) + 1])] { body(edge) }
    }
    var number = Int(node) < firstMore.count ? firstMore[Int(node)] : 0
    while number > 0 {
      let link = more[Int(number) - 1]
      body(link.edge)
      number = link.next
    }
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
