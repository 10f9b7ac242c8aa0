// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: `quench fold`.

internal import ArgumentParser
internal import Artifacts
internal import Diagnostics
internal import ONNXModel
internal import Pipeline
internal import Quantization

struct FoldCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fold",
    abstract: "Fold constants and batch normalization; list the tensors to observe.")

  @OptionGroup var stage: StageOptions
  @Argument(help: "The FP32 ONNX model.") var model: String
  @Option(
    help: ArgumentHelp("A fixed input shape, e.g. input=1x3x224x224.", valueName: "name=shape"))
  var input: [String] = []
  @Option(name: .shortAndLong, help: "The folded model.") var output: String
  @Option(help: "The list of tensors to observe.") var tensors: String
  @Option(help: "Names the files of the model's external data, as make reads it.")
  var depfile: String?

  func run() throws {
    try stage.check("fold")
    let network = try Model.read(model)
    let folded = try Folding.fold(network, inputs: try InputShapes.parse(input))
    let bytes = try folded.encode()
    let list = try TensorList.make(for: folded, digest: ContentDigest.of(bytes).hex)
    guard !list.layers.isEmpty else {
      throw QuenchError(
        .data, "the model has no layer that can be quantized (Conv, Gemm, MatMul with a constant)",
        at: .file(model))
    }
    try FileContent.replace(output, with: bytes)
    try ArtifactJSON.write(list, to: tensors)
    if let depfile {
      let rule = try DepFileText.rule(output, dependsOn: network.externalDataFiles)
      try FileContent.replace(depfile, with: Array(rule.utf8))
    }
  }
}
