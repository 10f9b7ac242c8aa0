// SPDX-License-Identifier: Apache-2.0
// Compilation: the command line of atc.

/// Which command line is built for `atc`.
public enum ATCProfile: String, Sendable, CaseIterable, Codable {
  /// What a CANN toolkit accepts: the deploy model, whose operators carry the INT8 parameters.
  case cann
  /// The flags of the reference article, literally. A toolkit refuses some of them.
  case article
}

/// One flag: `--name=value`.
public struct ATCOption: Sendable, Equatable {
  /// The name without dashes, with underscores.
  public var name: String
  /// The value.
  public var value: String

  /// Makes a flag.
  public init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }
}

/// The arguments of one run of `atc`.
///
/// No shell is involved: each flag is one argument, whatever characters it holds.
public struct ATCArguments: Sendable, Equatable {
  /// The flags in the order in which they are passed.
  public var options: [ATCOption]
  /// Whether the model is a deploy model, with quantised operators inside.
  public var isDeployModel: Bool
  /// What a real toolkit is known to refuse or to ignore in these flags.
  public var warnings: [String] = []

  /// Makes arguments from flags.
  public init(options: [ATCOption], isDeployModel: Bool) {
    self.options = options
    self.isDeployModel = isDeployModel
  }

  /// Profile `cann`: compile a deploy model.
  ///
  /// - Parameters:
  ///   - model: path of the ONNX file.
  ///   - output: path without `.om`, which atc appends.
  ///   - inputs: names and fixed shapes of the graph inputs, in graph order.
  ///   - format: `NCHW`, or `ND` for models without images.
  ///   - insertOperators: an AIPP file, if there is one.
  ///   - extra: further flags, which replace those of the same name.
  public static func cann(
    model: String, output: String, soc: SoC, inputs: [(name: String, shape: [Int])],
    format: String = "NCHW", insertOperators: String? = nil, extra: [ATCOption] = []
  ) -> ATCArguments {
    var options = [
      ATCOption("model", model), ATCOption("framework", "5"), ATCOption("output", output),
      ATCOption("soc_version", soc.name), ATCOption("input_shape", shapes(inputs)),
      ATCOption("input_format", format), ATCOption("output_type", "FP32"),
    ]
    if let insertOperators { options.append(ATCOption("insert_op_conf", insertOperators)) }
    for option in extra {
      if let index = options.firstIndex(where: { $0.name == option.name }) {
        options[index] = option
      } else {
        options.append(option)
      }
    }
    return ATCArguments(options: options, isDeployModel: true)
  }

  /// Profile `article`: the flags of the reference article in its order.
  ///
  /// - Parameters:
  ///   - calibration: path of `calibration.cfg`.
  ///   - optimization: path of a file that holds `articleOptimization`: the article gives that text
  ///     inline, where it would fall apart into several arguments.
  public static func article(
    model: String, output: String, soc: SoC, inputs: [(name: String, shape: [Int])],
    calibration: String, optimization: String
  ) -> ATCArguments {
    var arguments = ATCArguments(
      options: [
        ATCOption("model", model), ATCOption("framework", "5"), ATCOption("output", output),
        ATCOption("soc_version", soc.name), ATCOption("input_shape", shapes(inputs)),
        ATCOption("input_format", "NCHW"), ATCOption("output_type", "FP32"),
        ATCOption("precision_mode", "force_fp16"), ATCOption("insert_op_conf", calibration),
        ATCOption("compression_optimize_conf", optimization),
      ], isDeployModel: false)
    arguments.warnings = [
      "--insert_op_conf takes an AIPP file: a CANN toolkit refuses calibration.cfg there",
      "--compression_optimize_conf takes a file: the article's inline text was written to "
        + "\"\(optimization)\", with the two compression settings as comments, since they are "
        + "flags of their own",
      "a CANN toolkit compiles a model without quantised operators to FP16: INT8 needs "
        + "the deploy model (--profile cann)",
    ]
    return arguments
  }

  /// What `compression_optimize_conf` names in profile `article`.
  public static let articleOptimization = """
    enable_first_layer_quantization: true
    # enable_compress_weight: true
    # compress_weight_conf: enable_record_compress_fp32_weight:false

    """

  /// The argument vector after the program's name.
  public var vector: [String] { options.map { "--\($0.name)=\($0.value)" } }

  /// The command for people: quoted so that a shell would read it back as these arguments.
  public func shown(program: String = "atc") -> String {
    ([program] + vector).map(ATCArguments.quoted).joined(separator: " ")
  }

  /// The value of a flag; nil when it is not given.
  public subscript(_ name: String) -> String? { options.first { $0.name == name }?.value }

  private static func shapes(_ inputs: [(name: String, shape: [Int])]) -> String {
    inputs.map { input in
      "\(input.name):" + input.shape.map(String.init).joined(separator: ",")
    }.joined(separator: ";")
  }

  private static func quoted(_ word: String) -> String {
    let plain = word.utf8.allSatisfy {
      ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x41 && $0 <= 0x5a) || ($0 >= 0x61 && $0 <= 0x7a)
        || "-_./=:,+@%".utf8.contains($0)
    }
    if plain, !word.isEmpty { return word }
    return "'"
      + word.split(separator: "'", omittingEmptySubsequences: false)
      .joined(separator: "'\\''") + "'"
  }
}
