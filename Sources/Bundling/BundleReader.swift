// SPDX-License-Identifier: Apache-2.0
// Bundling: checks a bundle against its own manifest, and unpacks it only if it is right.

internal import Artifacts
public import Diagnostics

/// Most that a bundle may hold; what says more is refused before it is read.
public struct BundleLimits: Sendable {
  /// Entries, with the manifest and the list of digests.
  public var entries: Int
  /// Bytes of all entries together, uncompressed.
  public var bytes: Int

  /// 10,000 entries and 64 GiB unless told otherwise.
  public init(entries: Int = 10_000, bytes: Int = 64 << 30) {
    self.entries = entries
    self.bytes = bytes
  }
}

/// Verifies and unpacks bundles, trusting nothing in them.
public enum BundleReader {
  /// Longest manifest and list of digests, in bytes.
  private static let longestDocument = 64 << 20

  /// Checks that a bundle is whole and holds exactly what its manifest says.
  ///
  /// Nothing is written. The digests say that nothing was damaged; who made the bundle is a
  /// question for a signature.
  /// - Returns: the manifest.
  /// - Throws: `.verdict`, naming the entry, when an entry is missing, additional or differs;
  ///   `.data` when the file is no bundle, is cut short, is of a newer version, or has entries
  ///   that no bundle has (links, devices, unsafe names); `.noInput` when it cannot be opened.
  @discardableResult
  public static func verify(
    _ path: String, limits: BundleLimits = BundleLimits()
  ) throws(QuenchError) -> BundleManifest {
    try walk(path, limits: limits, into: nil)
  }

  /// Unpacks a bundle into `directory`, which must be missing or empty.
  ///
  /// The files are written into a fresh directory beside it, which gets the name only when all
  /// of `verify`'s checks have passed; after a failure nothing is left.
  /// - Returns: the manifest.
  /// - Throws: as `verify`; `.work` when `directory` is not empty or writing fails.
  @discardableResult
  public static func unpack(
    _ path: String, to directory: String, limits: BundleLimits = BundleLimits()
  ) throws(QuenchError) -> BundleManifest {
    let target = try FreshDirectory(for: directory)
    let manifest = try walk(path, limits: limits, into: target)
    try target.publish()
    return manifest
  }

  private static func walk(
    _ path: String, limits: BundleLimits, into target: FreshDirectory?
  ) throws(QuenchError) -> BundleManifest {
    let archive = try ArchiveReader(path)
    let document = try document(BundleManifest.entryName, from: archive, path: path)
    let manifest = try ArtifactJSON.decode(
      BundleManifest.self, from: document, path: "\(path): \(BundleManifest.entryName)")
    try check(manifest, limits: limits, path: path)
    let sums = try self.document(BundleManifest.sumsName, from: archive, path: path)
    guard try sums == manifest.sums(manifest: document) else {
      throw mismatch("SHA256SUMS and manifest.json contradict each other", path)
    }
    try target?.write(BundleManifest.entryName, document)
    try target?.write(BundleManifest.sumsName, sums)

    var missing: [String: BundleManifest.File] = [:]
    for file in manifest.files { missing[file.path] = file }
    while let entry = try archive.next() {
      guard let file = missing.removeValue(forKey: entry.name) else {
        throw mismatch(
          "the entry \"\(entry.name)\" is not in the manifest, or is there twice", path)
      }
      guard entry.size == file.size else {
        throw mismatch(
          "the entry \"\(entry.name)\" has \(entry.size) bytes; the manifest says \(file.size)",
          path)
      }
      let output = try target?.create(entry.name)
      let sha = try SHA256()
      try archive.content(of: entry) { bytes throws(QuenchError) in
        sha.update(bytes)
        try output?.write(bytes)
      }
      try output?.finish()
      guard sha.finish().hex == file.sha256 else {
        throw mismatch("the entry \"\(entry.name)\" differs from its digest in the manifest", path)
      }
    }
    if let first = missing.keys.min(by: EntryPath.precedes) {
      throw mismatch("the entry \"\(first)\" of the manifest is missing", path)
    }
    return manifest
  }

  /// Reads one of the two entries that every bundle starts with.
  private static func document(
    _ name: String, from archive: ArchiveReader, path: String
  ) throws(QuenchError) -> [UInt8] {
    guard let entry = try archive.next(), entry.name == name else {
      throw QuenchError(
        .data, "this is not a bundle: \(name) is not where it belongs", at: .file(path))
    }
    guard entry.size <= longestDocument else {
      throw QuenchError(.data, "the entry \(name) is too long", at: .file(path))
    }
    var bytes: [UInt8] = []
    try archive.content(of: entry) { piece throws(QuenchError) in bytes.append(contentsOf: piece) }
    return bytes
  }

  /// Checks what the manifest announces before anything is read or written on its word.
  private static func check(
    _ manifest: BundleManifest, limits: BundleLimits, path: String
  ) throws(QuenchError) {
    let place = Place.file("\(path): \(BundleManifest.entryName)")
    guard manifest.files.count + 2 <= limits.entries else {
      throw QuenchError(.data, "the bundle has more than \(limits.entries) entries", at: place)
    }
    var collisions = NameCollisions()
    _ = collisions.note(BundleManifest.entryName)
    _ = collisions.note(BundleManifest.sumsName)
    var total = 0
    for file in manifest.files {
      if let fault = EntryPath.fault(of: file.path) {
        throw QuenchError(
          .data, "the file name \(EntryPath.quoted(file.path)) \(fault)", at: place)
      }
      if let earlier = collisions.note(file.path) {
        throw QuenchError(
          .data, "the names \"\(earlier)\" and \"\(file.path)\" collide", at: place)
      }
      let (sum, overflow) = total.addingReportingOverflow(file.size)
      guard file.size >= 0, !overflow, sum <= limits.bytes else {
        throw QuenchError(.data, "the bundle holds more than \(limits.bytes) bytes", at: place)
      }
      total = sum
    }
  }

  private static func mismatch(_ message: String, _ path: String) -> QuenchError {
    QuenchError(.verdict, message, at: .file(path), try: "get or pack the bundle again")
  }
}
