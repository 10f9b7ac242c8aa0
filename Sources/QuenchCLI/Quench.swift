// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: the command line. The only module that prints, colours or exits.

internal import ArgumentParser
internal import Diagnostics
internal import Glibc
internal import Pipeline

/// The command line.
public enum Quench {
  /// The version that `quench --version` shows.
  static let version = "0.1.0"

  /// Runs the process's arguments and exits.
  public static func main() {
    // A closed pipe (`quench status | head`) is no crash: writes fail and are dropped.
    signal(SIGPIPE, SIG_IGN)
    // Nor is a limit on the size of files: writes fail and are told. A handler, because what is
    // ignored would be ignored by every command of a build too.
    signal(SIGXFSZ) { _ in }
    // A caller may have ignored it, and then the kernel would keep no child's exit code for us.
    signal(SIGCHLD, SIG_DFL)
    // `CommandLine.arguments` would make types of its own for them first.
    var arguments: [String] = []
    for index in 0..<Int(CommandLine.argc) {
      if let word = CommandLine.unsafeArgv[index] { arguments.append(String(cString: word)) }
    }
    let name = arguments.isEmpty ? "" : arguments.removeFirst()
    if NinjaMain.isCalled(name) { exit(NinjaMain.run(arguments)) }
    do {
      try FastPath.run(arguments)
      var command = try RootCommand.parseAsRoot(VerbFirst.arranged(arguments))
      try command.run()
    } catch let error as QuenchError {
      report(error, verbose: arguments.contains("-v") || arguments.contains("--verbose"))
      exit(error.kind.exitCode)
    } catch {
      RootCommand.exit(withError: error)
    }
  }

  /// A missing file of the generated manifest, at the line of quench.yaml that names it.
  private static func located(_ error: QuenchError) -> QuenchError {
    guard error.kind == .noInput, case .line(Layout.manifest, _, _, _)? = error.place,
      // Of a quench.yaml that cannot be read right now, the manifest's line has to do.
      let recipe = try? Recipe.read(Layout.recipe)
    else { return error }
    return recipe.located(error)
  }

  /// Prints an error as a person reads it.
  static func report(_ error: QuenchError, verbose: Bool = false) {
    let error = located(error)
    var text = "quench: " + Style.error.red("error:") + " \(error)"
    if verbose, let cause = error.cause {
      text += "\n  because  \(cause)"
    }
    Terminal.note(text)
  }
}

struct RootCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quench",
    abstract: "Make for INT8: from an ONNX model and images to a verified bundle.",
    discussion: """
      Without a verb, quench builds what quench.yaml says, and only what is stale of it.

      Exit codes: 0 done or nothing to do, 1 a stage failed, 2 a check said no, 64 usage, \
      65 malformed file, 66 missing file, 69 ONNX Runtime, atc or a device not found, 70 bug, \
      130 interrupted.
      """,
    version: Quench.version,
    groupedSubcommands: [
      CommandGroup(
        name: "Build",
        subcommands: [
          BuildCommand.self, InitCommand.self, WatchCommand.self, StatusCommand.self,
          WhyCommand.self, GraphCommand.self, LogCommand.self, CleanCommand.self,
          ExportCommand.self, DoctorCommand.self,
        ]),
      CommandGroup(
        name: "Questions about the build",
        subcommands: [
          QueryCommand.self, TargetsCommand.self, InputsCommand.self, CommandsCommand.self,
          CompdbCommand.self, MissingDepsCommand.self,
        ]),
      CommandGroup(
        name: "Artefacts",
        subcommands: [
          InspectCommand.self, BundleCommand.self, VerifyCommand.self, UnpackCommand.self,
        ]),
      CommandGroup(
        name: "Stages (run by the build; each can be run by hand)",
        subcommands: [
          GenerateCommand.self, FoldCommand.self, ObserveCommand.self, MergeCommand.self,
          CalibrateCommand.self, AssessCommand.self, CoverageCommand.self, ConfigCommand.self,
          CorrectCommand.self, FinetuneCommand.self, QuantizeCommand.self, CompileCommand.self,
          EvaluateCommand.self, GateCommand.self, ReportCommand.self, PackCommand.self,
        ]),
    ],
    defaultSubcommand: BuildCommand.self)
}
