// SPDX-License-Identifier: Apache-2.0
// Diagnostics: "did you mean".

/// Answers a misspelt name with the closest real one.
public enum NearestName {
  /// The candidate with the smallest edit distance to `name`, if it is close enough to be meant.
  ///
  /// Close enough: at most a third of the longer name's letters differ (at least one may).
  /// Ties go to the candidate that sorts first, so the answer does not depend on their order.
  public static func of(_ name: String, among candidates: some Sequence<String>) -> String? {
    let wanted = Array(name.lowercased().utf8)
    var best: (distance: Int, name: String)?
    for candidate in candidates.sorted() {
      let bytes = Array(candidate.lowercased().utf8)
      let limit = max(1, max(wanted.count, bytes.count) / 3)
      let distance = editDistance(wanted, bytes)
      if distance <= limit, distance < best?.distance ?? Int.max { best = (distance, candidate) }
    }
    return best?.name
  }

  /// `; did you mean "x"?`, or nothing.
  public static func hint(_ name: String, among candidates: some Sequence<String>) -> String {
    of(name, among: candidates).map { "; did you mean \"\($0)\"?" } ?? ""
  }

  /// Insertions, deletions, substitutions and swaps of neighbours, each counted once (optimal
  /// string alignment).
  private static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...b.count)
    for i in a.indices {
      var row = [i + 1]
      for j in b.indices {
        var best = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
          best = min(best, beforeLast[j - 1] + 1)
        }
        row.append(best)
      }
      (beforeLast, last) = (last, row)
    }
    return last[b.count]
  }
}
