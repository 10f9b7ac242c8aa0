// SPDX-License-Identifier: Apache-2.0
// BuildEngine: a few values by number.

/// Values by numbers, in the order of the numbers. Cheap to ask; cheap to add to where the numbers
/// mostly rise.
///
/// Takes a dictionary's place where every build passes: for a dictionary's types the runtime searches
/// the conformances of all types in the binary, which takes as long as a hundred looks at files.
struct NumberMap<Value> {
  private(set) var keys: [Int32] = []
  private(set) var values: [Value] = []

  var isEmpty: Bool { keys.isEmpty }

  subscript(key: Int32) -> Value? {
    get {
      let place = place(of: key)
      return place < keys.count && keys[place] == key ? values[place] : nil
    }
    set {
      let place = place(of: key)
      let isThere = place < keys.count && keys[place] == key
      switch (isThere, newValue) {
      case (true, let value?): values[place] = value
      case (true, nil):
        keys.remove(at: place)
        values.remove(at: place)
      case (false, let value?):
        keys.insert(key, at: place)
        values.insert(value, at: place)
      case (false, nil): break
      }
    }
  }

  /// Where a number stands, or would stand.
  private func place(of key: Int32) -> Int {
    guard let last = keys.last, last >= key else { return keys.count }
    var low = 0
    var high = keys.count - 1
    while low < high {
      let middle = (low + high) / 2
      if keys[middle] < key { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
