// SPDX-License-Identifier: Apache-2.0
// Bundling: from a specification to the list of entries, with every check that needs no content.

internal import Diagnostics

/// Which file becomes which entry.
struct BundlePlan {
  /// One file to pack.
  struct Entry {
    /// Its name in the bundle.
    var name: String
    /// Its path as the specification has it.
    var source: String
  }

  /// All files, in order of the entries' names.
  private(set) var entries: [Entry] = []
  /// For each model of the specification, in its order: role to entry name.
  private(set) var roles: [[String: String]] = []

  private var collisions = NameCollisions()
  private var sources: [String: String] = [:]

  /// Plans the entries.
  ///
  /// - Throws: `.data` for names that cannot stand in a bundle, for two files of one name and
  ///   for an unknown format; `.verdict` for a host-built model that is not allowed.
  init(_ spec: BundleSpec) throws(QuenchError) {
    guard spec.format == "tar.zst" else {
      throw QuenchError(
        .data, "the bundle format \"\(spec.format)\" is not known", at: .option("format"),
        try: "format: tar.zst")
    }
    try BundlePlan.checkName(spec.name, of: "bundle")
    var models: Set<String> = []
    for name in [BundleManifest.entryName, BundleManifest.sumsName] {
      _ = collisions.note(name)
      sources[name] = "the bundle's own \(name)"
    }
    for model in spec.models {
      try BundlePlan.checkName(model.name, of: "model")
      guard models.insert(model.name).inserted else {
        throw QuenchError(
          .data, "the model \"\(model.name)\" is listed twice in bundle \"\(spec.name)\"")
      }
      try BundlePlan.checkOrigin(of: model, in: spec)
      var names: [String: String] = [:]
      for (role, source) in model.files.sorted(by: { EntryPath.precedes($0.key, $1.key) }) {
        names[role] = try add(
          source, under: BundlePlan.folder(of: role, model: model.name, layout: spec.layout))
      }
      roles.append(names)
    }
    for source in spec.include {
      _ = try add(source, under: spec.layout == .rawfile ? "resources/rawfile/" : "")
    }
    entries.sort { EntryPath.precedes($0.name, $1.name) }
  }

  private static func folder(of role: String, model: String, layout: BundleLayout) -> String {
    switch layout {
    case .plain: "\(model)/"
    // Raw files are opened by name at run time and lie flat, as HarmonyOS examples have them.
    case .rawfile: role == "om" ? "resources/rawfile/" : "quench/\(model)/"
    }
  }

  private static func checkName(_ name: String, of what: String) throws(QuenchError) {
    let fault = name.contains("/") ? "has a slash" : EntryPath.fault(of: name)
    if let fault {
      throw QuenchError(.data, "the \(what) name \(EntryPath.quoted(name)) \(fault)")
    }
  }

  private static func checkOrigin(
    of model: BundleSpec.Model, in spec: BundleSpec
  ) throws(QuenchError) {
    guard let path = model.files["om"] else { return }
    guard let hostBuilt = model.hostBuilt else {
      throw QuenchError(
        .data, "it is not stated which compiler wrote the OM of model \"\(model.name)\"",
        at: .file(path), try: "quench pack, which reads it from the file")
    }
    guard !hostBuilt || spec.allowHostModels else {
      throw QuenchError(
        .verdict,
        "the OM of model \"\(model.name)\" was written by the host compiler, which is for "
          + "development; no NPU loads it",
        at: .file(path),
        try: "compile it with atc, or set allowHostModels: true in bundle \"\(spec.name)\"")
    }
  }

  private mutating func add(_ source: String, under folder: String) throws(QuenchError) -> String {
    let last = source.split(separator: "/").last.map(String.init) ?? ""
    let name = folder + last
    if let fault = EntryPath.fault(of: name) {
      throw QuenchError(
        .data, "the name \(EntryPath.quoted(name)) \(fault), so it cannot stand in a bundle",
        at: .file(source))
    }
    if let earlier = collisions.note(name) {
      throw QuenchError(
        .data,
        "\"\(sources[earlier] ?? earlier)\" and \"\(source)\" would have the same name "
          + "\"\(name)\" in the bundle",
        at: .file(source), try: "rename one of them")
    }
    sources[name] = source
    entries.append(Entry(name: name, source: source))
    return name
  }
}
