// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `ninja -t TOOL`.

internal import Artifacts
internal import BuildEngine
internal import Diagnostics
internal import Glibc
internal import Pipeline

/// Ninja's subtools. Their output has Ninja's form, since other programs read it.
struct NinjaTools {
  var options: BuildOptions

  static let list: [(name: String, text: String)] = [
    ("browse", "refused: a web server is no part of this engine; use graph or query"),
    ("clean", "clean built files"), ("cleandead", "clean built files that are no longer produced"),
    ("commands", "list all commands required to rebuild given targets"),
    ("compdb", "dump JSON compilation database to stdout"),
    (
      "compdb-targets",
      "dump JSON compilation database for a given list of targets to stdout"
    ),
    ("deps", "show dependencies stored in the deps log"),
    ("graph", "output graphviz dot file for targets"),
    ("inputs", "list all inputs required to rebuild given targets"),
    ("missingdeps", "check deps log dependencies on generated files"),
    ("multi-inputs", "print one or more sets of inputs required to build targets"),
    ("query", "show inputs/outputs for a path"), ("recompact", "recompacts the build log"),
    ("restat", "does nothing: this engine compares contents"),
    ("rules", "list all rules"), ("targets", "list targets by their rule or depth in the DAG"),
  ]

  func run(_ tool: String, _ arguments: [String]) throws(QuenchError) -> Int32 {
    switch tool {
    case "list":
      Terminal.print("ninja subtools:")
      let width = NinjaTools.list.map(\.name.count).max() ?? 0
      for entry in NinjaTools.list {
        let space = String(repeating: " ", count: width - entry.name.count)
        Terminal.print("  \(entry.name)\(space)  \(entry.text)")
      }
      return 0
    case "browse":
      throw QuenchError(
        .usage,
        "browse is not offered: it needs a web server and Python; "
          + "use '-t graph', '-t query' or quench graph --format svg")
    case "clean": return try clean(arguments)
    case "cleandead":
      let removed = try Build(options).cleanDead { warn($0) }
      Terminal.print("Cleaning... \(removed.count) files.")
      return 0
    case "commands": return try commands(arguments)
    case "compdb", "compdb-targets": return try compdb(arguments, byTarget: tool != "compdb")
    case "deps": return try deps(arguments)
    case "graph":
      Terminal.write(1, try Build(options).graphDot(targets: arguments))
      return 0
    case "inputs": return try inputs(arguments)
    case "multi-inputs": return try multiInputs(arguments)
    case "missingdeps": return try missingDeps(arguments)
    case "query": return try query(arguments)
    case "recompact":
      try Build(options).recompact()
      return 0
    case "restat":
      // Times do not decide: there is nothing to record.
      return 0
    case "rules": return try rules(arguments)
    case "targets": return try targets(arguments)
    default:
      throw QuenchError(
        .usage,
        "unknown tool '\(tool)'\(NearestName.hint(tool, among: NinjaTools.list.map(\.name)))")
    }
  }

  private func warn(_ event: BuildEvent) {
    if case .warning(let text) = event { Terminal.note("ninja: warning: \(text)") }
  }

  /// Flags out of a tool's arguments, and what is left. Unknown ones are errors.
  private func split(
    _ tool: String, _ arguments: [String], flags: [String: String]
  ) throws(QuenchError) -> (flags: Set<String>, rest: [String]) {
    var found = Set<String>()
    var rest: [String] = []
    for word in arguments {
      if let flag = flags[word] {
        found.insert(flag)
      } else if word.hasPrefix("-"), word.count > 1 {
        throw QuenchError(.usage, "\(tool): unknown option '\(word)'")
      } else {
        rest.append(word)
      }
    }
    return (found, rest)
  }

  private func clean(_ arguments: [String]) throws(QuenchError) -> Int32 {
    let (flags, rest) = try split("clean", arguments, flags: ["-g": "g", "-r": "r"])
    var scope = CleanScope()
    scope.includesUnrecorded = true
    scope.includesGenerators = flags.contains("g")
    if flags.contains("r") {
      guard !rest.isEmpty else { throw QuenchError(.usage, "expected a rule to clean") }
      scope.rules = rest
    } else {
      scope.targets = rest
    }
    let removed = try Build(options).clean(scope) { warn($0) }
    Terminal.print("Cleaning... \(removed.count) files.")
    return 0
  }

