// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what a graph holds beside its columns, as words.

extension Graph {
  /// Names, rules, scopes, pools and defaults.
  func appendDeclarations(to out: inout [UInt8]) {
    out.append(word: Int32(variables.names.count))
    for name in 0..<Int32(variables.names.count) {
      out.append(block: variables.names.withBytes(name) { Array($0) })
    }
    out.append(word: Int32(variables.rules.count))
    for rule in variables.rules {
      out.append(word: rule.name)
      for value in rule.values {
        out.append(word: value?.start ?? -1)
        out.append(word: value?.count ?? 0)
      }
    }
    out.append(word: Int32(variables.scopes.count))
    for scope in variables.scopes {
      out.append(word: scope.parent)
      out.append(word: Int32(scope.values.keys.count))
      for (name, text) in zip(scope.values.keys, scope.values.values) {
        out.append(word: name)
        out.append(word: text.start)
        out.append(word: text.count)
      }
      out.append(word: Int32(scope.rules.keys.count))
      for (name, rule) in zip(scope.rules.keys, scope.rules.values) {
        out.append(word: name)
        out.append(word: rule)
      }
    }
    out.append(word: Int32(pools.count))
    for pool in pools {
      out.append(word: pool.name)
      out.append(long: pool.depth)
    }
    out.append(word: Int32(defaults.count))
    for node in defaults { out.append(word: node) }
  }

  /// Reads them back, in place of what there was.
  func readDeclarations(_ reader: inout WordReader) {
    for _ in 0..<reader.count() {
      reader.block().withUnsafeBufferPointer { _ = variables.names.intern($0) }
    }
    variables.rules.removeAll()
    for _ in 0..<reader.count(size: 23) {
      let name = reader.word()
      let values = (0..<11).map { _ -> UnevaluatedValue? in
        let value = UnevaluatedValue(start: reader.word(), count: reader.word())
        return value.start < 0 ? nil : value
      }
      variables.rules.append(Variables.Rule(name: name, values: values))
    }
    variables.scopes.removeAll()
    for _ in 0..<reader.count(size: 3) {
      var scope = Variables.Scope(parent: reader.word())
      for _ in 0..<reader.count(size: 3) {
        let name = reader.word()
        scope.values[name] = Text(start: reader.word(), count: reader.word())
      }
      for _ in 0..<reader.count(size: 2) {
        let name = reader.word()
        scope.rules[name] = reader.word()
      }
      variables.scopes.append(scope)
    }
    for _ in 0..<reader.count(size: 3) {
      let name = reader.word()
      pools.append(Pool(name: name, depth: reader.long()))
    }
    defaults = reader.words()
  }
}
