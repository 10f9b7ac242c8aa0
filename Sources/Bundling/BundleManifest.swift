// SPDX-License-Identifier: Apache-2.0
// Bundling: the document that a bundle carries about itself.

public import Artifacts
internal import Diagnostics

/// `manifest.json`: what is in a bundle and what it was made from.
///
/// It depends only on the packed files and the specification: no time, place, user or library
/// version is in it.
public struct BundleManifest: JSONArtifact, Equatable {
  /// `quench.bundle`.
  public static let format = "quench.bundle"
  /// The newest version that is read and written.
  public static let version = 1
  /// The manifest's own name in a bundle; its first entry.
  static let entryName = "manifest.json"
  /// The name of the list of digests that `sha256sum -c` reads; the second entry.
  static let sumsName = "SHA256SUMS"

  /// The bundle's name.
  public var name: String
  /// Where the files stand.
  public var layout: BundleLayout
  /// Whether a model of the host compiler is inside: for development, loaded by no NPU.
  public var hostBuilt: Bool
  /// The models, in order of their names.
  public var models: [Model]
  /// Every entry but `manifest.json` and `SHA256SUMS`, in order of the names' bytes.
  public var files: [File]

  /// A file by name, size and content.
  public struct File: Codable, Sendable, Equatable {
    /// In `files`: the entry's name. In `inputs`: the path from the project's directory; of a
    /// path that was absolute only the last component.
    public var path: String
    /// Size in bytes.
    public var size: Int
    /// SHA-256, 64 hexadecimal digits.
    public var sha256: String

    /// Makes a description of a file.
    public init(path: String, size: Int, sha256: String) {
      self.path = path
      self.size = size
      self.sha256 = sha256
    }
  }

  /// One model.
  public struct Model: Codable, Sendable, Equatable {
    /// The model's name.
    public var name: String
    /// The SoC that it was compiled for.
    public var soc: String
    /// Who wrote the OM file, in words.
    public var compiler: String?
    /// Whether Quench's host compiler wrote the OM file; nil when there is none.
    public var hostBuilt: Bool?
    /// The calibration method.
    public var method: String
    /// Role to entry name.
    public var files: [String: String]
    /// What the model was made from, in order of the paths' bytes.
    public var inputs: [File]
    /// The images that it was calibrated and judged with; nil when none were named.
    public var datasets: [Dataset]?
    /// The figures of the evaluation, as its file has them; nil when none was packed.
    public var evaluation: [String: Figure]?
  }

  /// Images as a set: thousands of digests would outweigh the model, one digest of them does not.
  public struct Dataset: Codable, Sendable, Equatable {
    /// `calibration` or `evaluation`.
    public var name: String
    /// Number of files.
    public var count: Int
    /// SHA-256 of the lines `<digest>  <path>` in order of the paths' bytes, as `sha256sum` writes
    /// them.
    public var sha256: String
  }
}

extension BundleManifest {
  /// The text of `SHA256SUMS`: a line for each file and for the manifest itself.
  ///
  /// The format is that of GNU `sha256sum` in text mode: digest, two spaces, name.
  func sums(manifest: [UInt8]) throws(QuenchError) -> [UInt8] {
    var lines = files.map { ($0.path, $0.sha256) }
    lines.append((BundleManifest.entryName, try ContentDigest.of(manifest).hex))
    lines.sort { EntryPath.precedes($0.0, $1.0) }
    return Array(lines.map { "\($0.1)  \($0.0)\n" }.joined().utf8)
  }
}
