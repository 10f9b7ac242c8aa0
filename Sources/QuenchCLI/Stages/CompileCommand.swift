// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench compile`.

public import ArgumentParser
internal import Artifacts
internal import Compilation
internal import Diagnostics
internal import ONNXModel

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
    let chip = try SoCTable.soc(named: soc)
    let choice = try CompilerChoice.decide(compiler, for: chip, environment: Environment.all)
    switch choice {
    case .host(let reason):
      let om = try HostCompiler.compile(qdq: try Model.read(qdq), soc: chip, name: name)
      try FileContent.replace(output, with: try om.encode())
      Terminal.warn(
        "\(output) is host-built, for development and CI; it runs on no device (\(reason))")
    case .atc(let toolchain, let reason):
      Terminal.note("\(reason)")
      let arguments = try arguments(for: chip)
      let result = try ATCRun.compile(
        toolchain, arguments, to: output, for: chip, environment: Environment.all)
      Terminal.note(result.command)
      for warning in arguments.warnings + result.warnings { Terminal.warn(warning) }
    }
  }

  /// The model's name: the file's, without folder and suffix.
  private var name: String {
    let file = output.split(separator: "/").last.map(String.init) ?? output
    return file.hasSuffix(".om") ? String(file.dropLast(3)) : file
  }

  private func arguments(for chip: SoC) throws(QuenchError) -> ATCArguments {
    let path = profile == .cann ? deploy : model
    let graph = try Model.read(path).graph
    let inputs = graph.inputs.filter { graph.initializer($0.name) == nil }.map { input in
      (name: input.name, shape: input.fixedShape ?? [])
    }
    switch profile {
    case .cann:
      return .cann(model: path, output: output, soc: chip, inputs: inputs)
    case .article:
      let optimization = output + ".optimization"
      try FileContent.replace(optimization, with: Array(ATCArguments.articleOptimization.utf8))
      return .article(
        model: path, output: output, soc: chip, inputs: inputs, calibration: config,
        optimization: optimization)
    }
  }
}

extension CompilerSetting: ExpressibleByArgument {}
extension ATCProfile: ExpressibleByArgument {}
