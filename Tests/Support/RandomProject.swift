// SPDX-License-Identifier: Apache-2.0
// TestSupport: random graphs of small commands whose results are known without running them.

/// A small generator whose numbers are the same on every machine.
public struct Dice: Sendable {
  private var state: UInt64

  /// The same seed, the same numbers.
  public init(seed: UInt64) { state = seed }

  /// A number in 0..<sides.
  public mutating func roll(_ sides: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(sides))
  }
}

/// A graph of small commands over sources and headers, and what its outputs must hold.
///
/// Ids below 100 are sources `s0`, `s1`, …; from 100 on they are edges, whose outputs are `o/e100`,
/// …, each read only by edges of a higher number.
public struct RandomProject: Sendable {
  /// What an edge's command does with its inputs.
  public enum Kind: Int, Sendable {
    /// All of them, behind the option.
    case join
    /// Their first line only, so that most changes end here.
    case cut
    /// All of them and a header that the first line of the first one names: known to the engine
    /// only through a depfile.
    case scan
    /// Their names and the option, by way of a response file.
    case list
  }

  /// One build statement.
  public struct Edge: Sendable, Equatable {
    var kind = Kind.join
    var inputs: [Int] = []
    var implicit: [Int] = []
    var orderOnly: [Int] = []
    var option = 0
    /// Has a second, implicit output with the same bytes.
    var hasTwin = false
  }

  static let sourceCount = 5
  static let headerCount = 4
  static let edgeNumbers = 100..<108

  var sources: [Int: String] = [:]
  var headers: [Int: String] = [:]
  /// Edges by number.
  public internal(set) var edges: [Int: Edge] = [:]
  /// Put before each command.
  public var prologue = ""

  /// A project with all its edges.
  public init(_ dice: inout Dice) {
    for source in 0..<RandomProject.sourceCount { sources[source] = "\(source)\n" }
    for header in 0..<2 { headers[header] = "header \(header)\n" }
    for edge in RandomProject.edgeNumbers {
      edges[edge] = Edge()
      rewire(edge, &dice)
    }
  }

  /// Gives an edge other inputs, of another kind perhaps.
  mutating func rewire(_ edge: Int, _ dice: inout Dice) {
    let lower = edges.keys.filter { $0 < edge }.sorted()
    func pick() -> Int {
      let number = dice.roll(lower.count + RandomProject.sourceCount)
      return number < lower.count ? lower[number] : number - lower.count
    }
    var changed = edges[edge] ?? Edge()
    changed.kind = Kind(rawValue: dice.roll(4)) ?? .join
    changed.inputs = (0...dice.roll(3)).map { _ in pick() }
    changed.implicit = (0..<dice.roll(2)).map { _ in pick() }
    changed.orderOnly = (0..<dice.roll(2)).map { _ in pick() }
    changed.hasTwin = dice.roll(4) == 0
    edges[edge] = changed
  }

  /// Whether another edge's statement names an edge's output.
  func isRead(_ edge: Int) -> Bool {
    edges.values.contains {
      $0.inputs.contains(edge) || $0.implicit.contains(edge) || $0.orderOnly.contains(edge)
    }
  }
}

// MARK: - Names and texts

extension RandomProject {
  /// The file of a source or of an edge's first output.
  public static func name(_ id: Int) -> String { id < 100 ? "s\(id)" : "o/e\(id)" }

  /// The file of an edge's second output.
  static func twin(_ id: Int) -> String { "o/t\(id)" }

  /// The edge whose output, first or second, has this name.
  public static func id(_ output: String) -> Int { Int(output.drop { !$0.isNumber }) ?? 0 }

