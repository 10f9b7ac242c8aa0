// SPDX-License-Identifier: Apache-2.0
// Calibration: what a pass over images leaves behind, and merging such passes.

internal import Artifacts
public import Diagnostics

/// What was observed of a model's tensors: the content of a `.qobs` file.
///
/// Merging is exact, so shards merged in any order give equal bytes.
public struct Observations: Sendable, Equatable {
  /// SHA-256 of the model that ran, in hexadecimal.
  public var model: String
  /// SHA-256 of the preprocessing, in hexadecimal.
  public var preprocessing: String
  /// Number of samples that went through the model.
  public var samples: Int
  /// A histogram by tensor name.
  public var tensors: [String: Histogram]

  /// Makes observations; start from none and add.
  public init(
    model: String, preprocessing: String, samples: Int = 0, tensors: [String: Histogram] = [:]
  ) {
    self.model = model
    self.preprocessing = preprocessing
    self.samples = samples
    self.tensors = tensors
  }

  /// The tensors in the byte order of their names; the order of Swift strings follows Unicode's
  /// equivalences instead.
  var inOrder: [(key: String, value: Histogram)] {
    tensors.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
  }

  /// Adds another pass over other samples.
  ///
  /// - Throws: `.data` when the passes are of different models, preprocessing or lists of tensors,
  ///   or count more values than 2^62 of one tensor.
  public mutating func merge(_ other: Observations) throws(QuenchError) {
    guard model == other.model else {
      throw QuenchError(
        .data, "the observations are of different models (\(model) and \(other.model))",
        try: "quench observe again with one folded model")
    }
    guard preprocessing == other.preprocessing else {
      throw QuenchError(
        .data,
        "the observations were made with different preprocessing "
          + "(\(preprocessing) and \(other.preprocessing))",
        try: "quench observe again with one preprocessing")
    }
    if let name = other.inOrder.first(where: { tensors[$0.key] == nil })?.key
      ?? inOrder.first(where: { other.tensors[$0.key] == nil })?.key
    {
      throw QuenchError(
        .data, "tensor \"\(name)\" is in some observations only", at: .tensor(name),
        try: "quench observe again with one list of tensors")
    }
    let (sum, overflow) = samples.addingReportingOverflow(other.samples)
    guard !overflow else { throw QuenchError(.data, "the number of samples exceeds 64 bits") }
    var merged = tensors
    for (name, histogram) in other.tensors {
      try merged[name, default: Histogram()].mergeChecked(histogram, tensor: name)
    }
    samples = sum
    tensors = merged
  }

  /// Reads a `.qobs` file.
  ///
  /// - Throws: `.noInput` when it is not there; `.data` when it is malformed or too new.
  public static func read(_ path: String) throws(QuenchError) -> Observations {
    try decode(FileContent.read(path), path: path)
  }

  /// Writes a `.qobs` file, atomically.
  public func write(to path: String) throws(QuenchError) {
    try FileContent.replace(path, with: encode())
  }
}

extension Histogram {
  /// No counter of a readable file is larger, so that sums of two cannot overflow.
  static let largestCount = UInt64(1) << 62

  fileprivate mutating func mergeChecked(
    _ other: Histogram, tensor: String
  ) throws(QuenchError) {
    let pairs = [
      (count, other.count), (nans, other.nans),
      (positiveInfinities, other.positiveInfinities),
      (negativeInfinities, other.negativeInfinities),
    ]
    for (mine, theirs) in pairs {
      let (sum, overflow) = mine.addingReportingOverflow(theirs)
      guard !overflow, sum <= Histogram.largestCount else {
        throw QuenchError(
          .data, "tensor \"\(tensor)\" has more than 2^62 values", at: .tensor(tensor))
      }
    }
    merge(other)
  }
}
