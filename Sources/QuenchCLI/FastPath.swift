// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench` and `quench build` with plain options, without building a command tree.

internal import BuildEngine
internal import Diagnostics
internal import Glibc

/// Reads the few arguments that builds are mostly called with; everything else (help, errors, other
/// verbs) is left to the command tree, whose building costs more than a look at a thousand files.
struct FastPath {
  private var directory: String?
  private var manifest: String?
  private var jobs: Int?
  private var keepGoing: Int?
  private var isVerbose = false
  private var isQuiet = false
  private var keepsDead = false
  private var targets: [String] = []

  /// Runs the build that the arguments ask for and exits; returns when the arguments are not plain.
  static func run(_ arguments: [String]) throws {
    guard let plain = FastPath(arguments[...]) else { return }
    var options = try ProjectOptions.prepare(
      directory: plain.directory, manifest: plain.manifest)
    if let jobs = plain.jobs { options.jobs = jobs }
    RunOptions.watchMachine(&options, jobsGiven: plain.jobs != nil, isQuiet: plain.isQuiet)
    if let keepGoing = plain.keepGoing { options.keepGoing = keepGoing }
    options.verbose = plain.isVerbose
    options.keepDead = plain.keepsDead
    let glance = try Glance(options, targets: plain.targets)
    if glance.nothingToDo != nil {
      if !plain.isQuiet { Terminal.print("quench: nothing to do") }
      withExtendedLifetime(glance) { exit(0) }
    }
    let run = try BuildRun(options, quiet: plain.isQuiet, after: glance)
    do throws(QuenchError) {
      let code = try run.build(plain.targets).exitCode
      // The end of the process gives back what they hold, and faster than they would.
      withExtendedLifetime((glance, run)) { exit(code) }
    } catch {
      throw BuildCommand.hinted(error, plain.targets)
    }
  }

  /// Nil for anything that is not plain.
  private init?(_ arguments: ArraySlice<String>) {
    var rest = arguments
    // Without the verb, a word could be another verb as well as a target.
    let takesTargets = rest.first == "build"
    if takesTargets { rest.removeFirst() }
    while let argument = rest.popFirst() {
      switch argument {
      case "-v", "--verbose": isVerbose = true
      case "-q", "--quiet": isQuiet = true
      case "--keep-dead": keepsDead = true
      default:
        guard argument.hasPrefix("-") else {
          guard takesTargets else { return nil }
          targets.append(argument)
          continue
        }
        let letter = argument.prefix(2)
        let joined = argument.dropFirst(2)
        guard !joined.hasPrefix("="),
          let value = joined.isEmpty ? rest.popFirst() : String(joined)
        else { return nil }
        switch letter {
        case "-C" where directory == nil: directory = value
        case "-f" where manifest == nil: manifest = value
        case "-j":
          guard let number = Int(value), number >= 0 else { return nil }
          jobs = number
        case "-k":
          guard let number = Int(value), number >= 0 else { return nil }
          keepGoing = number
        default: return nil
        }
        if value.hasPrefix("-") { return nil }
      }
    }
  }
}
