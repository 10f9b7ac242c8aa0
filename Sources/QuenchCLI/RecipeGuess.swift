// SPDX-License-Identifier: Apache-2.0
// QuenchCLI: the quench.yaml that `quench init` writes.

internal import Diagnostics
internal import ONNXModel
internal import Pipeline

/// What can be read off a model and a folder, and a guess with its reason for what cannot.
struct RecipeGuess {
  let text: String

  /// - Throws: `.data` when the model has no image input, or open dimensions that nothing fixes.
  init(
    model: String, network: Model, images: String, imageCount: Int,
    imageSize: [Int]?, soc: String, hasATC: Bool, shapes: [String: [Int]]
  ) throws(QuenchError) {
    let initializers = Set(network.graph.initializers.map(\.name))
    let inputs = network.graph.inputs.filter { !initializers.contains($0.name) }
    guard let image = inputs.first else {
      throw QuenchError(.data, "the model has no input", at: .file(model))
    }
    let known = shapes[image.name]
    let shape: [Int]
    if let known { shape = known } else { shape = try RecipeGuess.fixed(image, model: model) }
    let isNHWC = shape.count == 4 && ![1, 3].contains(shape[1]) && [1, 3].contains(shape[3])
    guard shape.count == 4, isNHWC || [1, 3].contains(shape[1]) else {
      throw QuenchError(
        .data, "the input \"\(image.name)\" has the shape \(shape), which is no image",
        at: .file(model), try: "--input \(image.name)=1x3x224x224")
    }
    let channels = isNHWC ? shape[3] : shape[1]
    let height = isNHWC ? shape[1] : shape[2]
    let width = isNHWC ? shape[2] : shape[3]
    text = """
      # Written by quench init. Every guess says so; change what is wrong, then run quench.
      quench: 1

      models:
        \(RecipeGuess.name(of: model)):
          model: \(RecipeGuess.scalar(model))
          # \(known == nil ? "Read off the model; open dimensions: batch 1." : "As asked for.")
          inputs: {\(RecipeGuess.scalar(image.name)): [\(shape.map(String.init).joined(separator: ", "))]}
          data:
            # The images that set the ranges; a few hundred typical ones are enough (found: \(imageCount)).
            calibration: {images: \(RecipeGuess.scalar(images)), limit: 500}
            # To measure accuracy, name other images with labels:
            # evaluation: {images: evaluation, labels: folders}   # or labels: labels.csv
          preprocess:
      \(RecipeGuess.steps(channels: channels, size: [height, width], images: imageSize, isNHWC: isNHWC))
          # The chip that the model is compiled for: what npu-smi info shows on the device.
          target: {soc: \(soc)}
          # Uncomment to fail the build when top-1 drops by more points than this.
          # evaluate: {maxDrop: 0.5}

      bundles:
        release:
      \(hasATC
        ? "    allowHostModels: false"
        : "    # Guess: no atc (Huawei's compiler) was found here, so models are host-built: they run on\n"
          + "    # no device. Set this to false for a real release.\n    allowHostModels: true")

      """
  }

  private static func fixed(_ input: ValueInfo, model: String) throws(QuenchError) -> [Int] {
    var shape: [Int] = []
    for (axis, dimension) in input.dimensions.enumerated() {
      if case .fixed(let extent) = dimension, extent > 0 {
        shape.append(axis == 0 ? 1 : extent)
      } else if axis == 0 {
        shape.append(1)
      } else {
        throw QuenchError(
          .data, "the input \"\(input.name)\" has an open dimension at axis \(axis)",
          at: .file(model), try: "--input \(input.name)=1x3x224x224")
      }
    }
    return shape
  }

  private static func steps(
    channels: Int, size: [Int], images: [Int]?, isNHWC: Bool
  ) -> String {
    var steps: [String] = []
    if channels == 1 { steps.append("- channels: grey") }
    if images == size {
      steps.append("# The images have the size of the input: nothing to resize.")
    } else {
      // The usual evaluation crop: 224 out of 256, the same ratio for other sizes.
      let short = size[0] == size[1] ? size[0] * 8 / 7 : min(size[0], size[1])
      steps.append("# Guess: the usual resize and centre crop of image classifiers.")
      steps.append("- resize: {shortSide: \(short), filter: bilinear}")
      steps.append("- centerCrop: [\(size[0]), \(size[1])]")
    }
    if channels == 3 {
      steps.append(
        "# Guess: ImageNet's mean and deviation. (x * scale - mean) / std; x is 0...255.")
      steps.append(
        "- normalize: {scale: 0.00392156862745098, mean: [0.485, 0.456, 0.406], "
          + "std: [0.229, 0.224, 0.225]}")
    } else {
      steps.append("# Guess: values from 0 to 1. (x * scale - mean) / std; x is 0...255.")
      steps.append("- normalize: {scale: 0.00392156862745098, mean: [0], std: [1]}")
    }
    steps.append("# Read off the model's input.")
    steps.append("- layout: \(isNHWC ? "NHWC" : "NCHW")")
    return steps.map { "      \($0)" }.joined(separator: "\n")
  }

  private static func name(of path: String) -> String {
    let file = path.split(separator: "/").last.map(String.init) ?? "model"
    let stem = file.hasSuffix(".onnx") ? String(file.dropLast(5)) : file
    let plain = stem.map {
      $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) ? $0 : "-"
    }
    let name = String(plain)
    return name.isEmpty || ".-".contains(name.prefix(1)) ? "model" : name
  }

  /// A text as a YAML scalar: quoted unless it is plainly plain.
  private static func scalar(_ text: String) -> String {
    let plain = text.allSatisfy {
      $0.isASCII && ($0.isLetter || $0.isNumber || "._-/".contains($0))
    }
    let looksLikeText = text.first?.isLetter == true || text.hasPrefix(".") || text.hasPrefix("/")
    if plain, looksLikeText, !["true", "false", "null"].contains(text) { return text }
    let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    return "\"\(escaped)\""
  }
}
