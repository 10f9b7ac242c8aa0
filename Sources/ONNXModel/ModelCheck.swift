// SPDX-License-Identifier: Apache-2.0
// ONNXModel: is a model sound enough to work on?

public import Diagnostics

/// Checks a model before anything is computed from it, and tells its faults all at once.
public enum ModelCheck {
  /// The versions of ONNX's own operator set that Quench reads.
  public static let opsets: ClosedRange<Int64> = 7...22

  /// Domains beside ONNX's own whose operators ONNX Runtime brings along. Nodes of these are kept
  /// and run; Quench has no shape rules for them.
  private static let knownDomains: Set<String> = [
    "", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft",
    "com.microsoft.nchwc", "com.ms.internal.nhwc",
  ]

  /// Checks opsets, domains, names, order of nodes and the size of constants.
  ///
  /// - Throws: `.data`, with at most ten faults in the message; `.noInput` when the only fault is
  ///   a missing external file.
  public static func check(_ model: Model) throws(QuenchError) {
    var faults: [QuenchError] = []
    checkOpsets(model, &faults)
    checkConstants(model.graph, &faults)
    checkOrder(model.graph, outer: [], &faults)
    guard let first = faults.first else { return }
    if faults.count == 1 { throw first }
    let shown = faults.prefix(10).map(\.message)
    let rest = faults.count > 10 ? ["and \(faults.count - 10) more"] : []
    throw QuenchError(
      first.kind,
      "the model has \(faults.count) faults: "
        + (shown + rest).joined(separator: "; "), try: first.remedy)
  }

  private static func checkOpsets(_ model: Model, _ faults: inout [QuenchError]) {
    guard let version = model.opsets[""] else {
      if model.opsets.isEmpty || model.graph.nodes.contains(where: { $0.domain.isEmpty }) {
        faults.append(
          QuenchError(
            .data, "the model does not say which operator set it uses; it may be truncated"))
      }
      return
    }
    if !opsets.contains(version) {
      faults.append(
        QuenchError(
          .data,
          "operator set \(version) is not supported (\(opsets.lowerBound) to "
            + "\(opsets.upperBound) are)",
          try: "export the model with opset 13 to 22"))
    }
    let known = knownDomains.union(model.functionDomains)
    var told: Set<String> = []
    for node in model.graph.nodes where told.insert(node.domain).inserted {
      if model.opsets[node.domain] == nil {
        faults.append(
          QuenchError(
            .data,
            "the \(node.title) is of domain \"\(node.domain)\", "
              + "which the model does not import", at: node.place))
      } else if !known.contains(node.domain) {
        faults.append(
          QuenchError(
            .data,
            "the \(node.title) is of domain \"\(node.domain)\", "
              + "which ONNX Runtime does not know"
              + NearestName.hint(node.domain, among: known.filter { !$0.isEmpty }),
            at: node.place))
      }
    }
  }

  private static func checkConstants(_ graph: Graph, _ faults: inout [QuenchError]) {
    var names: Set<String> = []
    for initializer in graph.initializers {
      if initializer.name.isEmpty {
        faults.append(QuenchError(.data, "a constant of the graph has no name"))
      } else if !names.insert(initializer.name).inserted {
        faults.append(
          QuenchError(
            .data, "the constant \"\(initializer.name)\" is there twice",
            at: .tensor(initializer.name)))
      }
      do throws(QuenchError) {
        try initializer.check()
      } catch {
        var named = error
        named.message = "constant \"\(initializer.name)\": \(error.message)"
        faults.append(named)
      }
    }
    if let sparse = graph.sparseNames.first {
      faults.append(
        QuenchError(
          .data, "the constant \"\(sparse)\" is sparse, which is not supported",
          at: .tensor(sparse), try: "export the model with dense weights"))
    }
    for node in graph.nodes {
      if node.message.attribute.contains(where: { $0.hasT && $0.t.isExternal }) {
        faults.append(
          QuenchError(
            .data, "the \(node.title) holds external data, which is only supported for weights",
            at: node.place))
      }
      for body in node.subgraphs { checkConstants(body, &faults) }
    }
  }

  /// Every tensor is made once, and before it is read.
  private static func checkOrder(
    _ graph: Graph, outer: Set<String>, _ faults: inout [QuenchError]
  ) {
    var made: Set<String> = []
    for input in graph.inputs where !made.insert(input.name).inserted {
      faults.append(QuenchError(.data, "the input \"\(input.name)\" is there twice"))
    }
    made.formUnion(graph.initializers.map(\.name))
    made.formUnion(graph.sparseNames)
    let producers = graph.producers()
    for node in graph.nodes {
      if node.opType.isEmpty {
        faults.append(QuenchError(.data, "the \(node.title) names no operator", at: node.place))
      }
      for input in node.inputs where !input.isEmpty {
        guard !made.contains(input), !outer.contains(input) else { continue }
        faults.append(unmade(input, of: node, made: made, late: producers[input] != nil))
      }
      for body in node.subgraphs {
        checkOrder(body, outer: outer.union(made), &faults)
      }
      for output in node.outputs where !output.isEmpty {
        if !made.insert(output).inserted {
          faults.append(
            QuenchError(
              .data, "the tensor \"\(output)\" is made twice, once by the \(node.title)",
              at: node.place))
        }
      }
    }
    for output in graph.outputs where !made.contains(output.name) {
      guard !outer.contains(output.name) else { continue }
      faults.append(
        QuenchError(
          .data,
          "no node makes the graph's output \"\(output.name)\""
            + NearestName.hint(output.name, among: made), at: .tensor(output.name)))
    }
  }

  private static func unmade(
    _ input: String, of node: Node, made: Set<String>, late: Bool
  ) -> QuenchError {
    if late {
      return QuenchError(
        .data,
        "the \(node.title) reads \"\(input)\" before it is made: "
          + "the nodes are not in topological order, or form a cycle", at: node.place)
    }
    return QuenchError(
      .data,
      "the \(node.title) reads \"\(input)\", which nothing makes"
        + NearestName.hint(input, among: made), at: node.place)
  }
}
