// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench why`.

internal import ArgumentParser
internal import BuildEngine

struct WhyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "why",
    abstract: "Say why a target would run: the culprit first, then what follows.")

  @OptionGroup var project: ProjectOptions
  @Flag(help: "Show every field that is compared.") var fields = false
  @Argument(help: "A target.") var target: String

  func run() throws {
    let build = try project.question()
    for explanation in try build.why(target) { Terminal.print(explanation.text) }
    if fields { for line in try build.fields(of: target) { Terminal.print("  \(line)") } }
  }
}
