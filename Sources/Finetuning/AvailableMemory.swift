// SPDX-License-Identifier: Apache-2.0
// Finetuning: what the machine, a container and the process's own limit leave of the memory.

internal import Artifacts
internal import Glibc

extension TrainingMemory {
  /// Bytes that this process could still take; nil when the system does not say.
  ///
  /// The least of what the machine has (`MemAvailable`), what its control groups leave (cgroups(7),
  /// where a container's limit stands), and its limit of address space (`ulimit -v`).
  ///
  /// - Parameter root: where `/proc` and `/sys` are looked for; for tests.
  static func available(root: String = "") -> Int? {
    var limit = rlimit()
    let isLimited = getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0
    let space = isLimited ? Int(clamping: limit.rlim_cur) : Int.max
    return [
      machine(root), group(root), addressSpace(space, root),
    ].compactMap { $0 }.min()
  }

  private static func machine(_ root: String) -> Int? {
    guard let lines = lines("\(root)/proc/meminfo") else { return nil }
    return number(after: "MemAvailable:", in: lines).map { $0 << 10 }
  }

  /// What `limit` bytes of address space leave: some are taken without memory behind them.
  static func addressSpace(_ limit: Int, _ root: String = "") -> Int? {
    guard limit < Int.max, let lines = lines("\(root)/proc/self/statm"),
      let pages = lines.first?.split(separator: " ").prefix(2).compactMap({ Int($0) }),
      pages.count == 2
    else { return nil }
    return max(0, limit - (pages[0] - pages[1]) * Int(getpagesize()))
  }

  /// The tightest group from the process's own up to the root of what is mounted.
  private static func group(_ root: String) -> Int? {
    var least: Int?
    for line in lines("\(root)/proc/self/cgroup") ?? [] {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let isFirst = parts[1].split(separator: ",").contains("memory")
      // Version 2 has one tree for everything, named by nothing.
      guard isFirst || parts[1].isEmpty else { continue }
      var names = parts[2].split(separator: "/")
      while true {
        let folder =
          (["\(root)/sys/fs/cgroup"] + (isFirst ? ["memory"] : []) + names.map(String.init))
          .joined(separator: "/")
        if let room = room(folder, isFirst: isFirst) {
          least = min(least ?? room, room)
        }
        guard names.popLast() != nil else { break }
      }
    }
    return least
  }

  /// Pages of files count as used, and are given back when memory is short.
  ///
  /// - Parameter isFirst: in the words of the first version of control groups.
  private static func room(_ folder: String, isFirst: Bool) -> Int? {
    func value(_ name: String) -> Int? {
      lines("\(folder)/memory.\(name)")?.first.flatMap { Int($0) }
    }
    guard let limit = value(isFirst ? "limit_in_bytes" : "max"),
      let used = value(isFirst ? "usage_in_bytes" : "current")
    else { return nil }
    let cache = isFirst ? "total_cache" : "file"
    let files = lines("\(folder)/memory.stat").flatMap { number(after: cache, in: $0) } ?? 0
    return max(0, limit - max(0, used - files))
  }

  private static func number(after word: String, in lines: [String]) -> Int? {
    for line in lines {
      let parts = line.split(separator: " ")
      if parts.count >= 2, parts[0] == word { return Int(parts[1]) }
    }
    return nil
  }

  private static func lines(_ path: String) -> [String]? {
    // What a system does not have is no answer, and no error.
    guard let bytes = try? FileContent.read(path) else { return nil }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
  }
}
