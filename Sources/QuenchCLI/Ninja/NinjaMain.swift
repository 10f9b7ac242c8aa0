// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: the binary called `ninja`, through a link of that name.

internal import BuildEngine
internal import Diagnostics
internal import Glibc

/// Ninja's command line over the same engine, so that CMake, Meson and editors use it unchanged.
///
/// State lives in `.quench` beside the manifest; Ninja's own logs are neither read nor written.
struct NinjaMain {
  /// The version of Ninja whose command line is spoken, in the form that CMake and Meson compare.
  static let version = "1.13.0"

  private var options = BuildOptions()
  private var format = NinjaStatus.defaultFormat
  private var isQuiet = false
  private var isVerbose = false
  private var tool: String?
  private var words: [String] = []
  private var directory: String?

  /// Whether the process was started under Ninja's name.
  static func isCalled(_ name: String) -> Bool {
    name == "ninja" || name == "ninja-build" || name.hasSuffix("/ninja")
      || name.hasSuffix("/ninja-build")
  }

  /// Does what the arguments say. - Returns: the exit code.
  static func run(_ arguments: [String]) -> Int32 {
    var main = NinjaMain()
    do throws(QuenchError) {
      if let code = try main.read(arguments) { return code }
      return try main.perform()
    } catch {
      fail(error)
      return 1
    }
  }

  /// `ninja: error: …`, with the place where there is one.
  private static func fail(_ error: QuenchError) {
    var text = error.message
    if let place = error.place { text = "\(place): \(text)" }
    if let excerpt = error.place?.excerpt { text += "\n" + excerpt }
    Terminal.note("ninja: error: " + text)
  }

  private mutating func perform() throws(QuenchError) -> Int32 {
    if let directory {
      if tool == nil, !isQuiet { Terminal.print("ninja: Entering directory `\(directory)'") }
      guard chdir(directory) == 0 else {
        throw QuenchError(
          .noInput, "chdir to '\(directory)' - \(String(cString: strerror(errno)))")
      }
    }
    options.ownExecutable = realpath("/proc/self/exe", nil).map { path in
      defer { free(path) }
      return String(cString: path)
    }
    if let tool { return try NinjaTools(options: options).run(tool, words) }
    let glance = try Glance(options, targets: words)
    if glance.nothingToDo != nil {
      if !isQuiet { Terminal.print("ninja: no work to do.") }
      if let metrics = glance.nothingToDo?.metrics { MetricsTable.show(metrics) }
      return 0
    }
    let build: Build
    do throws(QuenchError) {
      build = try Build(options, after: glance)
    } catch {
      guard error.kind == .noInput, access(options.manifest, F_OK) != 0 else { throw error }
      throw QuenchError(
        .noInput, "loading '\(options.manifest)': \(String(cString: strerror(ENOENT)))")
    }
    let status = NinjaStatus(
      format: format, isQuiet: isQuiet, isVerbose: isVerbose, isDryRun: options.dryRun,
      explains: options.explain)
    let summary = try build.run(targets: words) { status.show($0) }
    let code = status.end(summary, keepGoing: options.keepGoing)
    if let metrics = summary.metrics { MetricsTable.show(metrics) }
    return code
  }
}

// MARK: - Arguments

extension NinjaMain {
  private static let usage = """
    usage: ninja [options] [targets...]

    if targets are unspecified, builds the 'default' target (see manual).

    options:
      --version      print ninja version ("\(version)")
      -v, --verbose  show all command lines while building
      --quiet        don't show progress status, just command output

      -C DIR   change to DIR before doing anything else
      -f FILE  specify input build file [default=build.ninja]

      -j N     run N jobs in parallel (0 means infinity) [default: processors plus two]
      -k N     keep going until N jobs fail (0 means infinity) [default=1]
      -l N     do not start new jobs if the load average is greater than N
      -n       dry run (don't run commands but act like they succeeded)

      -d MODE  enable debugging (use '-d list' to list modes)
      -t TOOL  run a subtool (use '-t list' to list subtools)
        terminates toplevel options; further flags are passed to the tool
      -w FLAG  adjust warnings (use '-w list' to list warnings)

    This is Quench's engine under Ninja's name: staleness is decided by content.
    """

