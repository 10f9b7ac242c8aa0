// SPDX-License-Identifier: Apache-2.0
// FileWatching: which watch stands for which directories, and who cares for which child.

/// The watcher's memory. Pure: it makes no system call.
///
/// A watch belongs to a directory, not to its name: two names of one directory (a symbolic link, a
/// bind mount) share a watch, so a watch has a set of paths.
struct WatchTable {
  private var pathsOfWatch: [Int32: Set<String>] = [:]
  private var watchOfPath: [String: Int32] = [:]
  private var trees: Set<String> = []
  private var interests: [String: [String: Set<String>]] = [:]

  /// All watches.
  var watches: Set<Int32> { Set(pathsOfWatch.keys) }

  /// The paths of a watch, sorted; empty when it is unknown (an event of a watch that ended).
  func paths(of watch: Int32) -> [String] { pathsOfWatch[watch]?.sorted() ?? [] }

  /// Whether every child of this directory matters.
  func isTree(_ directory: String) -> Bool { trees.contains(directory) }

  /// The watched paths that a child of a directory concerns.
  func interested(in name: String, of directory: String) -> Set<String> {
    interests[directory]?[name] ?? []
  }

  /// The watched paths that any child of a directory concerns.
  func interested(inAnyOf directory: String) -> Set<String> {
    (interests[directory] ?? [:]).values.reduce(into: []) { $0.formUnion($1) }
  }

  /// Notes a watched directory.
  mutating func add(_ watch: Int32, _ directory: String) {
    // The name may have belonged to another directory before.
    if let old = watchOfPath[directory], old != watch { forget(directory, of: old) }
    pathsOfWatch[watch, default: []].insert(directory)
    watchOfPath[directory] = watch
  }

  /// Notes that every child of a directory matters.
  mutating func makeTree(_ directory: String) { trees.insert(directory) }

  /// Notes that `path` depends on this child of a directory.
  mutating func addInterest(of path: String, in name: String, of directory: String) {
    interests[directory, default: [:]][name, default: []].insert(path)
  }

  /// Forgets what `path` depends on.
  mutating func removeInterests(of path: String) {
    for (directory, names) in interests {
      let left = names.compactMapValues { paths in
        let rest = paths.subtracting([path])
        return rest.isEmpty ? nil : rest
      }
      interests[directory] = left.isEmpty ? nil : left
    }
  }

  /// Forgets a watch that ended.
  mutating func remove(_ watch: Int32) {
    for path in pathsOfWatch.removeValue(forKey: watch) ?? [] {
      watchOfPath[path] = nil
      trees.remove(path)
    }
  }

  /// Forgets a directory and all below it; returns the watches that stand for nothing any more.
  mutating func removeTree(_ directory: String) -> [Int32] {
    let below = directory + "/"
    let gone = watchOfPath.filter { $0.key == directory || $0.key.hasPrefix(below) }
    for (path, watch) in gone { forget(path, of: watch) }
    return Set(gone.values).filter { pathsOfWatch[$0] == nil }.sorted()
  }

  private mutating func forget(_ path: String, of watch: Int32) {
    watchOfPath[path] = nil
    trees.remove(path)
    pathsOfWatch[watch]?.remove(path)
    if pathsOfWatch[watch]?.isEmpty == true { pathsOfWatch[watch] = nil }
  }
}
