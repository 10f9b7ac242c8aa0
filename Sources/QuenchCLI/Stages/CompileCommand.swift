// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench compile`.

public import ArgumentParser
internal import Compilation

struct CompileCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compile", abstract: "Compile the quantized network for a chip.")

  @OptionGroup var stage: StageOptions
  @Option(help: "The QDQ model, which the host compiler compiles.") var qdq: String
  @Option(help: "The deploy model, which atc compiles.") var deploy: String
  @Option(help: "The folded model, which atc compiles with the profile article.") var model: String
  @Option(help: "calibration.cfg.") var config: String
  @Option(help: "For example Ascend310P3.") var soc: String
  @Option(help: "auto, atc or host.") var compiler: CompilerSetting = .auto
  @Option(help: "cann or article.") var profile: ATCProfile = .cann
  @Option(name: .shortAndLong, help: "The OM file.") var output: String

  func run() throws {
    try stage.check("compile")
    let request = CompilationRequest(
      qdq: qdq, deploy: deploy, float: model, output: output, soc: soc, compiler: compiler,
      profile: profile, calibration: config)
    let report = try ModelCompilation.run(
      request, environment: Environment.all, announce: Terminal.note,
      onOutput: { Terminal.write(2, Array($0)) })
    if compiler == .auto { Terminal.note("compiler \(report.compiler): \(report.reason)") }
    for warning in report.warnings { Terminal.warn(warning) }
  }
}

extension CompilerSetting: ExpressibleByArgument {}
extension ATCProfile: ExpressibleByArgument {}
