// SPDX-License-Identifier: Apache-2.0
// BuildEngine: which edges are wanted, and in which order they may run.

internal import Diagnostics

/// The edges that some targets need, each after all that it needs itself.
struct Plan {
  /// Edges in a possible order.
  var steps: [Int32] = []
  /// For step s, `dependents[dependentStart[s]..<dependentStart[s + 1]]` wait for it.
  var dependents: [Int32] = []
  var dependentStart: [Int32] = []
  /// How many steps each step waits for.
  var waiting: [Int32] = []

  /// Nothing to do.
  init() {}

  /// - Parameter scope: the edges that can be stale; all others are done before it begins.
  /// - Throws: `.data` for a cycle, shown as a path; `.noInput` for a missing file without a rule.
  init(
    targets: [Int32], graph: Graph, states: FileStates, staleness: Staleness, scope: Scope? = nil
  ) throws(QuenchError) {
    var walk = Walk(graph: graph, states: states, staleness: staleness, scope: scope)
    var queue = targets
    if let scope { queue += scope.needed.map { graph.firstOutput($0) } }
    var next = 0
    while next < queue.count {
      try walk.visit(queue[next])
      next += 1
      queue += walk.validations
      walk.validations.removeAll()
    }
    steps = walk.steps
    link(walk, graph)
  }

  /// Turns "needs" into "is needed by".
  private mutating func link(_ walk: Walk, _ graph: Graph) {
    let count = steps.count
    waiting = [Int32](repeating: 0, count: count)
    var sizes = [Int32](repeating: 0, count: count + 1)
    for step in 0..<count {
      waiting[step] = Int32(walk.needStart[step + 1] - walk.needStart[step])
    }
    for needed in walk.needs { sizes[Int(needed)] += 1 }
    dependentStart = [Int32](repeating: 0, count: count + 1)
    for step in 0..<count { dependentStart[step + 1] = dependentStart[step] + sizes[step] }
    var fill = dependentStart
    dependents = [Int32](repeating: 0, count: walk.needs.count)
    for step in 0..<count {
      for needed in walk.needs[walk.needStart[step]..<walk.needStart[step + 1]] {
        dependents[Int(fill[Int(needed)])] = Int32(step)
        fill[Int(needed)] += 1
      }
    }
  }
}

/// A depth-first walk that keeps its own stack, so that a long chain cannot overflow the process's.
private struct Walk {
  let graph: Graph
  let states: FileStates
  let staleness: Staleness
  var steps: [Int32] = []
  var needs: [Int32] = []
  /// `needs[needStart[s]..<needStart[s + 1]]` are those of step s.
  var needStart = [0]
  var validations: [Int32] = []
  let scope: Scope?
  /// -1 not seen, -2 on the stack, else the edge's step.
  private var stepOf: [Int32]
  private var mark: [Int32]

  private struct Frame {
    var edge: Int32
    /// The node through which the edge was reached.
    var via: Int32
    var inputs: [Int32]
    var declared: Int
    var next = 0
  }

  init(graph: Graph, states: FileStates, staleness: Staleness, scope: Scope?) {
    self.scope = scope
    self.graph = graph
    self.states = states
    self.staleness = staleness
    stepOf = [Int32](repeating: -1, count: graph.edgeCount)
    mark = [Int32](repeating: -1, count: graph.edgeCount)
  }

  mutating func visit(_ target: Int32) throws(QuenchError) {
    let edge = graph.producer(target)
    guard edge >= 0 else {
      try requireSource(target, neededBy: nil)
      return
    }
    guard stepOf[Int(edge)] == -1, isInScope(edge) else { return }
    var stack = [try frame(edge, via: target)]
    while let top = stack.last {
      if top.next == top.inputs.count {
        stack.removeLast()
        finish(top)
        continue
      }
      stack[stack.count - 1].next += 1
      let node = top.inputs[top.next]
      let producer = graph.producer(node)
      if producer < 0 {
        if top.next < top.declared {
          // Of what is ordered only, and of an alias's members, nobody else takes a look.
          let isRead = top.next < graph.inputs(top.edge).count && !graph.isPhony(top.edge)
          try requireSource(node, neededBy: top.edge, isReadLater: isRead)
        }
        continue
      }
      guard isInScope(producer) else { continue }
      switch stepOf[Int(producer)] {
      case -1: stack.append(try frame(producer, via: node))
      case -2:
        // A discovered input of an earlier run must not make a cycle out of an old depfile.
        if top.next < top.declared { throw cycle(stack, back: node, to: producer) }
      default: continue
      }
    }
  }

  private func isInScope(_ edge: Int32) -> Bool { scope?.isAffected(edge) ?? true }

  private mutating func frame(_ edge: Int32, via node: Int32) throws(QuenchError) -> Frame {
    stepOf[Int(edge)] = -2
    var inputs = Array(graph.prerequisites(edge))
    let declared = inputs.count
    if !graph.isPhony(edge) {
      inputs += staleness.discoveredProducts(edge)
    }
    return Frame(edge: edge, via: node, inputs: inputs, declared: declared)
  }

  private mutating func finish(_ frame: Frame) {
    let step = Int32(steps.count)
    stepOf[Int(frame.edge)] = step
    steps.append(frame.edge)
    for node in frame.inputs {
      let producer = graph.producer(node)
      guard producer >= 0, stepOf[Int(producer)] >= 0, mark[Int(producer)] != step,
        producer != frame.edge
      else { continue }
      mark[Int(producer)] = step
      needs.append(stepOf[Int(producer)])
    }
    needStart.append(needs.count)
    validations += graph.validations(frame.edge)
  }

  private func requireSource(
    _ node: Int32, neededBy edge: Int32?, isReadLater: Bool = false
  ) throws(QuenchError) {
    guard try !(isReadLater ? states.isThere(node) : states.exists(node)) else { return }
    let name = graph.paths.string(node)
    let needed = edge.map { ", needed by '\(graph.paths.string(graph.firstOutput($0)))'," } ?? ""
    // The file itself may be misspelt in the manifest; its neighbours are the likely names.
    throw QuenchError(
      .noInput,
      "'\(name)'\(needed) is missing and no rule makes it\(states.files.hint(for: name, graph))",
      at: edge.map { graph.place($0) })
  }

  private func cycle(_ stack: [Frame], back node: Int32, to edge: Int32) -> QuenchError {
    let start = stack.firstIndex { $0.edge == edge } ?? 0
    var names = [graph.paths.string(node)]
    names += stack[(start + 1)...].map { graph.paths.string($0.via) }
    names.append(graph.paths.string(node))
    return QuenchError(
      .data, "dependency cycle: " + names.joined(separator: " -> "), at: graph.place(edge))
  }
}

extension FileSystem {
  /// `; did you mean "x"?` among the files beside it and the paths of the manifest.
  func hint(for path: String, _ graph: Graph) -> String {
    let slash = path.lastIndex(of: "/")
    let folder = slash.map { String(path[..<$0]) } ?? "."
    let prefix = slash.map { String(path[...$0]) } ?? ""
    // A folder that cannot be listed has no neighbours to offer.
    let entries = (try? listing(folder)) ?? []
    let names = entries.split(separator: 0x0A).compactMap { line -> String? in
      line.firstIndex(of: 0).map { prefix + String(decoding: line[..<$0], as: UTF8.self) }
    }
    let near = NearestName.hint(path, among: names.filter { $0 != path })
    if !near.isEmpty { return near }
    let made = (0..<Int32(graph.edgeCount)).map { graph.paths.string(graph.firstOutput($0)) }
    return NearestName.hint(path, among: made)
  }
}