  /// `build.ninja`.
  public var manifest: String {
    var text = """
      rule join
        command = \(prologue)(echo $option; cat $in $more) > $main$copy
      rule cut
        command = \(prologue)cat $in $more | head -n 1 > $main$copy
      rule scan
        command = \(prologue)read -r k < $first; cat $in $more > $main; $
          cat "h$$k" >> $main 2> /dev/null; echo "$main: h$$k" > $main.d$copy
        depfile = $main.d
        deps = gcc
      rule list
        command = \(prologue)(cat $main.rsp; echo) > $main$copy
        rspfile = $main.rsp
        rspfile_content = $in_newline $option

      """
    func names(_ ids: [Int]) -> String { ids.map(RandomProject.name).joined(separator: " ") }
    for (number, edge) in edges.sorted(by: { $0.key < $1.key }) {
      let main = RandomProject.name(number)
      let twin = RandomProject.twin(number)
      text += "build \(main)\(edge.hasTwin ? " | \(twin)" : ""): \(edge.kind) \(names(edge.inputs))"
      if !edge.implicit.isEmpty { text += " | \(names(edge.implicit))" }
      if !edge.orderOnly.isEmpty { text += " || \(names(edge.orderOnly))" }
      text += "\n  main = \(main)\n  first = \(names([edge.inputs[0]]))\n"
      text += "  more = \(names(edge.implicit))\n  option = \(edge.option)\n"
      if edge.hasTwin { text += "  copy = ; cp \(main) \(twin)\n" }
    }
    return text
  }

  /// What a source or an edge's output must hold.
  public func expected(_ id: Int) -> String {
    guard id >= 100, let edge = edges[id] else { return sources[id] ?? "" }
    let joined = (edge.inputs + edge.implicit).map(expected).joined()
    switch edge.kind {
    case .join: return "\(edge.option)\n" + joined
    case .cut: return RandomProject.firstLine(joined).map { $0 + "\n" } ?? ""
    case .scan: return joined + (header(of: edge).flatMap { headers[$0] } ?? "")
    case .list:
      return edge.inputs.map(RandomProject.name).joined(separator: "\n") + " \(edge.option)\n"
    }
  }

  /// The header that a scanning edge reads, whether it is there or not.
  private func header(of edge: Edge) -> Int? {
    RandomProject.firstLine(expected(edge.inputs[0])).flatMap { Int($0) }
  }

  private static func firstLine(_ text: String) -> Substring? {
    text.isEmpty ? nil : text.prefix { $0 != "\n" }
  }

  /// All that an edge's command and result depend on.
  func key(_ number: Int) -> String {
    guard let edge = edges[number] else { return "" }
    let inputs = edge.inputs.map { "\(RandomProject.name($0)) \(expected($0))" }
    let implicit = edge.implicit.map { "\(RandomProject.name($0)) \(expected($0))" }
    var key = "\(edge.kind) \(edge.option) \(edge.hasTwin) \(inputs) \(implicit)"
    if edge.kind == .scan {
      key += " \(RandomProject.firstLine(expected(edge.inputs[0])) ?? "")"
      key += " \(header(of: edge).flatMap { headers[$0] } ?? "none")"
    }
    return key
  }

  /// Files that do not hold what a build from scratch would give them.
  public func wrong(in space: TemporarySpace) -> [String] {
    var wrong: [String] = []
    for (number, edge) in edges {
      let expected = expected(number)
      if space.text(RandomProject.name(number)) != expected {
        wrong.append(RandomProject.name(number))
      }
      if edge.hasTwin, space.text(RandomProject.twin(number)) != expected {
        wrong.append(RandomProject.twin(number))
      }
    }
    return wrong.sorted()
  }
}

/// What the last successful run of each edge saw: which commands need not run.
public struct RunMemory: Sendable {
  var keys: [Int: String] = [:]
  /// Edges whose output was touched by other hands, or whose last run may not have ended.
  public var suspects: Set<Int> = []
  /// The log was damaged, or inputs changed during a run: anything may run once more.
  public var isLost = false

  /// Nothing ran yet.
  public init() {}

  /// Of these edges, the ones for whose run there was no reason.
  public func needless(_ ran: [Int], in project: RandomProject) -> [Int] {
    isLost ? [] : ran.filter { !suspects.contains($0) && keys[$0] == project.key($0) }
  }

  /// All is up to date.
  public mutating func settle(_ project: RandomProject) {
    isLost = false
    suspects.removeAll()
    keys.removeAll()
    for edge in project.edges.keys { keys[edge] = project.key(edge) }
  }
}
