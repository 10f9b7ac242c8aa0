// SPDX-License-Identifier: Apache-2.0
// Pipeline: which calibration samples are observed together. Influences speed, never results.

internal import Diagnostics

/// How a model's calibration samples are cut into shards, each observed by one edge.
///
/// Shards follow history: samples that come later form new shards, so that old ones stay as they
/// are; a sample that goes leaves its own shard only. Observations merge exactly, so no cut can
/// change a result.
struct Shards: Equatable {
  /// No shard holds more, so that one changed image never costs more than this many passes.
  static let largest = 32

  /// Sample lines by shard number.
  var samples: [Int: [String]]

  /// The cut for `wanted`, given how samples were cut before.
  static func assign(_ wanted: [String], previous: [Int: [String]]) -> Shards {
    var missing = Set(wanted)
    var shards: [Int: [String]] = [:]
    for number in previous.keys.sorted() {
      // `remove` also drops a sample that damage put into two shards: it is counted once.
      let kept = (previous[number] ?? []).filter { missing.remove($0) != nil }
      if !kept.isEmpty { shards[number] = kept }
    }
    var fresh: [String] = []
    for line in wanted where missing.remove(line) != nil { fresh.append(line) }
    var number = (previous.keys.max() ?? 0) + 1
    for start in stride(from: 0, to: fresh.count, by: largest) {
      shards[number] = Array(fresh[start..<min(start + largest, fresh.count)])
      number += 1
    }
    return Shards(samples: shards)
  }

  /// The file of a shard's sample list.
  static func fileName(_ number: Int) -> String {
    let digits = "\(number)"
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }
}
