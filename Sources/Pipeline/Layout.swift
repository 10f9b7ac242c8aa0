// SPDX-License-Identifier: Apache-2.0
// Pipeline: where things lie in a user's project. All paths are relative to its root.

/// The files of a project, and of one model in it.
public struct Layout: Sendable {
  /// What to build.
  public static let recipe = "quench.yaml"
  /// Everything that quench keeps for itself.
  public static let state = ".quench"
  /// The generated manifest.
  public static let manifest = ".quench/build.ninja"
  /// What the manifest depends on beside quench.yaml: this quench itself, the rules, the tools found.
  public static let surroundings = ".quench/surroundings"
  /// A user's own rules, used in place of ours where present.
  public static let ownRules = "BuildRules"
  /// Our rules, unpacked.
  public static let unpackedRules = ".quench/rules"

  let artefacts: String
  let settings: String
  let shards: String
  let observations: String
  let name: String
  /// Whether the network is fine-tuned, so that its quantization comes from `finetune/`.
  public let isTuned: Bool
  /// Below the directories of training.
  private var part = ""

  /// The layout of one model.
  public init(out: String, model: ModelRecipe) {
    self.init(out: out, model: model.name, isTuned: model.finetune != nil)
  }

  init(out: String, model: String, isTuned: Bool = false) {
    name = model
    self.isTuned = isTuned
    artefacts = "\(out)/\(model)"
    settings = "\(Layout.state)/settings/\(model)"
    shards = "\(Layout.state)/shards/\(model)"
    observations = "\(Layout.state)/observations/\(model)"
  }

  /// The folded network.
  public var folded: String { "\(artefacts)/folded.onnx" }
  var tensors: String { "\(artefacts)/tensors.json" }
  var merged: String { "\(artefacts)/observations.qobs" }
  /// Scales by tensor.
  public var scales: String { "\(artefacts)/scales.json" }
  /// Error by layer.
  public var sensitivity: String { "\(artefacts)/sensitivity.json" }
  /// What the ranges clip on other images.
  public var coverage: String { "\(artefacts)/coverage.json" }
  /// Which layer runs how; may be edited.
  public var config: String { "\(artefacts)/calibration.cfg" }
  var record: String { "\(artefacts)/record.txt" }
  var corrected: String { "\(artefacts)/corrected.onnx" }
  var qdq: String { "\(artefacts)/model.qdq.onnx" }
  var deploy: String { "\(artefacts)/model.deploy.onnx" }
  /// The compiled network.
  public var om: String { "\(artefacts)/\(name).om" }
  /// FP32 beside INT8.
  public var evaluation: String { "\(artefacts)/evaluation.json" }
  /// Written when the drop is within its limit.
  public var gate: String { "\(artefacts)/gate.stamp" }
  /// The page for people.
  public var report: String { "\(artefacts)/report.html" }

  /// Where training writes.
  var tuning: String { "\(artefacts)/finetune\(part)" }
  var tuned: String { "\(tuning)/tuned.onnx" }
  var tunedScales: String { "\(tuning)/scales.json" }
  var tunedConfig: String { "\(tuning)/calibration.cfg" }
  /// What training did and decided.
  public var tuningReport: String { "\(tuning)/report.json" }
  var tuningPlot: String { "\(tuning)/plot.svg" }
  /// What the user's own training command writes.
  var trainedOutside: String { "\(tuning)/external.onnx" }
  /// PTQ's scales, which that command may change.
  var scalesOutside: String { "\(tuning)/external.scales.json" }
  /// PTQ without training, for comparison.
  var ptqQDQ: String { "\(tuning)/ptq.qdq.onnx" }
  var ptqDeploy: String { "\(tuning)/ptq.deploy.onnx" }
  var ptqRecord: String { "\(tuning)/ptq.record.txt" }
  var ptqEvaluation: String { "\(tuning)/ptq.evaluation.json" }
  /// The files of the float network that is trained alike, for comparison.
  var control: Layout {
    var files = self
    files.part = "/control"
    return files
  }
  /// What the trained float network reaches on the evaluation images.
  var controlEvaluation: String { "\(control.tuning)/evaluation.json" }
  var checkpoints: String { "\(Layout.state)/finetune/\(name)\(part)" }

  /// The scales that the network is quantized with.
  public var finalScales: String { isTuned ? tunedScales : scales }
  /// The configuration that the network is quantized with.
  public var finalConfig: String { isTuned ? tunedConfig : config }

  var preprocess: String { "\(settings)/preprocess.json" }
  var precision: String { "\(settings)/precision.json" }
  var assessSamples: String { "\(settings)/assess.samples" }
  var repairSamples: String { "\(settings)/repair.samples" }
  var coverageSamples: String { "\(settings)/coverage.samples" }
  var tuningSettings: String { "\(settings)/finetune.json" }
  var tuningSamples: String { "\(settings)/finetune.samples" }
  var externalSamples: String { "\(settings)/external.samples" }
  var evaluationSamples: String { "\(settings)/evaluation.samples" }

  func shard(_ number: Int) -> String { "\(shards)/\(Shards.fileName(number)).samples" }
  func observed(_ number: Int) -> String { "\(observations)/\(Shards.fileName(number)).qobs" }

  /// The archive of a bundle.
  public static func bundle(_ name: String, out: String) -> String { "\(out)/\(name).tar.zst" }
  static func bundleSettings(_ name: String) -> String { "\(state)/settings/\(name).bundle.json" }
}
