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

  private static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var row = Array(0...b.count)
    for i in a.indices {
      var diagonal = row[0]
      row[0] = i + 1
      for j in b.indices {
        let substituted = diagonal + (a[i] == b[j] ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(substituted, diagonal + 1, row[j] + 1)
      }
    }
    return row[b.count]
  }
}
