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
    guard !path.isEmpty, let bytes = try files.readIfThere(path) else { return nil }
    marks.clear()
    for node in outputs(edge) { marks.insert(node) }
    for node in inputs(edge) { marks.insert(node) }
    var nodes: [Int32] = []
    let isPlain = DepFile.eachPlainInput(bytes) { input in
      let node = paths.intern(input)
      if marks.insert(node) { nodes.append(node) }
    }
    if isPlain { return nodes }
    let depfile = try DepFile(bytes, path: path)
    for input in depfile.inputs {
      let node = input.withUnsafeBufferPointer { paths.intern($0) }
      if marks.insert(node) { nodes.append(node) }
    }
    return nodes
  }
}
