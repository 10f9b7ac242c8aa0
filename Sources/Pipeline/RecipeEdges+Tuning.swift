// SPDX-License-Identifier: Apache-2.0
// Pipeline: training between calibration.cfg and quantize, ours or the user's own.

internal import Diagnostics

extension RecipeEdges {
  /// Adds the edge that trains a network.
  ///
  /// - Parameter network: what training starts from: the folded model, or that with corrected
  ///   biases.
  /// - Parameter runtime: the ONNX Runtime library, which runs what cannot train.
  mutating func addTuning(
    _ finetune: FinetuneRecipe, _ model: ModelRecipe, _ files: Layout, _ samples: SampleListing,
    from network: String, runtime: [String]
  ) throws(QuenchError) {
    let read = [network, files.config, files.scales]
    let sources = [
      ("network", network), ("config", files.config), ("scales", files.scales),
    ]
    let data = [
      ("teacher", files.folded), ("preprocess", files.preprocess),
      ("samples", files.tuningSamples),
    ]
    let dataFiles =
      [files.preprocess, files.tuningSamples] + (network == files.folded ? [] : [files.folded])
    guard let external = finetune.external else {
      for (rule, files) in [("finetune", files)]
        + (finetune.hasControl ? [("control", files.control)] : [])
      {
        let written = RecipeEdges.written(files)
        try manifest.build(
          [files.tuned], implicitOutputs: written.map(\.1), rule: rule, inputs: samples.files,
          implicit: read + dataFiles + [files.tuningSettings] + runtime,
          words: sources + data + written + [
            ("settings", files.tuningSettings), ("on_corrupt", model.onCorrupt.rawValue),
            ("checkpoints", files.checkpoints),
          ], variables: [("progress", "1"), ("label", model.name)])
      }
      return
    }
    try addExternal(
      external, model, files, samples, trains: samples.training(heldBack: finetune.heldBack),
      reads: read + dataFiles, words: sources + data, runtime: runtime)
  }

  /// The user's own training, and the edge that checks and judges what came of it.
  private mutating func addExternal(
    _ external: ExternalTraining, _ model: ModelRecipe, _ files: Layout, _ samples: SampleListing,
    trains: SampleListing, reads: [String], words: [(String, String)], runtime: [String]
  ) throws(QuenchError) {
    // It does not see the samples that judge it.
    let own = words.map { $0.0 == "samples" ? ($0.0, files.externalSamples) : $0 }
    try manifest.build(
      [files.trainedOutside], implicitOutputs: [files.scalesOutside], rule: "train",
      inputs: trains.files + external.inputs,
      implicit: reads.filter { $0 != files.tuningSamples } + [files.externalSamples],
      words: own + [("trained_scales", files.scalesOutside), ("training", external.command)],
      variables: [("label", model.name)])
    let written = RecipeEdges.written(files)
    try manifest.build(
      [files.tuned], implicitOutputs: written.map(\.1), rule: "adopt",
      inputs: [files.trainedOutside],
      implicit: reads + [files.scalesOutside, files.tuningSettings] + samples.files + runtime,
      words: words + written + [
        ("trained_scales", files.scalesOutside), ("settings", files.tuningSettings),
        ("on_corrupt", model.onCorrupt.rawValue),
      ], variables: [("progress", "1"), ("label", model.name)])
  }

  /// What training writes beside the model.
  private static func written(_ files: Layout) -> [(String, String)] {
    [
      ("tuned_scales", files.tunedScales), ("tuned_config", files.tunedConfig),
      ("report", files.tuningReport), ("plot", files.tuningPlot),
    ]
  }
}
