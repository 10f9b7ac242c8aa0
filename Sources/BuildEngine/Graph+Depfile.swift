// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what an edge's depfile says.

internal import Diagnostics

extension Graph {
  /// The inputs that an edge's depfile names beyond those of its statement, each once.
  ///
  /// - Returns: nil when the edge names no depfile, or none is there.
  /// - Throws: `.data` when it is malformed.
  func depfileInputs(_ edge: Int32, _ files: FileSystem) throws(QuenchError) -> [Int32]? {
    guard has(.depfile, edge) else { return nil }
    let path = try string(.depfile, of: edge, quoting: .none)
    guard !path.isEmpty, try files.identity(path) != nil else { return nil }
    let depfile = try DepFile(try files.read(path), path: path)
    var known = Set(outputs(edge)).union(inputs(edge))
    var nodes: [Int32] = []
    for input in depfile.inputs {
      let node = input.withUnsafeBufferPointer { paths.intern($0) }
      if known.insert(node).inserted { nodes.append(node) }
    }
    return nodes
  }
}
