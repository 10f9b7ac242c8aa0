// SPDX-License-Identifier: Apache-2.0
// Bundling: packs files into one archive whose bytes depend on their content alone.

internal import Artifacts
public import Diagnostics

/// Packs bundles.
///
/// A bundle is a tar stream compressed with zstd: `manifest.json`, `SHA256SUMS`, then the files
/// in order of their names' bytes, all with mode 0644, owner 0 and one fixed time, without
/// entries for directories. Equal files and an equal specification give equal bytes, wherever,
/// by whomever and with whatever time zone, locale and umask they are packed (and the same
/// version of libzstd; the digests inside are equal with any).
public enum BundleWriter {
  /// Packs what `spec` lists into the file `path`, atomically.
  ///
  /// - Parameter directory: what relative paths in `spec` start from.
  /// - Returns: the manifest that was packed.
  /// - Throws: `.verdict` for a host-built model without `allowHostModels`; `.data` for names
  ///   that cannot stand in a bundle; `.noInput` for files that cannot be read; `.work` when
  ///   writing fails or a file changes meanwhile; `.unavailable` without libarchive.
  @discardableResult
  public static func pack(
    _ spec: BundleSpec, to path: String, from directory: String = "."
  ) throws(QuenchError) -> BundleManifest {
    let plan = try BundlePlan(spec)
    let manifest = try describe(spec, plan, directory)
    let document = try ArtifactJSON.encode(manifest)
    let archive = try ArchiveWriter(path)
    try archive.add(BundleManifest.entryName, document)
    try archive.add(BundleManifest.sumsName, manifest.sums(manifest: document))
    for (entry, file) in zip(plan.entries, manifest.files) {
      try copy(located(entry.source, directory), as: file, into: archive)
    }
    try archive.finish()
    return manifest
  }

  private static func describe(
    _ spec: BundleSpec, _ plan: BundlePlan, _ directory: String
  ) throws(QuenchError) -> BundleManifest {
    var models: [BundleManifest.Model] = []
    for (model, roles) in zip(spec.models, plan.roles) {
      var inputs: [BundleManifest.File] = []
      for path in Set(model.inputs) {
        inputs.append(try fingerprint(located(path, directory), as: portable(path)))
      }
      inputs.sort {
        EntryPath.precedes($0.path, $1.path) || ($0.path == $1.path && $0.sha256 < $1.sha256)
      }
      var evaluation: [String: Figure]?
      if let path = model.files["evaluation"] {
        let full = located(path, directory)
        evaluation = try EvaluationFigures.read(FileContent.read(full), path: full)
      }
      models.append(
        BundleManifest.Model(
          name: model.name, soc: model.soc, compiler: model.compiler, hostBuilt: model.hostBuilt,
          method: model.method, files: roles, inputs: inputs,
          datasets: try datasets(model.datasets, directory), evaluation: evaluation))
    }
    models.sort { EntryPath.precedes($0.name, $1.name) }
    var files: [BundleManifest.File] = []
    for entry in plan.entries {
      files.append(try fingerprint(located(entry.source, directory), as: entry.name))
    }
    return BundleManifest(
      name: spec.name, layout: spec.layout,
      hostBuilt: spec.models.contains { $0.hostBuilt == true }, models: models, files: files)
  }

  private static func datasets(
    _ datasets: [BundleSpec.Dataset], _ directory: String
  ) throws(QuenchError) -> [BundleManifest.Dataset]? {
    var described: [BundleManifest.Dataset] = []
    for dataset in datasets {
      let sha = try SHA256()
      for path in dataset.files.sorted(by: EntryPath.precedes) {
        let digest = try ContentDigest.ofFile(located(path, directory)).hex
        sha.update(Array("\(digest)  \(portable(path))\n".utf8))
      }
      described.append(
        BundleManifest.Dataset(
          name: dataset.name, count: dataset.files.count, sha256: sha.finish().hex))
    }
    return described.isEmpty ? nil : described
  }

  /// A path as the manifest names it: an absolute one would tie the bundle to one machine.
  private static func portable(_ path: String) -> String {
    path.hasPrefix("/") ? path.split(separator: "/").last.map(String.init) ?? path : path
  }

  private static func located(_ path: String, _ directory: String) -> String {
    path.hasPrefix("/") || directory == "." ? path : "\(directory)/\(path)"
  }

  private static func fingerprint(
    _ path: String, as name: String
  ) throws(QuenchError) -> BundleManifest.File {
    let sha = try SHA256()
    var size = 0
    try FileContent.read(path) {
      sha.update($0)
      size += $0.count
    }
    return BundleManifest.File(path: name, size: size, sha256: sha.finish().hex)
  }

  /// Copies a file whose size and digest the manifest already states.
  private static func copy(
    _ path: String, as file: BundleManifest.File, into archive: ArchiveWriter
  ) throws(QuenchError) {
    try archive.start(file.path, size: file.size)
    let sha = try SHA256()
    var left = file.size
    var fault: QuenchError?
    try FileContent.read(path) { bytes in
      sha.update(bytes)
      left -= bytes.count
      guard left >= 0, fault == nil else { return }
      do throws(QuenchError) { try archive.add(bytes) } catch { fault = error }
    }
    if let fault { throw fault }
    guard left == 0, sha.finish().hex == file.sha256 else {
      throw QuenchError(
        .work, "\"\(path)\" changed while it was being packed", at: .file(path),
        try: "quench pack again")
    }
  }
}