  private func commands(_ arguments: [String]) throws(QuenchError) -> Int32 {
    let (flags, rest) = try split("commands", arguments, flags: ["-s": "s"])
    let edges = try Build(options).edges(of: rest, onlyTheirs: flags.contains("s"))
    var text = ""
    for edge in edges where !edge.isPhony { text += edge.command + "\n" }
    Terminal.write(1, text)
    return 0
  }

  private func compdb(_ arguments: [String], byTarget: Bool) throws(QuenchError) -> Int32 {
    let (flags, rest) = try split("compdb", arguments, flags: ["-x": "x"])
    let build = try Build(options)
    var edges: [EdgeDetails]
    if byTarget {
      guard !rest.isEmpty else {
        throw QuenchError(.usage, "compdb-targets expects the name of at least one target")
      }
      edges = try build.edges(of: rest)
    } else {
      edges = try build.edges()
      if !rest.isEmpty { edges.removeAll { !rest.contains($0.rule) } }
    }
    let directory = Surroundings.currentDirectory
    let entries = edges.compactMap {
      CompilationCommand($0, directory: directory, expandingResponseFile: flags.contains("x"))
    }
    Terminal.write(1, try ArtifactJSON.encodePlain(entries))
    return 0
  }

  private func deps(_ arguments: [String]) throws(QuenchError) -> Int32 {
    let entries = try Build(options).discoveredInputs(of: arguments)
    for target in arguments where !entries.contains(where: { $0.output == target }) {
      Terminal.print("\(target): deps not found")
    }
    for entry in entries {
      var status = stat()
      let isThere = stat(entry.output, &status) == 0
      let time = isThere ? status.st_mtim.tv_sec * 1_000_000_000 + status.st_mtim.tv_nsec : 0
      var text = "\(entry.output): #deps \(entry.inputs.count), deps mtime \(time) "
      text += entry.isValid ? "(VALID)\n" : "(STALE)\n"
      for input in entry.inputs { text += "    \(input)\n" }
      Terminal.print(text)
    }
    return 0
  }

  private func inputs(_ arguments: [String]) throws(QuenchError) -> Int32 {
    let (flags, rest) = try split(
      "inputs", arguments,
      flags: [
        "-0": "0", "--print0": "0", "-E": "E", "--no-shell-escape": "E", "-d": "d",
        "--dependency-order": "d",
      ])
    var found = try Build(options).inputs(of: rest)
    if !flags.contains("d") { found.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) } }
    let end = flags.contains("0") ? "\0" : "\n"
    let names = found.map { flags.contains("E") || flags.contains("0") ? $0 : Shell.quoted($0) }
    Terminal.write(1, names.map { $0 + end }.joined())
    return 0
  }

  private func multiInputs(_ arguments: [String]) throws(QuenchError) -> Int32 {
    var delimiter = "\t"
    var end = "\n"
    var targets: [String] = []
    var index = 0
    while index < arguments.count {
      let word = arguments[index]
      index += 1
      if word == "-0" || word == "--print0" {
        end = "\0"
      } else if word == "-d" || word == "--delimiter", index < arguments.count {
        delimiter = arguments[index]
        index += 1
      } else if word.hasPrefix("--delimiter=") {
        delimiter = String(word.dropFirst(12))
      } else {
        targets.append(word)
      }
    }
    let build = try Build(options)
    if targets.isEmpty { targets = build.defaultTargets }
    for target in targets {
      for input in try build.inputs(of: [target]) {
        Terminal.write(1, target + delimiter + input + end)
      }
    }
    return 0
  }

  private func missingDeps(_ arguments: [String]) throws(QuenchError) -> Int32 {
    let missing = try Build(options).missingDependencies(targets: arguments)
    guard !missing.isEmpty else {
      Terminal.print("No missing dependencies on generated files found.")
      return 0
    }
    for entry in missing {
      Terminal.print(
        "Missing dep: \(entry.output) uses \(entry.input) (generated by \(entry.rule))")
    }
    Terminal.print("Error: There are \(missing.count) missing dependency paths.")
    return 3
  }
}
