// SPDX-License-Identifier: Apache-2.0
// Pipeline: the settings files that stages read, as the generator writes them.

/// What `quench config` needs beyond scales and sensitivity.
struct PrecisionSettings: Encodable {
  var keepFP16: [String]
  var maxFP16Share: Double
  var overrides: SettingsValue
  var soc: String

  init(_ model: ModelRecipe) {
    keepFP16 = model.precision.keepFP16
    maxFP16Share = model.precision.maxFP16Share
    overrides = model.precision.overrides
    soc = model.target.soc
  }
}

/// What `quench pack` packs.
struct BundleSettings: Encodable {
  struct Model: Encodable {
    var name: String
    var soc: String
    var method: String
    /// Path by role.
    var files: [String: String]
    /// Files whose digests go into the manifest beside those of the packed files.
    var inputs: [String]
    /// The images, whose digests together make one digest a purpose.
    var datasets: [Dataset]
  }

  struct Dataset: Encodable {
    var name: String
    var files: [String]
  }

  var name: String
  var layout: String
  var allowHostModels: Bool
  var models: [Model]
  var include: [String]

  init(_ bundle: BundleRecipe, _ recipe: Recipe, samples: [String: ModelSamples], runtime: [String])
  {
    name = bundle.name
    layout = bundle.layout
    allowHostModels = bundle.allowHostModels
    include = bundle.include
    models = recipe.models.filter { bundle.models.contains($0.name) }.map { model in
      let layout = Layout(out: recipe.out, model: model)
      return Model(
        name: model.name, soc: model.target.soc, method: model.calibrate.method,
        files: [
          "om": layout.om, "config": layout.finalConfig, "scales": layout.finalScales,
          "evaluation": layout.evaluation,
        ],
        inputs: [
          model.model, layout.folded, layout.preprocess, layout.precision, layout.merged,
          layout.evaluationSamples,
        ] + (layout.isTuned ? [layout.tuningReport, layout.tuningSamples] : []) + runtime,
        datasets: [
          Dataset(name: "calibration", files: samples[model.name]?.calibration.files ?? []),
          Dataset(name: "evaluation", files: samples[model.name]?.evaluation.files ?? []),
        ])
    }
  }
}
