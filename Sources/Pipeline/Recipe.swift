// SPDX-License-Identifier: Apache-2.0
// Pipeline: what `quench.yaml` says, checked. Defaults that users see are here, with their reasons.

public import Diagnostics

/// A whole `quench.yaml`.
public struct Recipe: Sendable {
  /// Directory of the artefacts, relative to the project.
  public var out: String
  /// The networks, sorted by name.
  public var models: [ModelRecipe]
  /// The release bundles, sorted by name.
  public var bundles: [BundleRecipe]
}

/// One network on its way from ONNX to OM.
public struct ModelRecipe: Sendable {
  /// The key under `models:`; also the folder of its artefacts.
  public var name: String
  /// The FP32 ONNX file.
  public var model: String
  /// Fixed input shapes by input name, sorted; `[N, C, H, W]` with N = 1.
  public var inputs: [InputShape]
  /// The images whose activations set the ranges.
  public var calibration: SampleSource
  /// Other images to check the ranges on; nil: the evaluation images serve.
  public var coverage: SampleSource?
  /// Images to judge the result on; nil: the calibration images serve, without labels.
  public var evaluation: SampleSource?
  /// The steps from a decoded image to the input tensor, as the JSON that stages read.
  public var preprocess: SettingsValue
  /// What to do with an image that cannot be decoded.
  public var onCorrupt: CorruptPolicy
  /// Where the network will run.
  public var target: TargetRecipe
  /// How ranges become scales.
  public var calibrate: CalibrateRecipe
  /// Repairs without training.
  public var repair: RepairRecipe
  /// Which layers may stay FP16.
  public var precision: PrecisionRecipe
  /// Training against the quantized network; nil: none.
  public var finetune: FinetuneRecipe?
  /// What is measured in the end, and which loss fails the build.
  public var evaluate: EvaluateRecipe
  /// Where each key of the model stands in quench.yaml, for messages.
  public var places: [String: Place]
}

/// A fixed input shape.
public struct InputShape: Sendable, Equatable {
  /// The input's name in the model.
  public var name: String
  /// Extents, batch first.
  public var shape: [Int]
}

/// Where samples come from. Exactly one of `images`, `list` and `arrays` is set.
public struct SampleSource: Sendable, Equatable {
  /// A directory or glob of JPEG and PNG files.
  public var images: String?
  /// A CSV table with a column `file`.
  public var list: String?
  /// Which rows of the table count: column name to value.
  public var filter: [String: String] = [:]
  /// The directory that the table's paths are relative to; default: that of the table.
  public var root: String?
  /// A .npy, .npz or IDX file.
  public var arrays: String?
  /// The array of images in an .npz.
  public var imagesKey: String?
  /// `folders`, a table or text file, or an array's name; nil: no labels.
  public var labels: String?
  /// Added to every label (1 for networks with a background class).
  public var labelOffset = 0
  /// At most this many samples, the first in the source's order.
  public var limit: Int?
  /// The key in `quench.yaml`, for messages.
  public var key: String
  /// Where it stands there.
  public var place: Place
  /// Where each of its own keys stands, to the value.
  public var places: [String: Place] = [:]
}

/// What to do with an image that cannot be decoded.
public enum CorruptPolicy: String, Sendable, CaseIterable {
  /// Stop and name the file.
  case fail
  /// Leave it out and count it.
  case skip
}

/// The device and the compiler for it.
public struct TargetRecipe: Sendable {
  /// For example `Ascend310P3`; checked before anything runs.
  public var soc: String
  /// `auto`, `atc` or `host`.
  public var compiler: String
  /// `cann` (what a real CANN accepts) or `article` (the reference article's flags, literally).
  public var profile: String
}

/// How observed ranges become scales.
public struct CalibrateRecipe: Sendable {
  /// `minmax`, `kl`, `mse` or `percentile`. Default `mse`: best or within 0.5 % of the best relative
  /// error on every reference distribution.
  public var method: String
  /// In percent, only for `percentile`; default 99.99.
  public var percentile: String
  /// `symmetric` or `asymmetric` (default: uses all 256 codes of one-sided tensors).
  public var activations: String
  /// `target` (what the device accepts), `perChannel` or `perTensor`.
  public var weights: String
}

/// Repairs without training.
public struct RepairRecipe: Sendable {
  /// Shift each layer's bias by the mean error of its quantised output; on by default: it is worth
  /// 10 dB on networks with depthwise layers.
  public var biasCorrection: Bool
  /// At most this many calibration images are used: beyond about 60 nothing changes that can be
  /// told from chance, and each costs space for the tensors of two networks.
  static let largestSample = 100
}

/// Which layers may stay FP16.
public struct PrecisionRecipe: Sendable {
  /// Relative error above which a layer is a candidate for FP16; 0.001 is 30 dB.
  public var sensitivity: Double
  /// Patterns of layer names that stay FP16 whatever they measure.
  public var keepFP16: [String]
  /// Largest share of the multiply-accumulates that sensitive layers may keep in FP16, 0…1.
  public var maxFP16Share: Double
  /// Per layer name: what the user decided.
  public var overrides: SettingsValue
}

/// What is measured in the end.
public struct EvaluateRecipe: Sendable {
  /// `top1` or `top5`.
  public var metric: String
  /// Largest drop of the metric in percentage points; nil: no limit.
  public var maxDrop: Double?
}

/// A release archive.
public struct BundleRecipe: Sendable {
  /// The key under `bundles:`; the archive is `<out>/<name>.tar.zst`.
  public var name: String
  /// Names of the models in it.
  public var models: [String]
  /// `plain` or `rawfile` (the layout of a HarmonyOS HAP).
  public var layout: String
  /// Further files, kept under their own names.
  public var include: [String]
  /// Where each of them stands in quench.yaml, for messages.
  public var includePlaces: [Place]
  /// Whether a model that our host compiler built (it runs on no device) may be shipped.
  public var allowHostModels: Bool
}
