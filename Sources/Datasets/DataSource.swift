// SPDX-License-Identifier: Apache-2.0
// Datasets: where samples and their labels come from, as quench.yaml's `data` says it.

public import Diagnostics

/// What the `data` section of `quench.yaml` names for one purpose (calibration, evaluation, ...).
///
/// All paths are relative to the working directory.
public struct DataSource: Sendable, Hashable, Codable {
  /// Where the samples are.
  public var content: Content
  /// Where their classes are; nil when they have none (or, for a table, its own label column).
  public var labels: Labels?
  /// Added to every label, for networks that count a background class.
  public var labelOffset: Int
  /// Only the first so many samples, at least 1; nil: all.
  public var limit: Int?

  /// Where samples are.
  public enum Content: Sendable, Hashable, Codable {
    /// A directory tree of `.jpg`, `.jpeg` and `.png` files, or a pattern with `*`, `?`, `[...]`
    /// (within a name) or `**` (any directories) that names files. Hidden names are skipped, order
    /// is that of the paths' bytes.
    case images(String)
    /// Rows of a CSV table with columns `file` and maybe `label`, in file order, of which only
    /// those are taken whose columns have the values of `where`. Files are relative to `root`,
    /// or to the table's directory.
    case list(String, where: [String: String], root: String?)
    /// Items of an `.npy`, `.npz` or IDX file (IDX also as `.gz`). `member` names the array of an
    /// `.npz`; without it the only array, or the one called `images`.
    case arrays(String, member: String?)
  }

  /// Where classes are.
  public enum Labels: Sendable, Hashable, Codable {
    /// The class is the position of the top folder's name among all folders, in byte order.
    case folders
    /// A file: CSV with columns `file` and `label`; text with one label a line, in the order of
    /// the samples, or `file label` a line; `.npy` or IDX with one integer a sample.
    case file(String)
    /// An array of the same `.npz` file, or a file if it has no array of this name.
    case member(String)
  }

  /// Makes a source from its parts.
  public init(content: Content, labels: Labels? = nil, labelOffset: Int = 0, limit: Int? = nil) {
    self.content = content
    self.labels = labels
    self.labelOffset = labelOffset
    self.limit = limit
  }

  /// The keys of a source in `quench.yaml`, for the check of unknown ones.
  public static let keys = [
    "arrays", "images", "labelOffset", "labels", "limit", "list", "root", "where",
  ]

  /// Makes a source from the keys of `quench.yaml` as they stand there.
  ///
  /// `images` is a directory or pattern, but beside `arrays` the name of an array; `labels` is a
  /// file or the word `folders`, but beside `arrays` the name of an array or a file.
  /// - Throws: `.data` when the keys contradict each other.
  public init(
    images: String? = nil, list: String? = nil, where filter: [String: String] = [:],
    root: String? = nil, arrays: String? = nil, labels: String? = nil, labelOffset: Int = 0,
    limit: Int? = nil
  ) throws(QuenchError) {
    guard limit.map({ $0 > 0 }) ?? true else {
      throw QuenchError(.data, "\"limit\" must be at least 1")
    }
    guard list != nil || (filter.isEmpty && root == nil) else {
      throw QuenchError(.data, "\"where\" and \"root\" belong to \"list\", which is missing")
    }
    self.labelOffset = labelOffset
    self.limit = limit
    switch (images, list, arrays) {
    case (let member, nil, let path?):
      content = .arrays(path, member: member)
      self.labels = labels.map { Labels.member($0) }
    case (let path?, nil, nil):
      content = .images(path)
      self.labels = labels.map { $0 == "folders" ? .folders : .file($0) }
    case (nil, let path?, nil):
      content = .list(path, where: filter, root: root)
      self.labels = labels.map { $0 == "folders" ? .folders : .file($0) }
    case (nil, nil, nil):
      throw QuenchError(
        .data, "a data source names none of \"images\", \"list\" and \"arrays\"",
        try: "for example \"calibration: {images: photos}\"")
    default:
      throw QuenchError(.data, "a data source names more than one of images, list and arrays")
    }
  }
}
