// SPDX-License-Identifier: Apache-2.0
// BuildEngine: the two orders in which steps wait.

/// First in, first out.
struct Queue {
  private var items: [Int] = []
  private var head = 0
  var isEmpty: Bool { head == items.count }
  mutating func append(_ item: Int) { items.append(item) }
  mutating func next() -> Int? {
    guard head < items.count else { return nil }
    defer { head += 1 }
    return items[head]
  }
}

/// The heaviest first; of equal ones, the lowest step: a binary heap.
struct WeightedQueue {
  private struct Item {
    var weight: Int64
    var step: Int
    func isBefore(_ other: Item) -> Bool {
      weight != other.weight ? weight > other.weight : step < other.step
    }
  }

  private var items: [Item] = []

  mutating func append(_ step: Int, _ weight: Int64) {
    items.append(Item(weight: weight, step: step))
    var index = items.count - 1
    while index > 0, items[index].isBefore(items[(index - 1) / 2]) {
      items.swapAt(index, (index - 1) / 2)
      index = (index - 1) / 2
    }
  }

  mutating func next() -> Int? {
    guard let first = items.first else { return nil }
    let last = items.removeLast()
    guard !items.isEmpty else { return first.step }
    items[0] = last
    var index = 0
    while true {
      var best = index
      for child in [2 * index + 1, 2 * index + 2] where child < items.count {
        if items[child].isBefore(items[best]) { best = child }
      }
      guard best != index else { return first.step }
      items.swapAt(index, best)
      index = best
    }
  }
}
