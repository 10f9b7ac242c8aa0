// SPDX-License-Identifier: Apache-2.0
// BuildEngine: text of the manifest into paths and values.

internal import Diagnostics

extension Parser {
  /// The node of a path that stands in the manifest.
  mutating func node(
    _ lexer: Lexer, _ text: SourceText, _ scope: Int32, edge: Int32 = -1
  ) throws(QuenchError) -> Int32 {
    expand(lexer, text, scope, edge: edge)
    guard !scratch.isEmpty else {
      throw QuenchError(.data, "empty path", at: lexer.place(text.start))
    }
    CanonicalPath.fold(&scratch)
    guard CanonicalPath.isText(scratch) else {
      throw CanonicalPath.notText(scratch, at: lexer.place(text.start))
    }
    return scratch.withUnsafeBufferPointer { graph.paths.intern($0) }
  }

  /// Expands a stretch of the file into `scratch`: the edge's own variables first, then the scope.
  mutating func expand(
    _ lexer: Lexer, _ source: SourceText, _ scope: Int32, edge: Int32 = -1
  ) {
    scratch.removeAll(keepingCapacity: true)
    if source.plain {
      scratch.append(contentsOf: lexer.bytes[source.start..<source.end])
      return
    }
    Parser.split(lexer.bytes, source) { literal in
      scratch.append(contentsOf: literal)
    } variable: { name in
      guard let id = graph.variables.names.find(name) else { return }
      if edge >= 0 {
        let first = Int(graph.bindingStart[Int(edge)])
        if let own = graph.bindings[first..<graph.bindings.count].last(where: { $0.name == id }) {
          scratch.append(
            contentsOf: graph.variables.text[
              Int(own.value.start)..<Int(own.value.start + own.value.count)])
          return
        }
      }
      guard let value = graph.variables.value(id, in: scope) else { return }
      scratch.append(
        contentsOf: graph.variables.text[Int(value.start)..<Int(value.start + value.count)])
    }
  }

  /// Keeps a rule's value as pieces, to be expanded for each edge.
  func unevaluated(_ lexer: Lexer, _ source: SourceText) -> UnevaluatedValue {
    let start = graph.variables.pieces.count
    var pieces: [ValuePiece] = []
    let variables = graph.variables.names
    Parser.split(lexer.bytes, source) { literal in
      let from = graph.variables.text.count
      graph.variables.text.append(contentsOf: literal)
      if let last = pieces.last, last.variable < 0,
        Int(last.literal.start + last.literal.count) == from
      {
        pieces[pieces.count - 1].literal.count += Int32(literal.count)
      } else {
        pieces.append(
          ValuePiece(
            variable: -1, literal: Text(start: Int32(from), count: Int32(literal.count))))
      }
    } variable: { name in
      pieces.append(
        ValuePiece(variable: variables.intern(name), literal: Text(start: 0, count: 0)))
    }
    graph.variables.pieces.append(contentsOf: pieces)
    return UnevaluatedValue(start: Int32(start), count: Int32(pieces.count))
  }

  private static let newline: [UInt8] = [0x0A]

  /// Walks a stretch that the lexer has checked: literal runs and variable names, in order.
  static func split(
    _ bytes: UnsafeBufferPointer<UInt8>, _ source: SourceText,
    literal: (UnsafeBufferPointer<UInt8>) -> Void, variable: (UnsafeBufferPointer<UInt8>) -> Void
  ) {
    func part(_ from: Int, _ to: Int) -> UnsafeBufferPointer<UInt8> {
      UnsafeBufferPointer(rebasing: bytes[from..<to])
    }
    var p = source.start
    var run = p
    while p < source.end {
      guard bytes[p] == UInt8(ascii: "$") else {
        p += 1
        continue
      }
      if p > run { literal(part(run, p)) }
      switch bytes[p + 1] {
      case 0x0A, 0x0D:
        p += bytes[p + 1] == 0x0A ? 2 : 3
        while p < source.end, bytes[p] == 0x20 { p += 1 }
        run = p
      case UInt8(ascii: "{"):
        var end = p + 2
        while bytes[end] != UInt8(ascii: "}") { end += 1 }
        variable(part(p + 2, end))
        p = end + 1
        run = p
      case UInt8(ascii: "$"), UInt8(ascii: " "), UInt8(ascii: ":"):
        literal(part(p + 1, p + 2))
        p += 2
        run = p
      case UInt8(ascii: "^"):
        newline.withUnsafeBufferPointer { literal($0) }
        p += 2
        run = p
      default:
        var end = p + 1
        while end < source.end, Lexer.isName(bytes[end], dots: false) { end += 1 }
        variable(part(p + 1, end))
        p = end
        run = p
      }
    }
    if p > run { literal(part(run, p)) }
  }
}

extension Graph {
  /// `; did you mean "x"?` among all paths of the manifest.
  func hint(_ name: String) -> String {
    var known: [String] = []
    for node in 0..<Int32(paths.count) where mentions(node) && paths.length(node) < 512 {
      known.append(paths.string(node))
    }
    return NearestName.hint(name, among: known)
  }
}
