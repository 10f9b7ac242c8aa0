// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the graph for Graphviz.

public import Diagnostics

extension Build {
  /// The graph in Graphviz's language, edges as boxes.
  public func graphDot(targets: [String] = []) throws(QuenchError) -> String {
    _ = try look()
    func quoted(_ text: String) -> String {
      "\""
        + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        .replacing("\n", with: "\\n") + "\""
    }
    func name(_ node: Int32) -> String { quoted(paths.string(node)) }
    var lines = ["digraph build {", "  rankdir=LR;", "  node [fontsize=10, shape=plaintext];"]
    for edge in ordered(try nodes(targets)) {
      lines.append("  e\(edge) [label=\(quoted(ruleName(edge))), shape=box];")
      for node in graph.inputs(edge) { lines.append("  \(name(node)) -> e\(edge);") }
      for node in graph.orderOnlyInputs(edge) {
        lines.append("  \(name(node)) -> e\(edge) [style=dotted];")
      }
      for node in graph.outputs(edge) { lines.append("  e\(edge) -> \(name(node));") }
    }
    return (lines + ["}", ""]).joined(separator: "\n")
  }
}
