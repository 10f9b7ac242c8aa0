// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench export`.

internal import ArgumentParser
internal import Artifacts
internal import Diagnostics
internal import Glibc
internal import Pipeline

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write the build for another tool.",
    subcommands: [Ninja.self])

  struct Ninja: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "ninja",
      abstract: "Write one manifest that ninja builds to the same bytes.",
      discussion: """
        The lists and settings that it names are written to .quench, as for a build. ninja must \
        find quench through PATH; it judges by time stamps, so it runs more than quench would.
        """)

    @Option(name: .shortAndLong, help: "The manifest.") var output = "build.ninja"
    @Flag(help: "Replace a file that quench did not write.") var force = false

    func run() throws {
      if !force, access(output, F_OK) == 0,
        try !FileContent.read(output).starts(with: Generator.firstLine.utf8)
      {
        throw QuenchError(
          .usage, "there is a file that quench did not write", at: .file(output),
          try: "another name with -o, or --force")
      }
      let text = try Generator(Surroundings.ofThisMachine()).export()
      try FileContent.replace(output, with: Array(text.utf8))
      Terminal.print("wrote \(output)")
    }
  }
}
