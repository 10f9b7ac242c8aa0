// SPDX-License-Identifier: Apache-2.0
// Datasets: a source to its samples, in a fixed order.

public import Diagnostics

/// The samples of a source and what the answer depended on.
public struct Listing: Sendable, Equatable {
  /// Directories and patterns: in byte order of the paths; tables and arrays: in file order.
  public var samples: [Sample]
  /// Directories whose listings (names and kinds) were read, sorted.
  public var directories: [String]
  /// Tables, label files and array files that were read, sorted. Image files are not among them.
  public var files: [String]
}

/// Lists the samples of a source.
public enum DatasetListing {
  /// The samples with their labels, the first `limit` of them.
  ///
  /// - Throws: `.noInput` for a missing directory or file (a listed image that does not exist
  ///   too); `.data` for an empty folder, a table without the columns, a label that is missing or
  ///   not an integer, an array file that is malformed or has no such member.
  public static func samples(of source: DataSource) throws(QuenchError) -> Listing {
    var tree = FileTree()
    var files: Set<String> = []
    var found: Found
    switch source.content {
    case .images(let path): found = try images(path, &tree)
    case .list(let path, let filter, let root):
      files.insert(path)
      found = try list(path, filter, root)
    case .arrays(let path, let member):
      files.insert(path)
      found = try arrays(path, member)
    }
    guard !found.samples.isEmpty else { throw nothing(in: source.content) }
    if let labels = source.labels {
      try Labelling(found: found).apply(labels, to: &found.samples, &tree, &files)
    }
    if let limit = source.limit { found.samples = Array(found.samples.prefix(limit)) }
    if source.labelOffset != 0 {
      for index in found.samples.indices {
        guard let label = found.samples[index].label else { continue }
        let (sum, overflow) = label.addingReportingOverflow(source.labelOffset)
        guard !overflow, sum >= 0 else {
          throw QuenchError(
            .data,
            "label \(label) of \"\(found.samples[index].name)\" plus labelOffset "
              + "\(source.labelOffset) is no class")
        }
        found.samples[index].label = sum
      }
    }
    return Listing(
      samples: found.samples,
      directories: Set(tree.directories).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) },
      files: files.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
  }
}

/// What a source holds before labels, offset and limit.
struct Found {
  var samples: [Sample]
  /// The directory that tables' file names and class folders are relative to; nil for arrays.
  var root: String?
  /// The array file, nil for images.
  var arrays: ArrayFile?
}

// MARK: - The kinds of source

extension DatasetListing {
  private static let suffixes = [".jpg", ".jpeg", ".png"]

  private static func images(_ path: String, _ tree: inout FileTree) throws(QuenchError) -> Found {
    if FileTree.isDirectory(path) {
      let files = try tree.files(below: path).filter { file in
        let name = file.lowercased()
        return suffixes.contains { name.hasSuffix($0) }
      }
      return Found(samples: files.map { Sample(path: $0) }, root: path)
    }
    if FileTree.exists(path) {
      throw QuenchError(
        .noInput, "\"\(path)\" is a file where a directory of images should be", at: .file(path),
        try: "name a directory or a pattern, or use list: or arrays: for a table or an array file")
    }
    guard Pattern.isPattern(path) else {
      throw QuenchError(
        .noInput, "the image directory \"\(path)\" does not exist", at: .file(path),
        try: "create it, or correct the path of the images")
    }
    let pattern = Pattern(path)
    let files = try pattern.files(in: &tree)
    return Found(samples: files.map { Sample(path: $0) }, root: pattern.root)
  }

  private static func list(
    _ path: String, _ filter: [String: String], _ root: String?
  ) throws(QuenchError) -> Found {
    let table = try CSVTable(path: path)
    let file = try table.column("file")
    let label = table.columns.firstIndex(of: "label")
    var wanted: [(column: Int, value: String)] = []
    for key in filter.keys.sorted() {
      wanted.append((try table.column(key), filter[key] ?? ""))
    }
    let root = root ?? FileTree.directory(of: path)
    var samples: [Sample] = []
    for row in table.rows where wanted.allSatisfy({ row.fields[$0.column] == $0.value }) {
      let name = row.fields[file]
      let full = name.hasPrefix("/") ? name : FileTree.join(root, name)
      guard !name.isEmpty, !name.utf8.contains(where: { $0 == 0x09 || $0 == 0x0A }) else {
        throw QuenchError(
          .data, "the file name \"\(name)\" is empty or holds a TAB or a line feed",
          at: table.place(of: row, file))
      }
      guard FileTree.exists(full) else {
        throw QuenchError(
          .noInput, "the image \"\(full)\" does not exist", at: table.place(of: row, file),
          try: "file names are relative to root:, now \"\(root)\"")
      }
      var sample = Sample(path: full)
      if let label, !row.fields[label].isEmpty { sample.label = try table.integer(row, label) }
      samples.append(sample)
    }
    return Found(samples: samples, root: root)
  }

  private static func arrays(_ path: String, _ member: String?) throws(QuenchError) -> Found {
    let file = try ArrayFile(path: path)
    let name = try file.member(named: member)
    let array = try file.header(of: name)
    guard let count = array.shape.first, array.shape.count > 1 else {
      throw QuenchError(
        .data, "an array of shape \(array.shape) holds no items: the first extent counts them",
        at: .file(path))
    }
    let samples = (0..<count).map { Sample(path: path, member: name, index: $0) }
    return Found(samples: samples, arrays: file)
  }

  private static func nothing(in content: DataSource.Content) -> QuenchError {
    switch content {
    case .images(let path) where Pattern.isPattern(path) && !FileTree.isDirectory(path):
      QuenchError(.data, "no file matches \"\(path)\"")
    case .images(let path):
      QuenchError(
        .data, "the directory \"\(path)\" has no JPEG or PNG file (.jpg, .jpeg, .png)",
        at: .file(path))
    case .list(let path, let filter, _):
      QuenchError(
        .data,
        filter.isEmpty
          ? "the table has no rows"
          : "no row of the table has "
            + filter.sorted { $0.key < $1.key }.map { "\($0.key) = \"\($0.value)\"" }
            .joined(separator: " and "), at: .file(path))
    case .arrays(let path, _):
      QuenchError(.data, "the array has no items", at: .file(path))
    }
  }
}

extension FileTree {
  /// The directory that holds a file: "." for a plain name.
  static func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
}
