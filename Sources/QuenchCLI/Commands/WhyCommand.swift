// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench why`.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine

struct WhyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "why",
    abstract: "Say why a target would run: the culprit first, then what follows.")

  @OptionGroup var project: ProjectOptions
  @Flag(help: "Show every field that is compared.") var fields = false
  @Flag(help: "Machine-readable output.") var json = false
  @Argument(help: "A target.") var target: String

  private struct Answer: Encodable {
    struct Step: Encodable {
      var output: String
      var stale: Bool
      var reason: String?
      var culprit: String?
      var text: String
    }
    var steps: [Step]
    var fields: [String]?
  }

  func run() throws {
    let build = try project.question()
    if json {
      let steps = try build.why(target).map {
        Answer.Step(
          output: $0.output, stale: $0.reason != nil, reason: $0.reason.map { "\($0)" },
          culprit: $0.reason?.culprit, text: $0.text)
      }
      let fields = try fields ? build.fields(of: target) : nil
      Terminal.write(1, try ArtifactJSON.encodePlain(Answer(steps: steps, fields: fields)))
      return
    }
    for explanation in try build.why(target) { Terminal.print(explanation.text) }
    if fields { for line in try build.fields(of: target) { Terminal.print("  \(line)") } }
  }
}
