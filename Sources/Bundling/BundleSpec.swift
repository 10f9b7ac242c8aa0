// SPDX-License-Identifier: Apache-2.0
// Bundling: what is to be packed, as the manifest generator writes it.

/// Where files stand inside a bundle.
public enum BundleLayout: String, Codable, Sendable, CaseIterable {
  /// `<model>/<file>` for the files of a model, `<file>` for the others.
  case plain
  /// As a module of a HarmonyOS application holds them: what the application reads at run time,
  /// OM files and included files, under `resources/rawfile/`; what documents them under
  /// `quench/<model>/`, so that it is not shipped to devices.
  ///
  /// Unpacked over `entry/src/main` of a project the files are where the packer of HAP files
  /// takes raw files from; in the HAP they have the same names.
  case rawfile
}

/// `bundle.json`: what `quench pack` puts into a bundle.
public struct BundleSpec: Codable, Sendable, Equatable {
  /// The bundle's name, one path component.
  public var name: String
  /// Where the files stand inside.
  public var layout: BundleLayout
  /// The archive format; only `tar.zst` is known.
  public var format: String
  /// Whether OM files written by Quench's host compiler, which no NPU loads, may be packed.
  public var allowHostModels: Bool
  /// The models.
  public var models: [Model]
  /// Paths of further files.
  public var include: [String]

  /// A set of images, by purpose.
  public struct Dataset: Codable, Sendable, Equatable {
    /// `calibration` or `evaluation`.
    public var name: String
    /// Their paths.
    public var files: [String]

    /// Makes a dataset.
    public init(name: String, files: [String]) {
      self.name = name
      self.files = files
    }
  }

  /// One model and what belongs to it.
  public struct Model: Codable, Sendable, Equatable {
    /// The model's name, one path component.
    public var name: String
    /// The files to pack: role (`om`, `config`, `scales`, `evaluation`, …) to path.
    ///
    /// The OM file has the role `om`; the figures of the file with the role `evaluation` are
    /// copied into the bundle's manifest.
    public var files: [String: String]
    /// The SoC that the model was compiled for.
    public var soc: String
    /// The calibration method.
    public var method: String
    /// Paths of all that the model was made from, whose digests go into the manifest.
    public var inputs: [String]
    /// The images that the model was calibrated and judged with.
    public var datasets: [Dataset] = []
    /// Who wrote the OM file, in words; filled in by whoever calls `BundleWriter`.
    public var compiler: String?
    /// Whether the OM file was written by the host compiler; filled in by whoever calls
    /// `BundleWriter`, who can read OM files. Needed when there is a file with the role `om`.
    public var hostBuilt: Bool?

    /// Makes a model entry.
    public init(
      name: String, files: [String: String], soc: String, method: String, inputs: [String] = [],
      compiler: String? = nil, hostBuilt: Bool? = nil
    ) {
      self.name = name
      self.files = files
      self.soc = soc
      self.method = method
      self.inputs = inputs
      self.compiler = compiler
      self.hostBuilt = hostBuilt
    }
  }

  /// Makes a specification.
  public init(
    name: String, layout: BundleLayout = .plain, format: String = "tar.zst",
    allowHostModels: Bool = false, models: [Model], include: [String] = []
  ) {
    self.name = name
    self.layout = layout
    self.format = format
    self.allowHostModels = allowHostModels
    self.models = models
    self.include = include
  }

  /// Reads a specification; all keys but `name` and `models` have the defaults of `init`.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      name: try values.decode(String.self, forKey: .name),
      layout: try values.decodeIfPresent(BundleLayout.self, forKey: .layout) ?? .plain,
      format: try values.decodeIfPresent(String.self, forKey: .format) ?? "tar.zst",
      allowHostModels: try values.decodeIfPresent(Bool.self, forKey: .allowHostModels) ?? false,
      models: try values.decode([Model].self, forKey: .models),
      include: try values.decodeIfPresent([String].self, forKey: .include) ?? [])
  }
}

extension BundleSpec.Model {
  /// Reads a model entry; `inputs`, `compiler` and `hostBuilt` may be missing.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      name: try values.decode(String.self, forKey: .name),
      files: try values.decode([String: String].self, forKey: .files),
      soc: try values.decode(String.self, forKey: .soc),
      method: try values.decode(String.self, forKey: .method),
      inputs: try values.decodeIfPresent([String].self, forKey: .inputs) ?? [],
      compiler: try values.decodeIfPresent(String.self, forKey: .compiler),
      hostBuilt: try values.decodeIfPresent(Bool.self, forKey: .hostBuilt))
    datasets = try values.decodeIfPresent([BundleSpec.Dataset].self, forKey: .datasets) ?? []
  }
}
