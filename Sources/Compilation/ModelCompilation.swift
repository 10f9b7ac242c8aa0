// SPDX-License-Identifier: Apache-2.0
// Compilation: the compile stage as one function, whichever compiler does it.

internal import Artifacts
public import Diagnostics
internal import ONNXModel

/// What the compile stage is asked for.
public struct CompilationRequest: Sendable {
  /// Path of the QDQ model: what the host compiler reads, and where inputs and shapes are read off.
  public var qdq: String
  /// Path of the deploy model: what atc reads in profile `cann`.
  public var deploy: String
  /// Path of the folded float model, which profile `article` hands to atc.
  public var float: String
  /// Path of the OM file to write, with `.om`.
  public var output: String
  /// The chip, as `soc_version` spells it.
  public var soc: String
  /// Which compiler.
  public var compiler: CompilerSetting
  /// Which command line for atc.
  public var profile: ATCProfile
  /// Path of `calibration.cfg`, which profile `article` passes on.
  public var calibration: String?
  /// Path of `atc`; nil looks for it.
  public var atcPath: String?

  /// Makes a request.
  public init(
    qdq: String, deploy: String, float: String, output: String, soc: String,
    compiler: CompilerSetting = .auto,
    profile: ATCProfile = .cann, calibration: String? = nil, atcPath: String? = nil
  ) {
    self.qdq = qdq
    self.deploy = deploy
    self.float = float
    self.output = output
    self.soc = soc
    self.compiler = compiler
    self.profile = profile
    self.calibration = calibration
    self.atcPath = atcPath
  }
}

/// What the compile stage did.
public struct CompilationReport: Sendable {
  /// `atc` or `host`.
  public let compiler: String
  /// Why this compiler.
  public let reason: String
  /// Remarks for the user: the tool's warnings, what a profile is known to get wrong.
  public let warnings: [String]
}

/// Compiles a model with `atc` or with the host compiler.
public enum ModelCompilation {
  /// Runs the stage.
  ///
  /// - Parameters:
  ///   - environment: the process's variables.
  ///   - announce: gets the command line of atc before it starts.
  ///   - onOutput: gets atc's output as it arrives.
  /// - Throws: as `SoCTable.soc`, `CompilerChoice.decide`, `ATCRun.compile`,
  ///   `HostCompiler.compile`, `Model.read`.
  public static func run(
    _ request: CompilationRequest, environment: [String: String],
    announce: (String) -> Void = { _ in }, onOutput: (ArraySlice<UInt8>) -> Void = { _ in }
  ) throws(QuenchError) -> CompilationReport {
    let toolchain = Toolchain.find(environment: environment, setting: request.atcPath)
    let soc = try SoCTable.soc(named: request.soc, installed: toolchain?.platforms ?? [])
    let choice = try CompilerChoice.decide(
      request.compiler, for: soc, environment: environment, atcPath: request.atcPath)
    let model = try Model.read(request.qdq)
    var warnings: [String] = []
    switch choice {
    case .host(let reason):
      let name = ModelCompilation.name(of: request.output)
      let file = try HostCompiler.compile(qdq: model, soc: soc, name: name)
      try file.write(to: request.output)
      warnings.append("\(request.output) is host-built: \(HostFormat.markText)")
      return CompilationReport(compiler: "host", reason: reason, warnings: warnings)
    case .atc(let toolchain, let reason):
      let arguments = try ModelCompilation.arguments(request, model, soc)
      warnings += arguments.warnings
      announce(arguments.shown(program: toolchain.path))
      let result = try ATCRun.compile(
        toolchain, arguments, to: request.output, for: soc, environment: environment,
        onOutput: onOutput)
      return CompilationReport(
        compiler: "atc", reason: reason, warnings: warnings + result.warnings)
    }
  }

  /// The command line for atc; in profile `article` also the file that it names.
  private static func arguments(
    _ request: CompilationRequest, _ model: Model, _ soc: SoC
  ) throws(QuenchError) -> ATCArguments {
    var inputs: [(name: String, shape: [Int])] = []
    for input in model.graph.freeInputs {
      guard let shape = input.fixedShape else {
        throw QuenchError(
          .data, "the shape of input \"\(input.name)\" is not fixed", at: .file(request.qdq),
          try: "quench fold --input \(input.name)=1x3x224x224")
      }
      inputs.append((input.name, shape))
    }
    let output =
      request.output.hasSuffix(".om") ? String(request.output.dropLast(3)) : request.output
    switch request.profile {
    case .cann:
      let isImage = inputs.allSatisfy { $0.shape.count == 4 }
      return .cann(
        model: request.deploy, output: output, soc: soc, inputs: inputs,
        format: isImage ? "NCHW" : "ND")
    case .article:
      guard let calibration = request.calibration else {
        throw QuenchError(
          .usage, "profile article passes calibration.cfg on, and none is named",
          at: .option("profile"), try: "--calibration build/net/calibration.cfg")
      }
      let optimization = "\(output).compression_optimize.cfg"
      try FileContent.replaceIfChanged(
        optimization, with: Array(ATCArguments.articleOptimization.utf8))
      return .article(
        model: request.float, output: output, soc: soc, inputs: inputs, calibration: calibration,
        optimization: optimization)
    }
  }

  private static func name(of output: String) -> String {
    let file = output.split(separator: "/").last.map(String.init) ?? output
    return file.hasSuffix(".om") ? String(file.dropLast(3)) : file
  }
}