  private static let debugModes = """
    debugging modes:
      stats        print operation counts/timing info
      explain      explain what caused a command to execute
      keepdepfile  don't delete depfiles after they're read by ninja
      keeprsp      don't delete @response files on success
    multiple modes can be enabled via -d FOO -d BAR
    """

  private static let warningFlags = """
    warning flags:
      phonycycle={err,warn}  phony build statement references itself
    """

  /// - Returns: an exit code when there is nothing more to do.
  private mutating func read(_ arguments: [String]) throws(QuenchError) -> Int32? {
    if let text = Style.environment("NINJA_STATUS") { format = text }
    var jobsGiven = false
    var index = 0
    var onlyTargets = false
    while index < arguments.count {
      let word = arguments[index]
      index += 1
      guard !onlyTargets, word.hasPrefix("-"), word != "-" else {
        words.append(word)
        continue
      }
      switch word {
      case "--":
        onlyTargets = true
        continue
      case "--version":
        Terminal.print(NinjaMain.version)
        return 0
      case "--help":
        Terminal.note(NinjaMain.usage)
        return 1
      case "--verbose": setVerbose()
      case "--quiet": isQuiet = true
      default:
        guard !word.hasPrefix("--") else {
          Terminal.note("ninja: unrecognized option '\(word)'\n" + NinjaMain.usage)
          return 1
        }
        // Letters may be joined, and a value may follow its letter at once.
        var letters = word.dropFirst()
        while let letter = letters.popFirst() {
          if !"CfjkldtwC".contains(letter) {
            switch letter {
            case "n": options.dryRun = true
            case "v": setVerbose()
            default:
              Terminal.note(NinjaMain.usage)
              return 1
            }
            continue
          }
          var value = String(letters)
          letters = ""
          if value.isEmpty {
            guard index < arguments.count else {
              Terminal.note(
                "ninja: option requires an argument -- '\(letter)'\n" + NinjaMain.usage)
              return 1
            }
            value = arguments[index]
            index += 1
          }
          if letter == "j" { jobsGiven = true }
          if letter == "t" {
            tool = value
            words = Array(arguments[index...])
            return nil
          }
          if let code = try set(letter, value) { return code }
        }
      }
    }
    // Tokens of a make above count only where nobody said how many jobs there are to be.
    options.usesJobserver = !jobsGiven
    return nil
  }

  private mutating func setVerbose() {
    isVerbose = true
    options.verbose = true
  }

  private mutating func set(_ letter: Character, _ value: String) throws(QuenchError) -> Int32? {
    switch letter {
    case "C": directory = value
    case "f": options.manifest = value
    case "j":
      guard let number = Int(value), number >= 0 else {
        throw QuenchError(.usage, "invalid -j parameter")
      }
      options.jobs = number
    case "k":
      guard let number = Int(value) else {
        throw QuenchError(.usage, "-k parameter not numeric; did you mean -k 0?")
      }
      options.keepGoing = max(0, number)
    case "l":
      guard let number = Double(value) else {
        throw QuenchError(.usage, "-l parameter not numeric: did you mean -l 0.0?")
      }
      options.loadLimit = number > 0 ? number : nil
    case "d":
      switch value {
      case "list":
        Terminal.print(NinjaMain.debugModes)
        return 1
      case "explain": options.explain = true
      case "keeprsp": options.keepsResponseFiles = true
      case "keepdepfile": options.keepsDepfiles = true
      case "stats": options.measures = true
      case "nostatcache": break
      default:
        throw QuenchError(
          .usage,
          "unknown debug setting '\(value)'"
            + NearestName.hint(value, among: ["stats", "explain", "keeprsp", "keepdepfile"]))
      }
    default:
      switch value {
      case "list":
        Terminal.print(NinjaMain.warningFlags)
        return 1
      case "phonycycle=err": options.refusesSelfReference = true
      case "phonycycle=warn": options.refusesSelfReference = false
      case "dupbuild=err", "depfilemulti=err", "depfilemulti=warn":
        // Duplicates are always errors, depfiles with several targets always read.
        break
      case "dupbuild=warn":
        Terminal.note("ninja: warning: deprecated warning 'dupbuild'")
      default: throw QuenchError(.usage, "unknown warning flag '\(value)'")
      }
    }
    return nil
  }
}
