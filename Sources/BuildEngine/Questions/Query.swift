// SPDX-License-Identifier: Apache-2.0
// BuildEngine: one file's place in the graph.

public import Diagnostics

/// A node with its neighbours.
public struct NodeAnswer: Codable, Sendable {
  /// The file.
  public var path: String
  /// The edge that makes it; nil for a source.
  public var edge: EdgeDetails?
  /// First outputs of the edges that read it.
  public var readers: [String]
  /// First outputs of the edges that name it as a validation.
  public var validates: [String]
  /// Files that its last run discovered.
  public var discovered: [String]
  /// Milliseconds of its last run; nil when there was none.
  public var milliseconds: Int64?
}

/// What a run discovered of an edge's inputs.
public struct DiscoveredInputs: Codable, Sendable {
  /// First output of the edge.
  public var output: String
  /// The discovered files.
  public var inputs: [String]
  /// Whether the output is still what that run wrote.
  public var isValid: Bool
}

extension Build {
  /// What stands around files of the manifest.
  public func query(_ targets: [String]) throws(QuenchError) -> [NodeAnswer] {
    let session = try look()
    let consumers = graph.consumers()
    var answers: [NodeAnswer] = []
    for target in targets {
      let node = try node(target)
      let edge = graph.producer(node)
      var validates: [String] = []
      for other in 0..<Int32(graph.edgeCount) where graph.validations(other).contains(node) {
        validates.append(paths.string(graph.firstOutput(other)))
      }
      let record = edge >= 0 ? session.log.record(graph.firstOutput(edge)) : nil
      answers.append(
        NodeAnswer(
          path: paths.string(node), edge: edge >= 0 ? try details(edge) : nil,
          readers: consumers[Int(node)].map { paths.string(graph.firstOutput($0)) },
          validates: validates,
          discovered: edge >= 0 ? names(session.observed(edge).discovered) : [],
          milliseconds: record.map { session.log.milliseconds($0) }))
    }
    return answers
  }

  /// What the last runs of edges discovered: of all edges, or of those that make the targets.
  public func discoveredInputs(of targets: [String] = []) throws(QuenchError)
    -> [DiscoveredInputs]
  {
    let session = try look()
    var edges = Array(0..<Int32(graph.edgeCount))
    if !targets.isEmpty { edges = try nodes(targets).map { graph.producer($0) } }
    var found: [DiscoveredInputs] = []
    for edge in edges where edge >= 0 && !graph.isPhony(edge) {
      let output = graph.firstOutput(edge)
      guard let record = session.log.record(output) else { continue }
      let inputs = session.observed(edge).discovered
      guard !inputs.isEmpty else { continue }
      let written = DecodedRecord(record, in: session.log).outputs.first?.content
      found.append(
        DiscoveredInputs(
          output: paths.string(output), inputs: names(inputs),
          isValid: try session.states.current(output) == written))
    }
    return found
  }
}
