// SPDX-License-Identifier: Apache-2.0
// Datasets: one sample, and the lists of samples that stages are given.

internal import Artifacts
public import Diagnostics

/// One picture or array item, and its class where it is known.
public struct Sample: Sendable, Hashable {
  /// The file, relative to the project root.
  public var path: String
  /// Which array of an `.npz` file; nil elsewhere.
  public var member: String?
  /// Which item of an array file, from 0; nil for an image file.
  public var index: Int?
  /// The class, offset included.
  public var label: Int?

  /// Makes a sample.
  public init(path: String, member: String? = nil, index: Int? = nil, label: Int? = nil) {
    self.path = path
    self.member = member
    self.index = index
    self.label = label
  }

  /// The sample without its label, as people read it: `path`, `path#index`, `path#member:index`.
  public var name: String {
    guard let index else { return path }
    return "\(path)#\(member.map { $0 + ":" } ?? "")\(index)"
  }

  /// The sample's line in a list, without the line feed: `name`, then TAB and the label if any.
  public var line: String { label.map { "\(name)\t\($0)" } ?? name }

  /// Reads a line of a list, without its line feed.
  ///
  /// What follows the last `#` is an index if it is a number, or a member, a colon and a number;
  /// otherwise it belongs to the path.
  /// - Throws: `.data` when the path is empty or the label is not an integer.
  public static func parse(_ line: String) throws(QuenchError) -> Sample {
    var rest = line[...]
    var label: Int?
    if let tab = line.lastIndex(of: "\t") {
      let text = line[line.index(after: tab)...]
      guard let value = Int(text) else {
        throw QuenchError(.data, "the label \"\(text)\" is not an integer")
      }
      label = value
      rest = line[..<tab]
    }
    var sample = Sample(path: String(rest), label: label)
    if let hash = rest.lastIndex(of: "#") {
      let parts = rest[rest.index(after: hash)...].split(
        separator: ":", omittingEmptySubsequences: false)
      if let last = parts.last, let index = naturalNumber(last) {
        sample.index = index
        sample.path = String(rest[..<hash])
        if parts.count > 1 { sample.member = parts.dropLast().joined(separator: ":") }
      }
    }
    guard !sample.path.isEmpty else {
      throw QuenchError(.data, "a line of a sample list has no path")
    }
    return sample
  }

  private static func naturalNumber(_ text: Substring) -> Int? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
    return Int(text)
  }
}

/// Files that list samples: UTF-8, one sample a line (see `Sample.line`), line feeds only.
public enum SampleList {
  /// Reads a list. Empty lines are skipped.
  ///
  /// - Throws: `.noInput` when the file cannot be read; `.data` with the line when it is malformed.
  public static func read(_ path: String) throws(QuenchError) -> [Sample] {
    try decode(try FileContent.read(path), path: path)
  }

  /// Reads a list in memory; `path` is for messages.
  public static func decode(_ bytes: [UInt8], path: String) throws(QuenchError) -> [Sample] {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw QuenchError(.data, "the sample list is not UTF-8", at: .file(path))
    }
    var samples: [Sample] = []
    for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
    where !line.isEmpty {
      do throws(QuenchError) {
        samples.append(try Sample.parse(String(line)))
      } catch {
        throw error.located(
          at: .line(file: path, line: number + 1, column: 1, text: String(line)))
      }
    }
    return samples
  }

  /// The bytes of a list.
  ///
  /// - Precondition: no path holds a TAB or a line feed; `DatasetListing` refuses such files.
  public static func encode(_ samples: [Sample]) -> [UInt8] {
    var bytes: [UInt8] = []
    for sample in samples {
      let line = sample.line
      precondition(!line.utf8.contains(0x0A), "a path in a list has no line feed")
      bytes.append(contentsOf: line.utf8)
      bytes.append(0x0A)
    }
    return bytes
  }
}
