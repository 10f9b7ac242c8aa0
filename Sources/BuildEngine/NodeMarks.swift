// SPDX-License-Identifier: Apache-2.0
// BuildEngine: a set of nodes that is emptied often.

/// A set of small numbers; emptying it costs nothing, and neither does a second use of its memory.
struct NodeMarks {
  private var rounds: [Int32] = []
  private var round: Int32 = 1

  mutating func clear() {
    round += 1
    guard round == Int32.max else { return }
    rounds.removeAll(keepingCapacity: true)
    round = 1
  }

  func contains(_ node: Int32) -> Bool {
    Int(node) < rounds.count && rounds[Int(node)] == round
  }

  /// - Returns: whether the node was not in the set before.
  @discardableResult
  mutating func insert(_ node: Int32) -> Bool {
    let index = Int(node)
    if index >= rounds.count {
      rounds.append(contentsOf: repeatElement(0, count: index * 5 / 4 + 64 - rounds.count))
    }
    guard rounds[index] != round else { return false }
    rounds[index] = round
    return true
  }
}
