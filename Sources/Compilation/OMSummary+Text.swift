// SPDX-License-Identifier: Apache-2.0
// Compilation: the summary of an OM file as people read it.

extension OMSummary {
  /// The summary as text, a line a fact, ending with a newline.
  ///
  /// - Parameter listsOperators: whether every operator gets a line; their counts always do.
  public func text(listsOperators: Bool = false) -> String {
    var lines: [String] = []
    if isHostBuilt { lines.append("HOST-BUILT  \(HostFormat.markText)") }
    lines += [
      "name        \(name)",
      "container   \(dialect.rawValue), version \(version), \(modelType)",
      "size        \(sizeInBytes) bytes",
      "soc         \(soc ?? "not named in the file")",
    ]
    if !platformVersion.isEmpty { lines.append("platform    \(platformVersion)") }
    for (key, value) in origin.sorted(by: { $0.key < $1.key }) where key != HostFormat.mark {
      lines.append("\(OMSummary.padded(key, 11)) \(value)")
    }
    for model in models { lines += text(of: model, listsOperators) }
    return lines.joined(separator: "\n") + "\n"
  }

  private func text(of model: ModelSummary, _ listsOperators: Bool) -> [String] {
    var lines = ["model       \(model.name)"]
    for partition in model.partitions {
      let name = OMSummary.padded(partition.type, 20)
      lines.append("partition   \(name) \(partition.sizeInBytes) bytes")
    }
    for (word, ports) in [("input", model.inputs), ("output", model.outputs)] {
      for port in ports {
        let shape = port.shape.map { $0 < 0 ? "?" : "\($0)" }.joined(separator: "x")
        let format = port.format.isEmpty ? "" : " \(port.format)"
        lines.append("\(OMSummary.padded(word, 11)) \(port.name) \(port.type) [\(shape)]\(format)")
      }
    }
    let bytes = model.constants.bytes.sorted { $0.key < $1.key }
      .map { "\($0.key) \($0.value) bytes" }.joined(separator: ", ")
    lines.append("constants   \(model.constants.count)\(bytes.isEmpty ? "" : ": \(bytes)")")
    if let aipp = model.aipp {
      // Switches that are off and numbers that are zero would hide the few that are not.
      let settings = aipp.sorted { $0.key < $1.key }
        .filter { !["0", "0.0", "false", ""].contains($0.value) }
        .map { "\($0.key)=\($0.value)" }
      lines.append("aipp        \(settings.joined(separator: " "))")
    }
    lines.append("operators   \(model.operators.count)")
    let kinds = Dictionary(grouping: model.operators) {
      OMSummary.padded($0.type, 22) + ($0.precision.map { " \($0)" } ?? "")
    }
    for (kind, operators) in kinds.sorted(by: { $0.key < $1.key }) {
      lines.append(OMSummary.padded("", 11) + " \(kind)  x \(operators.count)")
    }
    guard listsOperators else { return lines }
    return lines
      + model.operators.map { op in
        let rest = [op.precision, op.engine].compactMap { $0 }.joined(separator: " ")
        return "operator    \(op.name)  \(op.type)\(rest.isEmpty ? "" : "  \(rest)")"
      }
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}
