// SPDX-License-Identifier: Apache-2.0
// Pipeline: typed access to a YAML tree in which every error knows its line and column.

internal import Diagnostics
internal import Yams

/// A YAML value with the path of keys that led to it.
struct YAMLValue {
  let node: Node
  /// For example `models.net.calibrate`.
  let path: String
  let source: YAMLSource

  /// Where it begins.
  var place: Place { source.place(of: node.mark) }

  func error(_ message: String, try remedy: String? = nil) -> QuenchError {
    QuenchError(.data, message, at: place, try: remedy)
  }
}

/// The text of the file, for places.
struct YAMLSource {
  let path: String
  let lines: [Substring]

  init(path: String, text: String) {
    self.path = path
    lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
  }

  func place(of mark: Mark?) -> Place {
    guard let mark else { return .file(path) }
    let text = lines.indices.contains(mark.line - 1) ? String(lines[mark.line - 1]) : ""
    return .line(file: path, line: mark.line, column: mark.column, text: text)
  }

  /// Where a key stands for the second time in the mapping that begins at `mark`: the parser tells
  /// only the mapping's place.
  func place(ofSecond key: String, from mark: Mark) -> Place {
    let indent = String(repeating: " ", count: mark.column - 1)
    var seen = 0
    for index in lines.indices.dropFirst(mark.line - 1)
    where lines[index].hasPrefix(indent + key + ":") {
      seen += 1
      if seen == 2 {
        return .line(
          file: path, line: index + 1, column: mark.column, text: String(lines[index]))
      }
    }
    return place(of: mark)
  }
}

// MARK: - Reading

extension YAMLValue {
  /// The members of a mapping.
  ///
  /// - Throws: `.data` for anything but a mapping, a key that is not in `keys` (nil: any), or a key
  ///   that stands twice.
  func members(keys: [String]?) throws(QuenchError) -> [String: YAMLValue] {
    guard case .mapping(let mapping) = node else {
      throw error("\"\(path)\" must be a mapping of keys to values")
    }
    var members: [String: YAMLValue] = [:]
    for (keyNode, value) in mapping {
      guard case .scalar(let scalar) = keyNode else {
        throw error("a key under \"\(path)\" is not a plain word")
      }
      let key = scalar.string
      if let keys, !keys.contains(key) {
        throw QuenchError(
          .data,
          "unknown key \"\(key)\" under \"\(path)\"\(NearestName.hint(key, among: keys))",
          at: source.place(of: keyNode.mark),
          try: "one of: \(keys.sorted().joined(separator: ", "))"
        )
      }
      guard members[key] == nil else {
        throw QuenchError(
          .data, "the key \"\(key)\" stands twice under \"\(path)\"",
          at: source.place(of: keyNode.mark))
      }
      let childPath = path.isEmpty ? key : "\(path).\(key)"
      members[key] = YAMLValue(node: value, path: childPath, source: source)
    }
    return members
  }

  func string() throws(QuenchError) -> String {
    guard case .scalar(let scalar) = node else { throw error("\"\(path)\" must be a text") }
    return scalar.string
  }

  /// One of a few words.
  func word(_ words: [String]) throws(QuenchError) -> String {
    let text = try string()
    guard words.contains(text) else {
      throw error(
        "\"\(text)\" is no value of \"\(path)\"\(NearestName.hint(text, among: words))",
        try: "one of: \(words.joined(separator: ", "))")
    }
    return text
  }

  func integer(_ range: ClosedRange<Int>) throws(QuenchError) -> Int {
    guard let value = Int(try string()), range.contains(value) else {
      throw error(
        "\"\(path)\" must be a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  func number(_ range: ClosedRange<Double>) throws(QuenchError) -> Double {
    guard let value = Double(try string()), range.contains(value) else {
      throw error("\"\(path)\" must be a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  func bool() throws(QuenchError) -> Bool {
    switch try string() {
    case "true": return true
    case "false": return false
    default: throw error("\"\(path)\" must be true or false")
    }
  }

  func elements() throws(QuenchError) -> [YAMLValue] {
    guard case .sequence(let sequence) = node else {
      throw error("\"\(path)\" must be a list")
    }
    return sequence.enumerated().map {
      YAMLValue(node: $0.element, path: "\(path)[\($0.offset)]", source: source)
    }
  }

  func strings() throws(QuenchError) -> [String] {
    try elements().map { element throws(QuenchError) in try element.string() }
  }

  /// A path inside or beside the project.
  func file() throws(QuenchError) -> String {
    let text = try string()
    guard !text.isEmpty, !text.contains(where: { $0 == "\n" || $0 == "\0" || $0 == "\t" }) else {
      throw error("\"\(path)\" must be a path without tabs and line breaks")
    }
    return text
  }

  /// The value as JSON for a stage.
  func settings() throws(QuenchError) -> SettingsValue {
    switch node {
    case .mapping:
      var object: [String: SettingsValue] = [:]
      for (key, value) in try members(keys: nil) { object[key] = try value.settings() }
      return .object(object)
    case .sequence:
      return .array(try elements().map { value throws(QuenchError) in try value.settings() })
    case .scalar(let scalar):
      // Quoted scalars are texts whatever they look like.
      if scalar.style == .singleQuoted || scalar.style == .doubleQuoted {
        return .string(scalar.string)
      }
      switch scalar.string {
      case "", "~", "null": return .null
      case "true": return .bool(true)
      case "false": return .bool(false)
      default: break
      }
      if let value = Int(scalar.string) { return .integer(value) }
      if let value = Double(scalar.string), value.isFinite { return .number(value) }
      return .string(scalar.string)
    case .alias:
      throw error("\"\(path)\" is an alias, which quench.yaml does not support")
    }
  }

  /// The mapping with YAML's merge key (`<<: *name`) worked in: what the mapping says itself wins.
  ///
  /// Mappings inside are merged key by key too, as `defaults` are.
  func expanded() throws(QuenchError) -> Node {
    guard case .mapping(var mapping) = node, let base = mapping["<<"] else { return node }
    guard case .mapping = base else {
      throw YAMLValue(node: base, path: "\(path).<<", source: source)
        .error("\"<<\" under \"\(path)\" must name one mapping, for example <<: *base")
    }
    mapping["<<"] = nil
    let below = YAMLValue(node: base, path: path, source: source)
    return YAMLValue.merged(try below.expanded(), under: .mapping(mapping))
  }

  /// `base` with what this mapping says on top, mapping by mapping.
  static func merged(_ base: Node?, under node: Node) -> Node {
    guard case .mapping(let lower)? = base, case .mapping(var upper) = node else { return node }
    for (key, value) in lower {
      if let own = upper[key] {
        upper[key] = merged(value, under: own)
      } else {
        upper[key] = value
      }
    }
    return .mapping(upper)
  }
}
