// SPDX-License-Identifier: Apache-2.0
// BuildEngine: dyndep files made and read before what they speak of is planned.

internal import Diagnostics

extension Session {
  /// Brings nodes up to date.
  ///
  /// Where the nodes need edges with dyndep files, these files are brought up to date and read
  /// first, so that the plan that decides is made from the whole graph.
  ///
  /// - Parameter scope: the edges that can be stale among those that the nodes need; nil: all.
  func build(_ nodes: [Int32], scope: Scope? = nil, _ events: (BuildEvent) -> Void)
    throws(QuenchError)
  {
    if !graph.dyndeps.isEmpty {
      try readDyndeps(for: nodes, events)
      if summary.interrupted { return }
    }
    try perform(nodes, scope, events)
  }

  private func readDyndeps(for nodes: [Int32], _ events: (BuildEvent) -> Void)
    throws(QuenchError)
  {
    while true {
      // The plan also refuses a dyndep file that needs what it speaks of: a cycle.
      let plan = try Plan(targets: nodes, graph: graph, states: states, staleness: staleness)
      let wanted = Set(plan.steps)
      var wantedFiles: [Int32] = []
      for entry in graph.dyndeps
      where !entry.isLoaded && wanted.contains(entry.edge) && !lostDyndeps.contains(entry.file)
        && !wantedFiles.contains(entry.file)
      {
        wantedFiles.append(entry.file)
      }
      guard !wantedFiles.isEmpty else { return }
      try build(wantedFiles, events)
      if summary.interrupted { return }
      for file in wantedFiles { try read(file, events) }
    }
  }

  private func read(_ file: Int32, _ events: (BuildEvent) -> Void) throws(QuenchError) {
    let maker = graph.producer(file)
    // What failed or would still have to be made cannot be read; its edges wait for it anyway.
    guard maker < 0 || done.contains(maker), !states.isPending(file) else {
      lostDyndeps.insert(file)
      return
    }
    try graph.load(file, files.read(paths.string(file)))
    try removeDead(of: Set(graph.dyndepEdges(of: file)), events)
  }

  /// Reads the dyndep files that are there, for questions. What cannot be read adds nothing.
  func readStandingDyndeps() {
    for entry in graph.dyndeps where !entry.isLoaded {
      guard !graph.dyndeps.contains(where: { $0.file == entry.file && $0.isLoaded }),
        let bytes = try? files.read(paths.string(entry.file))
      else { continue }
      // A malformed file is the error of the build that reads it.
      try? graph.load(entry.file, bytes)
    }
  }
}
