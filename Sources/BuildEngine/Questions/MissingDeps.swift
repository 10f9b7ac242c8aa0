// SPDX-License-Identifier: Apache-2.0
// BuildEngine: discovered inputs that another edge makes, without a way between the two.

public import Diagnostics

/// An edge that reads a made file which the manifest does not order before it.
public struct MissingDependency: Codable, Sendable, Equatable {
  /// First output of the edge.
  public var output: String
  /// The file that it reads.
  public var input: String
  /// The rule that makes the file.
  public var rule: String
}

extension Build {
  /// Runs found such dependencies only by luck of order; the engine orders them from the second
  /// build on, a first one may fail.
  public func missingDependencies(targets: [String] = []) throws(QuenchError)
    -> [MissingDependency]
  {
    let session = try look()
    var missing: [MissingDependency] = []
    for edge in ordered(try nodes(targets)) where !graph.isPhony(edge) {
      let made = session.observed(edge).discovered.filter { graph.producer($0) >= 0 }
      guard !made.isEmpty else { continue }
      let reach = Set(session.reachable(Array(graph.prerequisites(edge))))
      for node in made
      where graph.producer(node) != edge && !reach.contains(graph.producer(node)) {
        missing.append(
          MissingDependency(
            output: paths.string(graph.firstOutput(edge)), input: paths.string(node),
            rule: ruleName(graph.producer(node))))
      }
    }
    return missing
  }
}
