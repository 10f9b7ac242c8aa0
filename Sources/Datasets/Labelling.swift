// SPDX-License-Identifier: Apache-2.0
// Datasets: classes for samples, from folder names, tables, text or arrays.

internal import Artifacts
internal import Diagnostics

/// Gives samples their labels.
struct Labelling {
  let found: Found

  /// Sets the label of every sample.
  ///
  /// - Throws: `.noInput` for a missing label file; `.data` when a sample has no label or a label
  ///   is not an integer.
  func apply(
    _ labels: DataSource.Labels, to samples: inout [Sample], _ tree: inout FileTree,
    _ files: inout Set<String>
  ) throws(QuenchError) {
    switch labels {
    case .folders: try fromFolders(&samples, &tree)
    case .member(let name):
      if let arrays = found.arrays, arrays.names.contains(name) {
        try fromArray(arrays, name, &samples)
      } else if FileTree.exists(name) {
        files.insert(name)
        try fromFile(name, &samples)
      } else {
        let known = found.arrays?.names ?? []
        throw QuenchError(
          .noInput,
          "the labels \"\(name)\" are neither an array of the file nor a file"
            + NearestName.hint(name, among: known), at: (found.arrays?.path).map { .file($0) })
      }
    case .file(let path):
      files.insert(path)
      try fromFile(path, &samples)
    }
  }
}

// MARK: - Folders

extension Labelling {
  private func fromFolders(
    _ samples: inout [Sample], _ tree: inout FileTree
  ) throws(QuenchError) {
    guard let root = found.root else {
      throw QuenchError(.data, "labels from folders need a directory of images")
    }
    // Empty folders count: a class keeps its number when its last image goes.
    let folders = try tree.entries(of: root).filter(\.isDirectory).map(\.name)
    let classes = Dictionary(uniqueKeysWithValues: folders.enumerated().map { ($1, $0) })
    for index in samples.indices {
      let path = samples[index].path
      let name = relative(path, to: root)
      guard let slash = name.firstIndex(of: "/"), let label = classes[String(name[..<slash])]
      else {
        throw QuenchError(
          .data, "the image \"\(path)\" lies in no class folder of \"\(root)\"", at: .file(path),
          try: "move it into the folder of its class")
      }
      samples[index].label = label
    }
  }

  private func relative(_ path: String, to root: String) -> Substring {
    let lead = FileTree.join(root, "")
    return path.hasPrefix(lead) ? path.dropFirst(lead.count) : path[...]
  }
}

// MARK: - Files

extension Labelling {
  private func fromFile(_ path: String, _ samples: inout [Sample]) throws(QuenchError) {
    let name = path.lowercased()
    if name.hasSuffix(".csv") { return try fromTable(path, &samples) }
    let bytes = try FileContent.read(path)
    if ArrayFile.recognizes(bytes) {
      let arrays = try ArrayFile(path: path)
      return try fromArray(arrays, try arrays.member(named: nil), &samples)
    }
    guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
      throw QuenchError(
        .data, "the labels are not text, .npy or IDX", at: .file(path),
        try: "one integer a line, or a table (.csv) with columns file and label")
    }
    try fromText(text, path, &samples)
  }

  private func fromTable(_ path: String, _ samples: inout [Sample]) throws(QuenchError) {
    let table = try CSVTable(path: path)
    let file = try table.column("file")
    let label = try table.column("label")
    var names = LabelNames()
    for row in table.rows {
      try names.add(row.fields[file], try table.integer(row, label), table.place(of: row, file))
    }
    try assign(names, path, &samples)
  }

  private func fromText(
    _ text: String, _ path: String, _ samples: inout [Sample]
  ) throws(QuenchError) {
    var plain: [Int] = []
    var names = LabelNames()
    var number = 0
    for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
      number += 1
      let line = line.trimmingSpaces()
      guard !line.isEmpty else { continue }
      let place = Place.line(file: path, line: number, column: 1, text: String(line))
      let cut = line.lastIndex { $0 == " " || $0 == "\t" }
      let last = cut.map { line[line.index(after: $0)...] } ?? line
      guard let label = Int(last) else {
        throw QuenchError(.data, "the label \"\(last)\" is not an integer", at: place)
      }
      if let cut {
        try names.add(String(line[..<cut].trimmingSpaces()), label, place)
      } else {
        plain.append(label)
      }
    }
    if !names.isEmpty {
      guard plain.isEmpty else {
        throw QuenchError(
          .data, "some lines name a file before the label and some do not", at: .file(path))
      }
      return try assign(names, path, &samples)
    }
    guard plain.count == samples.count else {
      throw QuenchError(
        .data, "\(plain.count) labels do not match \(samples.count) samples", at: .file(path),
        try: "one label a line in byte order of the paths, or \"file label\" lines")
    }
    for index in samples.indices { samples[index].label = plain[index] }
  }

  private func assign(
    _ names: LabelNames, _ path: String, _ samples: inout [Sample]
  ) throws(QuenchError) {
    var users: [String: String] = [:]
    for index in samples.indices {
      let sample = samples[index].name
      guard let (name, label) = names.entry(for: samples[index].path) else {
        throw QuenchError(
          .data, "\"\(sample)\" has no label in \"\(path)\"", at: .file(path),
          try: "add it to the labels, or take the file away")
      }
      if let other = users.updateValue(sample, forKey: name) {
        throw QuenchError(
          .data, "the label of \"\(name)\" could belong to \"\(other)\" and to \"\(sample)\"",
          at: .file(path), try: "write the files with their directories in the labels")
      }
      samples[index].label = label
    }
  }

  private func fromArray(
    _ arrays: ArrayFile, _ name: String?, _ samples: inout [Sample]
  ) throws(QuenchError) {
    let labels = try arrays.integers(of: name)
    guard labels.count == samples.count else {
      throw QuenchError(
        .data, "\(labels.count) labels do not match \(samples.count) samples",
        at: .file(arrays.path))
    }
    for index in samples.indices { samples[index].label = labels[index] }
  }
}

/// Labels by file name, which may be the whole path of a sample or an end of it.
private struct LabelNames {
  private var labels: [String: Int] = [:]

  var isEmpty: Bool { labels.isEmpty }

  /// - Throws: `.data` when the file is there already with another label.
  mutating func add(_ name: String, _ label: Int, _ place: Place) throws(QuenchError) {
    let name = name.hasPrefix("./") ? String(name.dropFirst(2)) : name
    if let old = labels.updateValue(label, forKey: name), old != label {
      throw QuenchError(.data, "\"\(name)\" has the labels \(old) and \(label)", at: place)
    }
  }

  /// The entry that is the path, or else the longest end of it, cut where a name begins.
  func entry(for path: String) -> (name: String, label: Int)? {
    var rest = path[...]
    while true {
      if let label = labels[String(rest)] { return (String(rest), label) }
      guard let slash = rest.firstIndex(of: "/") else { return nil }
      rest = rest[rest.index(after: slash)...]
    }
  }
}

extension Substring {
  fileprivate func trimmingSpaces() -> Substring {
    let isSpace = { (c: Character) in c == " " || c == "\t" }
    let start = drop(while: isSpace)
    guard let end = start.lastIndex(where: { !isSpace($0) }) else { return start }
    return start[...end]
  }
}
