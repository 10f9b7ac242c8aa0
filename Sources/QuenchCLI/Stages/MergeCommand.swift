// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench merge`.

internal import ArgumentParser
internal import Artifacts
internal import Calibration
internal import Diagnostics

struct MergeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "merge", abstract: "Add observations up, exactly.")

  @OptionGroup var stage: StageOptions
  @Argument(help: "Observations; @FILE reads their names from a file, one a line.")
  var inputs: [String]
  @Option(name: .shortAndLong, help: "The sum.") var output: String

  func run() throws {
    try stage.check("merge")
    let paths = try inputs.flatMap { input throws(QuenchError) in
      guard input.hasPrefix("@") else { return [input] }
      let bytes = try FileContent.read(String(input.dropFirst()))
      return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }
    guard let first = paths.first else {
      throw QuenchError(.usage, "there are no observations to merge")
    }
    var sum = try Observations.read(first)
    for path in paths.dropFirst() {
      do throws(QuenchError) {
        try sum.merge(try Observations.read(path))
      } catch {
        throw error.located(at: .file(path))
      }
    }
    try sum.write(to: output)
  }
}
