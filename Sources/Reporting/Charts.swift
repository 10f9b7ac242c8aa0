// SPDX-License-Identifier: Apache-2.0
// Reporting: small drawings in SVG.

/// Bars, one a row of a table.
enum Charts {
  /// A bar whose length is `share` of the width, with a mark at `limit` (both 0…1).
  static func bar(share: Double, limit: Double?, warns: Bool) -> HTML {
    let width = 160.0
    func position(_ share: Double) -> String {
      "\((min(max(share, 0), 1) * width * 10).rounded() / 10)"
    }
    var svg = "<svg width=\"160\" height=\"12\" role=\"img\">"
    svg += "<rect class=\"\(warns ? "warn" : "bar")\" height=\"12\" width=\"\(position(share))\"/>"
    if let limit {
      let x = position(limit)
      svg += "<line class=\"limit\" x1=\"\(x)\" x2=\"\(x)\" y1=\"0\" y2=\"12\"/>"
    }
    return .raw(svg + "</svg>")
  }
}
