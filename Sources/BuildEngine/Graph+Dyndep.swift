// SPDX-License-Identifier: Apache-2.0
// BuildEngine: edges that grow when their dyndep file is read.

internal import Diagnostics

extension Graph {
  /// Edges that take further inputs and outputs from a file, by that file.
  func dyndepEdges(of file: Int32) -> [Int32] {
    dyndeps.filter { $0.file == file }.map(\.edge)
  }

  /// Applies a dyndep file to all edges that name it.
  ///
  /// - Throws: `.data` when the file is malformed, leaves out an edge that names it, speaks of one
  ///   that does not, or names an output that another edge makes.
  func load(_ file: Int32, _ bytes: [UInt8]) throws(QuenchError) {
    let name = paths.string(file)
    let entries = try DyndepFile(bytes, file: name, graph: self).entries
    let waiting = dyndepEdges(of: file)
    for entry in entries where !waiting.contains(entry.edge) {
      throw QuenchError(
        .data,
        "dyndep file '\(name)' mentions output '\(paths.string(firstOutput(entry.edge)))' whose "
          + "build statement does not have a dyndep binding for the file", at: entry.place)
    }
    for edge in waiting where !entries.contains(where: { $0.edge == edge }) {
      throw QuenchError(
        .data, "'\(paths.string(firstOutput(edge)))' not mentioned in its dyndep file '\(name)'",
        at: .file(name))
    }
    for entry in entries {
      for node in entry.outputs where producer(node) >= 0 {
        throw QuenchError(
          .data, "multiple rules generate \(paths.string(node))", at: entry.place,
          try: "the other one: \(place(producer(node)))")
      }
      extend(entry)
    }
    for index in dyndeps.indices where dyndeps[index].file == file {
      dyndeps[index].isLoaded = true
    }
  }

  /// Moves an edge's members to the end of the array, where they can be more.
  private func extend(_ entry: DyndepEntry) {
    guard !entry.outputs.isEmpty || !entry.inputs.isEmpty else { return }
    let old = bounds[Int(entry.edge)]
    let start = Int32(members.count)
    let moreOutputs = Int32(entry.outputs.count)
    let moreInputs = Int32(entry.inputs.count)
    var run = Array(members[Int(old.start)..<Int(old.allOutputs)]) + entry.outputs
    run += Array(members[Int(old.allOutputs)..<Int(old.allInputs)]) + entry.inputs
    run += Array(members[Int(old.allInputs)..<Int(old.end)])
    members.append(contentsOf: run)
    let shift = start - old.start
    bounds[Int(entry.edge)] = Bounds(
      start: start, outputs: old.outputs + shift, allOutputs: old.allOutputs + shift + moreOutputs,
      inputs: old.inputs + shift + moreOutputs,
      allInputs: old.allInputs + shift + moreOutputs + moreInputs,
      orderOnly: old.orderOnly + shift + moreOutputs + moreInputs,
      end: old.end + shift + moreOutputs + moreInputs)
    for node in entry.outputs { mention(node, producer: entry.edge) }
    for node in entry.inputs { mention(node) }
  }
}
