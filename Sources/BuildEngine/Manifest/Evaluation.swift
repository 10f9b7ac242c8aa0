// SPDX-License-Identifier: Apache-2.0
// BuildEngine: variables, scopes and rules, and what they come to for an edge.

internal import Diagnostics
internal import Glibc

/// A run of bytes in `Variables.text`.
struct Text {
  var start: Int32
  var count: Int32
}

/// One piece of an unevaluated value: literal bytes, or a variable.
struct ValuePiece {
  /// -1 for literal bytes, else a name.
  var variable: Int32
  var literal: Text
}

/// A run of `Variables.pieces`.
struct UnevaluatedValue {
  var start: Int32
  var count: Int32
}

/// The keys that a rule may hold; the raw value is their id in `Variables.names`.
enum RuleKey: Int32, CaseIterable {
  case command, depfile, dyndep, description, deps, generator, pool, restat, rspfile
  case rspfileContent, msvcDepsPrefix

  var text: String {
    switch self {
    case .command: "command"
    case .depfile: "depfile"
    case .dyndep: "dyndep"
    case .description: "description"
    case .deps: "deps"
    case .generator: "generator"
    case .pool: "pool"
    case .restat: "restat"
    case .rspfile: "rspfile"
    case .rspfileContent: "rspfile_content"
    case .msvcDepsPrefix: "msvc_deps_prefix"
    }
  }
}

/// Variables of build statements that are Quench's own; Ninja ignores them there.
enum BuildKey: Int32, CaseIterable {
  case keepEdits = 14
  case progress, memory, environment

  var text: String {
    switch self {
    case .keepEdits: "keep_edits"
    case .progress: "progress"
    case .memory: "memory"
    case .environment: "environment"
    }
  }
}

/// Scopes, rules and the text that they are made of.
struct Variables: ~Copyable {
  struct Scope {
    var parent: Int32
    var values = NumberMap<Text>()
    var rules = NumberMap<Int32>()
  }

  struct Rule {
    var name: Int32
    var values: [UnevaluatedValue?]
  }

  static let phonyRule: Int32 = 0
  static let inName: Int32 = 11
  static let inNewlineName: Int32 = 12
  static let outName: Int32 = 13

  let names = PathTable(capacity: 64)
  var text: Column<UInt8>
  var pieces: Column<ValuePiece>
  var rules: [Rule] = []
  var scopes: [Scope] = [Scope(parent: -1)]

  init() { self.init(text: Column(), pieces: Column()) }

  init(text: consuming Column<UInt8>, pieces: consuming Column<ValuePiece>) {
    self.text = text
    self.pieces = pieces
    for key in RuleKey.allCases {
      let id = names.intern(key.text)
      precondition(id == key.rawValue, "rule keys are the first names")
    }
    _ = names.intern("in")
    _ = names.intern("in_newline")
    _ = names.intern("out")
    for key in BuildKey.allCases {
      let id = names.intern(key.text)
      precondition(id == key.rawValue, "build keys follow")
    }
    let phony = names.intern("phony")
    rules.append(Rule(name: phony, values: [UnevaluatedValue?](repeating: nil, count: 11)))
    scopes[0].rules[phony] = Variables.phonyRule
  }

  mutating func append(_ bytes: [UInt8]) -> Text {
    let start = text.count
    text.append(contentsOf: bytes)
    return Text(start: Int32(start), count: Int32(text.count - start))
  }

  func value(_ name: Int32, in scope: Int32) -> Text? {
    var scope = scope
    while scope >= 0 {
      if let value = scopes[Int(scope)].values[name] { return value }
      scope = scopes[Int(scope)].parent
    }
    return nil
  }

  func rule(_ name: Int32, in scope: Int32) -> Int32? {
    var scope = scope
    while scope >= 0 {
      if let rule = scopes[Int(scope)].rules[name] { return rule }
      scope = scopes[Int(scope)].parent
    }
    return nil
  }

  /// Names of rules that can be seen from a scope, for "did you mean".
  func ruleNames(in scope: Int32) -> [String] {
    var found: [String] = []
    var scope = scope
    while scope >= 0 {
      found += scopes[Int(scope)].rules.keys.map { names.string($0) }
      scope = scopes[Int(scope)].parent
    }
    return found
  }
}

// MARK: - Values of edges

/// How `$in` and `$out` are written.
enum Quoting { case shell, none }

extension Graph {
  /// The value of a rule's key for an edge: its own binding, else the rule's, expanded late.
  ///
  /// Order of look-up: `in` and `out`, the edge's bindings, the rule, the file's scope and its
  /// parents (the Ninja manual). Ninja itself lets a file-level variable win over the rule when an
  /// edge has no bindings at all; that quirk is left out.
  func value(_ key: RuleKey, of edge: Int32, quoting: Quoting = .shell) throws(QuenchError)
    -> [UInt8]
  {
    var out: [UInt8] = []
    try appendValue(key, of: edge, quoting: quoting, to: &out)
    return out
  }

