// SPDX-License-Identifier: Apache-2.0
// ONNXModel: edits that keep a graph sound.

public import Diagnostics

extension Graph {
  /// Replaces the node at `index` by others that make the same tensors.
  public mutating func replaceNode(at index: Int, with nodes: [Node]) {
    self.nodes.replaceSubrange(index...index, with: nodes)
  }

  /// Puts `node` between a tensor and its readers: every reader reads `output` instead.
  ///
  /// The node goes right behind the tensor's producer (to the front for an input or a constant).
  /// That `tensor` is an output of the graph stays as it is.
  /// - Parameters:
  ///   - tensor: an existing tensor that `node` reads.
  ///   - output: the output of `node` that readers are to read.
  ///   - readers: indices of the nodes to switch, before the insertion; nil for all.
  public mutating func insert(
    _ node: Node, after tensor: String, output: String, readers: Set<Int>? = nil
  ) {
    for index in nodes.indices where readers?.contains(index) ?? true {
      nodes[index].renameReads([tensor: output])
    }
    let place = producers()[tensor].map { $0 + 1 } ?? 0
    nodes.insert(node, at: place)
  }

  /// Gives tensors other names everywhere: producers, readers, bodies, constants, inputs, outputs
  /// and shape information.
  ///
  /// - Parameter names: old to new name; new names must not be in use.
  public mutating func renameTensors(_ names: [String: String]) {
    for index in nodes.indices {
      nodes[index].renameReads(names)
      if nodes[index].outputs.contains(where: { names[$0] != nil }) {
        nodes[index].outputs = nodes[index].outputs.map { names[$0] ?? $0 }
      }
    }
    for index in initializers.indices {
      if let new = names[initializers[index].name] { initializers[index].name = new }
    }
    for path in [\Graph.inputs, \Graph.outputs, \Graph.values] {
      for index in self[keyPath: path].indices {
        if let new = names[self[keyPath: path][index].name] {
          self[keyPath: path][index].name = new
        }
      }
    }
  }

  /// Removes the nodes of which no output is read or is an output of the graph, and the constants
  /// and shape information that nothing needs. A constant that is listed as an input goes from there
  /// too, or a run would have to feed it.
  public mutating func removeDead() {
    var needed = Set(outputs.map(\.name))
    var kept: [Node] = []
    for node in nodes.reversed() where node.outputs.contains(where: { needed.contains($0) }) {
      needed.formUnion(node.readTensors)
      kept.append(node)
    }
    nodes = kept.reversed()
    let gone = Set(initializers.map(\.name)).subtracting(needed)
    initializers.removeAll { gone.contains($0.name) }
    inputs.removeAll { gone.contains($0.name) }
    var made = Set<String>()
    for node in nodes { made.formUnion(node.outputs) }
    values.removeAll { !made.contains($0.name) }
  }

  /// Puts the nodes into topological order; of two orders, the one that keeps nodes nearer to
  /// where they stood.
  ///
  /// - Throws: `.data` when the nodes form a cycle; names one of them.
  public mutating func sortTopologically() throws(QuenchError) {
    let producers = producers()
    var waiting = [Int](repeating: 0, count: nodes.count)
    var followers = [[Int]](repeating: [], count: nodes.count)
    for (index, node) in nodes.enumerated() {
      for source in Set(node.readTensors.compactMap { producers[$0] }) {
        waiting[index] += 1
        followers[source].append(index)
      }
    }
    var ready = SmallestFirst(waiting.indices.filter { waiting[$0] == 0 })
    var order: [Node] = []
    order.reserveCapacity(nodes.count)
    while let index = ready.popSmallest() {
      order.append(nodes[index])
      for follower in followers[index] {
        waiting[follower] -= 1
        if waiting[follower] == 0 { ready.insert(follower) }
      }
    }
    guard order.count == nodes.count else {
      let stuck = nodes[waiting.firstIndex { $0 > 0 } ?? 0]
      throw QuenchError(
        .data, "the \(stuck.title) is part of a cycle, or reads from one", at: stuck.place)
    }
    nodes = order
  }

  /// A name that no tensor and no node of the graph or its bodies bears: `wanted`, or with `_1`,
  /// `_2`, … behind it.
  public func freshName(_ wanted: String) -> String {
    NameSource(self).fresh(wanted)
  }
}

extension Node {
  /// Renames what the node and its bodies read. A name that a body makes itself is another tensor.
  mutating func renameReads(_ names: [String: String]) {
    if inputs.contains(where: { names[$0] != nil }) {
      inputs = inputs.map { names[$0] ?? $0 }
    }
    for index in message.attribute.indices {
      if message.attribute[index].hasG {
        message.attribute[index].g = Node.renamed(message.attribute[index].g, names)
      }
      if !message.attribute[index].graphs.isEmpty {
        message.attribute[index].graphs =
          message.attribute[index].graphs.map { Node.renamed($0, names) }
      }
    }
  }

  private static func renamed(_ message: WireGraph, _ names: [String: String]) -> WireGraph {
    var body = Graph(message: message, directory: nil)
    let captured = Set(body.capturedTensors)
    let outer = names.filter { captured.contains($0.key) }
    guard !outer.isEmpty else { return message }
    for index in body.nodes.indices { body.nodes[index].renameReads(outer) }
    for index in body.outputs.indices {
      if let new = outer[body.outputs[index].name] { body.outputs[index].name = new }
    }
    return body.encoded()
  }
}

/// Hands out names that are not in use.
struct NameSource {
  private var used: Set<String> = []

  init(_ graph: Graph) { add(graph) }

  private mutating func add(_ graph: Graph) {
    used.formUnion(graph.inputs.map(\.name))
    used.formUnion(graph.initializers.map(\.name))
    for node in graph.nodes {
      used.insert(node.name)
      used.formUnion(node.outputs)
      for body in node.subgraphs { add(body) }
    }
  }

  func fresh(_ wanted: String) -> String {
    guard used.contains(wanted) else { return wanted }
    var number = 1
    while used.contains("\(wanted)_\(number)") { number += 1 }
    return "\(wanted)_\(number)"
  }

  /// A fresh name that is in use from now on.
  mutating func take(_ wanted: String) -> String {
    let name = fresh(wanted)
    used.insert(name)
    return name
  }
}

/// A binary heap of indices.
private struct SmallestFirst {
  private var heap: [Int]

  /// - Precondition: `ascending` is sorted, and thus a heap.
  init(_ ascending: [Int]) { heap = ascending }

  mutating func insert(_ value: Int) {
    heap.append(value)
    var place = heap.count - 1
    while place > 0, heap[place] < heap[(place - 1) / 2] {
      heap.swapAt(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
  }

  mutating func popSmallest() -> Int? {
    guard let smallest = heap.first else { return nil }
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var place = 0
    while true {
      let children = [2 * place + 1, 2 * place + 2].filter { $0 < heap.count }
      guard let least = children.min(by: { heap[$0] < heap[$1] }), heap[least] < heap[place]
      else { return smallest }
      heap.swapAt(place, least)
      place = least
    }
  }
}
