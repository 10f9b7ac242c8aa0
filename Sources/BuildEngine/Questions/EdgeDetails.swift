// SPDX-License-Identifier: Apache-2.0
// BuildEngine: edges with all that the manifest says of them.

public import Diagnostics

/// An edge as the manifest describes it.
public struct EdgeDetails: Codable, Sendable {
  /// Name of its rule.
  public var rule: String
  /// Outputs that `$out` names.
  public var outputs: [String]
  /// Outputs behind a bar.
  public var implicitOutputs: [String]
  /// Inputs that `$in` names.
  public var inputs: [String]
  /// Inputs behind one bar.
  public var implicitInputs: [String]
  /// Inputs behind two bars.
  public var orderOnlyInputs: [String]
  /// Targets behind `|@`.
  public var validations: [String]
  /// The command, empty for phony edges.
  public var command: String
  /// The rule's description; empty when there is none.
  public var description: String
  /// The response file's path; empty when there is none.
  public var rspfile: String
  /// The response file's content.
  public var rspfileContent: String

  /// The edge is an alias.
  public var isPhony: Bool { rule == "phony" }
  /// All that must be up to date first.
  public var prerequisites: [String] { inputs + implicitInputs + orderOnlyInputs }
}

extension Build {
  func ruleName(_ edge: Int32) -> String {
    graph.variables.names.string(graph.variables.rules[Int(graph.ruleOf[Int(edge)])].name)
  }

  func names(_ nodes: some Sequence<Int32>) -> [String] { nodes.map { paths.string($0) } }

  func details(_ edge: Int32) throws(QuenchError) -> EdgeDetails {
    let explicit = graph.explicitOutputs(edge)
    let all = graph.outputs(edge)
    let named = graph.explicitInputs(edge)
    return EdgeDetails(
      rule: ruleName(edge), outputs: names(explicit),
      implicitOutputs: names(all.dropFirst(explicit.count)), inputs: names(named),
      implicitInputs: names(graph.inputs(edge).dropFirst(named.count)),
      orderOnlyInputs: names(graph.orderOnlyInputs(edge)),
      validations: names(graph.validations(edge)),
      command: try graph.string(.command, of: edge),
      description: try graph.string(.description, of: edge),
      rspfile: try graph.string(.rspfile, of: edge, quoting: .none),
      rspfileContent: try graph.string(.rspfileContent, of: edge))
  }

  /// All edges in the order of the manifest.
  public func edges() throws(QuenchError) -> [EdgeDetails] {
    _ = try look()
    var found: [EdgeDetails] = []
    for edge in 0..<Int32(graph.edgeCount) { found.append(try details(edge)) }
    return found
  }

  /// The edges that targets need, each after all that it needs itself. Missing files are no error.
  ///
  /// - Parameter onlyTheirs: just the edges that make the targets.
  public func edges(of targets: [String], onlyTheirs: Bool = false) throws(QuenchError)
    -> [EdgeDetails]
  {
    _ = try look()
    let nodes = try nodes(targets)
    var order: [Int32] = []
    if onlyTheirs {
      for node in nodes {
        let edge = graph.producer(node)
        if edge >= 0, !order.contains(edge) { order.append(edge) }
      }
    } else {
      order = ordered(nodes)
    }
    var found: [EdgeDetails] = []
    for edge in order { found.append(try details(edge)) }
    return found
  }

  /// Edges that nodes need, after what they need themselves; a cycle is cut where it closes.
  func ordered(_ nodes: [Int32]) -> [Int32] {
    var order: [Int32] = []
    var seen = Set<Int32>()
    for node in nodes {
      guard graph.producer(node) >= 0, seen.insert(graph.producer(node)).inserted else { continue }
      var stack: [(edge: Int32, inputs: [Int32], next: Int)] = [
        (graph.producer(node), Array(graph.prerequisites(graph.producer(node))), 0)
      ]
      while let top = stack.last {
        guard top.next < top.inputs.count else {
          order.append(top.edge)
          stack.removeLast()
          continue
        }
        stack[stack.count - 1].next += 1
        let producer = graph.producer(top.inputs[top.next])
        if producer >= 0, seen.insert(producer).inserted {
          stack.append((producer, Array(graph.prerequisites(producer)), 0))
        }
      }
    }
    return order
  }

  /// All files that targets need, each after those that it is made from; aliases are left out.
  public func inputs(of targets: [String]) throws(QuenchError) -> [String] {
    _ = try look()
    var found: [Int32] = []
    var seen = Set<Int32>()
    for target in try nodes(targets) {
      var stack: [(node: Int32, next: Int)] = [(target, 0)]
      while let top = stack.last {
        let edge = graph.producer(top.node)
        let inputs = edge >= 0 ? graph.prerequisites(edge) : ColumnSlice()
        guard top.next < inputs.count else {
          stack.removeLast()
          let isAlias = edge >= 0 && graph.isPhony(edge)
          if !stack.isEmpty, !isAlias { found.append(top.node) }
          continue
        }
        stack[stack.count - 1].next += 1
        let input = inputs[inputs.startIndex + top.next]
        if seen.insert(input).inserted { stack.append((input, 0)) }
      }
    }
    return names(found)
  }

  /// Outputs that no edge reads.
  public var rootTargets: [String] { names(graph.roots()) }

  /// Files that no edge makes, in the order in which the manifest names them.
  public var sourceFiles: [String] {
    var seen = Set<Int32>()
    var found: [Int32] = []
    for edge in 0..<Int32(graph.edgeCount) {
      for node in graph.prerequisites(edge)
      where graph.producer(node) < 0 && seen.insert(node).inserted {
        found.append(node)
      }
    }
    return names(found)
  }

  /// Names and descriptions (as they stand in the manifest's first scope) of all rules, sorted.
  public var ruleDescriptions: [(name: String, description: String)] {
    var found: [String: String] = [:]
    for rule in graph.variables.rules {
      var text = ""
      if let value = rule.values[Int(RuleKey.description.rawValue)] {
        for index in Int(value.start)..<Int(value.start + value.count) {
          let piece = graph.variables.pieces[index]
          text +=
            piece.variable < 0
            ? graph.text(piece.literal) : "${" + graph.variables.names.string(piece.variable) + "}"
        }
      }
      found[graph.variables.names.string(rule.name)] = text
    }
    return found.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }
}