  func appendValue(
    _ key: RuleKey, of edge: Int32, quoting: Quoting = .shell, to out: inout [UInt8]
  ) throws(QuenchError) {
    try append(key.rawValue, edge, quoting, &out, active: 0)
  }

  func string(_ key: RuleKey, of edge: Int32, quoting: Quoting = .shell) throws(QuenchError)
    -> String
  {
    let value = try value(key, of: edge, quoting: quoting)
    // Only paths are asked for without quotes.
    guard quoting != .none || CanonicalPath.isText(value) else {
      throw CanonicalPath.notText(value, at: place(edge))
    }
    return String(decoding: value, as: UTF8.self)
  }

  /// Whether a key has a value other than nothing: any text is true, `0` too, as in Ninja.
  func flag(_ key: RuleKey, of edge: Int32) throws(QuenchError) -> Bool {
    guard binding(key.rawValue, of: edge) != nil || hasRuleValue(key, edge) else { return false }
    return try !value(key, of: edge).isEmpty
  }

  /// Whether the edge or its rule says anything about the key; costs no evaluation.
  func has(_ key: RuleKey, _ edge: Int32) -> Bool {
    binding(key.rawValue, of: edge) != nil || hasRuleValue(key, edge)
  }

  /// A variable of the build statement itself, nil when it is not bound there.
  func own(_ key: BuildKey, of edge: Int32) -> String? {
    binding(key.rawValue, of: edge).map { text($0) }
  }

  /// Whether a build statement sets one of our switches to something other than empty or `0`.
  func isSet(_ key: BuildKey, of edge: Int32) -> Bool {
    guard let value = binding(key.rawValue, of: edge) else { return false }
    let bytes = variables.text[Int(value.start)..<Int(value.start + value.count)]
    return !bytes.isEmpty && !(bytes.count == 1 && bytes.first == UInt8(ascii: "0"))
  }

  func text(_ value: Text) -> String {
    String(
      decoding: variables.text[Int(value.start)..<Int(value.start + value.count)], as: UTF8.self)
  }

  private func binding(_ name: Int32, of edge: Int32) -> Text? {
    var index = Int(bindingStart[Int(edge) + 1]) - 1
    let first = Int(bindingStart[Int(edge)])
    while index >= first {
      if bindings[index].name == name { return bindings[index].value }
      index -= 1
    }
    return nil
  }

  private func hasRuleValue(_ key: RuleKey, _ edge: Int32) -> Bool {
    variables.rules[Int(ruleOf[Int(edge)])].values[Int(key.rawValue)] != nil
  }

  /// - Parameter active: bit set of the rule keys that are being expanded, to notice a cycle.
  private func append(
    _ name: Int32, _ edge: Int32, _ quoting: Quoting, _ out: inout [UInt8], active: UInt32
  ) throws(QuenchError) {
    switch name {
    case Variables.inName: join(explicitInputs(edge), 0x20, quoting, &out)
    case Variables.inNewlineName: join(explicitInputs(edge), 0x0A, quoting, &out)
    case Variables.outName: join(explicitOutputs(edge), 0x20, quoting, &out)
    default:
      if let value = binding(name, of: edge) {
        append(value, &out)
      } else if name < 11, let value = variables.rules[Int(ruleOf[Int(edge)])].values[Int(name)] {
        guard active & (1 << UInt32(name)) == 0 else {
          throw QuenchError(
            .data,
            "cycle in rule variables: \(variables.names.string(name)) refers to itself",
            at: place(edge))
        }
        for index in Int(value.start)..<Int(value.start + value.count) {
          let piece = variables.pieces[index]
          if piece.variable < 0 {
            append(piece.literal, &out)
          } else {
            try append(
              piece.variable, edge, quoting, &out, active: active | (1 << UInt32(name)))
          }
        }
      } else if let value = variables.value(name, in: scopeOf[Int(edge)]) {
        append(value, &out)
      }
    }
  }

  @inline(__always)
  private func append(_ value: Text, _ out: inout [UInt8]) {
    out.append(contentsOf: variables.text[Int(value.start)..<Int(value.start + value.count)])
  }

  private func join(
    _ nodes: ColumnSlice<Int32>, _ separator: UInt8, _ quoting: Quoting, _ out: inout [UInt8]
  ) {
    var first = true
    for node in nodes {
      if !first { out.append(separator) }
      first = false
      paths.withBytes(node) { bytes in
        if quoting == .none || ShellWords.isSafe(bytes) {
          out.append(contentsOf: bytes)
        } else {
          ShellWords.quote(bytes, to: &out)
        }
      }
    }
  }
}
