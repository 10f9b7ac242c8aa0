// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: the subtools that show the graph as text.

internal import BuildEngine
internal import Diagnostics
internal import Glibc
internal import Pipeline

extension NinjaTools {
  func query(_ arguments: [String]) throws(QuenchError) -> Int32 {
    guard !arguments.isEmpty else { throw QuenchError(.usage, "expected a target to query") }
    for answer in try Build(options).query(arguments) {
      var lines = ["\(answer.path):"]
      if let edge = answer.edge {
        lines.append("  input: \(edge.rule)")
        lines += edge.inputs.map { "    \($0)" }
        lines += edge.implicitInputs.map { "    | \($0)" }
        lines += edge.orderOnlyInputs.map { "    || \($0)" }
        if !edge.validations.isEmpty {
          lines.append("  validations:")
          lines += edge.validations.map { "    \($0)" }
        }
      }
      lines.append("  outputs:")
      lines += answer.readers.map { "    \($0)" }
      if !answer.validates.isEmpty {
        lines.append("  validation for:")
        lines += answer.validates.map { "    \($0)" }
      }
      Terminal.print(lines.joined(separator: "\n"))
    }
    return 0
  }

  func rules(_ arguments: [String]) throws(QuenchError) -> Int32 {
    let describes = arguments.contains("-d")
    for rule in try Build(options).ruleDescriptions {
      let text = describes && !rule.description.isEmpty ? ": \(rule.description)" : ""
      Terminal.print(rule.name + text)
    }
    return 0
  }

  func targets(_ arguments: [String]) throws(QuenchError) -> Int32 {
    let build = try Build(options)
    switch arguments.first ?? "depth" {
    case "all":
      var text = ""
      for edge in try build.edges() {
        for output in edge.outputs + edge.implicitOutputs { text += "\(output): \(edge.rule)\n" }
      }
      Terminal.write(1, text)
    case "rule":
      guard arguments.count > 1 else {
        for path in build.sourceFiles { Terminal.print(path) }
        return 0
      }
      var names = Set<String>()
      for edge in try build.edges() where edge.rule == arguments[1] {
        names.formUnion(edge.outputs + edge.implicitOutputs)
      }
      for name in names.sorted() { Terminal.print(name) }
    case "depth":
      var depth = 1
      if arguments.count > 1 {
        guard let number = Int(arguments[1]), number >= 0 else {
          throw QuenchError(.usage, "'\(arguments[1])' is no depth")
        }
        depth = number == 0 ? Int.max : number
      }
      var makers: [String: EdgeDetails] = [:]
      for edge in try build.edges() {
        for output in edge.outputs + edge.implicitOutputs { makers[output] = edge }
      }
      for root in build.rootTargets { tree(root, 0, depth, makers) }
    case let mode:
      throw QuenchError(
        .usage,
        "unknown target tool mode '\(mode)'"
          + NearestName.hint(mode, among: ["rule", "depth", "all"]))
    }
    return 0
  }

  private func tree(
    _ target: String, _ indent: Int, _ depth: Int, _ makers: [String: EdgeDetails]
  ) {
    let space = String(repeating: "  ", count: indent)
    guard let edge = makers[target] else {
      Terminal.print(space + target)
      return
    }
    Terminal.print("\(space)\(target): \(edge.rule)")
    guard depth > 1 else { return }
    for input in edge.prerequisites { tree(input, indent + 1, depth - 1, makers) }
  }
}

extension Surroundings {
  /// Where this process stands.
  static var currentDirectory: String {
    guard let path = getcwd(nil, 0) else { return "." }
    defer { free(path) }
    return String(cString: path)
  }
}

/// Words for a shell.
enum Shell {
  /// The word in single quotes, where it needs them.
  static func quoted(_ word: String) -> String {
    let safe = word.utf8.allSatisfy { byte in
      (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
        || "_+-./".utf8.contains(byte)
    }
    return safe && !word.isEmpty ? word : "'" + word.replacing("'", with: "'\\''") + "'"
  }
}
