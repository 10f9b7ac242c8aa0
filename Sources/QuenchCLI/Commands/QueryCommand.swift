// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench query`.

internal import ArgumentParser
internal import Artifacts
internal import BuildEngine

struct QueryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "query",
    abstract: "Show what makes a file, what it is made from and who reads it.")

  @OptionGroup var project: ProjectOptions
  @Flag(help: "Machine-readable output.") var json = false
  @Argument(help: "Files of the build.") var targets: [String]

  func run() throws {
    let answers = try project.question().query(targets)
    if json {
      Terminal.write(1, try ArtifactJSON.encodePlain(answers))
      return
    }
    for answer in answers {
      Terminal.print(Style.output.bold(answer.path))
      if let edge = answer.edge {
        let time = answer.milliseconds.map { ", \($0) ms last time" } ?? ""
        Terminal.print("  made by     \(edge.rule)\(time)")
        show("from", edge.inputs)
        show("and", edge.implicitInputs)
        show("after", edge.orderOnlyInputs)
        show("discovered", answer.discovered)
        show("validated by", edge.validations)
      }
      show("read by", answer.readers)
      show("validates", answer.validates)
    }
  }

  private func show(_ title: String, _ names: [String]) {
    for (index, name) in names.enumerated() {
      let head = index == 0 ? title : ""
      Terminal.print("  \(head)\(String(repeating: " ", count: 12 - head.count))\(name)")
    }
  }
}
