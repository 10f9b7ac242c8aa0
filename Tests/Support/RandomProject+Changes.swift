// SPDX-License-Identifier: Apache-2.0
// TestSupport: what people and machines do to a project between two builds.

import Glibc

extension RandomProject {
  /// Writes all sources and headers.
  public func write(to space: TemporarySpace) {
    for (source, text) in sources { space.write("s\(source)", text) }
    for (header, text) in headers { space.write("h\(header)", text) }
  }

  /// Changes a source or a header to something random, as an editor does: in place.
  ///
  /// Used for edits during a run, too.
  public mutating func edit(_ space: TemporarySpace, _ dice: inout Dice) {
    if dice.roll(4) == 0 {
      let header = dice.roll(RandomProject.headerCount)
      headers[header] = "header \(dice.roll(3))\n"
      space.write("h\(header)", headers[header] ?? "")
    } else {
      let source = dice.roll(RandomProject.sourceCount)
      sources[source] = "\(dice.roll(4))\n"
      space.write("s\(source)", sources[source] ?? "")
    }
  }

  /// Takes away a source that a statement names. - Returns: puts it back with the same bytes; nil when
  /// no statement names it.
  public func lose(_ space: TemporarySpace, _ dice: inout Dice) -> (() -> Void)? {
    let source = dice.roll(RandomProject.sourceCount)
    let isNamed = edges.values.contains {
      $0.inputs.contains(source) || $0.implicit.contains(source) || $0.orderOnly.contains(source)
    }
    guard isNamed else { return nil }
    unlink(space.path("s\(source)"))
    let text = sources[source] ?? ""
    return { space.write("s\(source)", text) }
  }

  /// One random change to files or statements. The caller writes the manifest.
  public mutating func change(
    _ space: TemporarySpace, _ memory: inout RunMemory, _ dice: inout Dice
  ) {
    let source = dice.roll(RandomProject.sourceCount)
    let header = dice.roll(RandomProject.headerCount)
    let edge = RandomProject.edgeNumbers.lowerBound + dice.roll(RandomProject.edgeNumbers.count)
    let output =
      edges[edge]?.hasTwin == true && dice.roll(2) == 0
      ? RandomProject.twin(edge) : RandomProject.name(edge)
    switch dice.roll(15) {
    case 0, 1: edit(space, &dice)
    case 2: RandomProject.setTime(space, "s\(source)", secondsFromNow: dice.roll(20) - 10)
    case 3:
      // Other content under an old time.
      sources[source] = "\(dice.roll(9))\n\(dice.roll(9))\n"
      space.write("s\(source)", sources[source] ?? "")
      RandomProject.setTime(space, "s\(source)", secondsFromNow: -1_000)
    case 4:
      // The same size and the same time of change, other content.
      var old = stat()
      guard stat(space.path("s\(source)"), &old) == 0, sources[source]?.utf8.count == 2 else {
        return
      }
      sources[source] = "\(dice.roll(4))\n"
      space.write("s\(source)", sources[source] ?? "")
      utimensat(AT_FDCWD, space.path("s\(source)"), [old.st_atim, old.st_mtim], 0)
    case 5:
      unlink(space.path(output))
      memory.suspects.insert(edge)
    case 6:
      guard edges[edge] != nil else { return }
      space.write(output, "hand\n")
      memory.suspects.insert(edge)
    case 7: edges[edge]?.option = dice.roll(3)
    case 8, 9:
      guard edges[edge] != nil else { return }
      rewire(edge, &dice)
    case 10:
      // Replaced by rename: with the same bytes, or with others that are older than what it was.
      if dice.roll(2) == 0 { sources[source] = "\(dice.roll(4))\n" }
      space.write("new", sources[source] ?? "")
      if dice.roll(2) == 0 { RandomProject.setTime(space, "new", secondsFromNow: -1_000) }
      rename(space.path("new"), space.path("s\(source)"))
    case 11:
      headers[header] = nil
      unlink(space.path("h\(header)"))
    case 12:
      headers[header] = "header \(dice.roll(3))\n"
      space.write("h\(header)", headers[header] ?? "")
    default:
      // An edge goes away if nothing reads what it makes, or comes back.
      if edges[edge] == nil {
        edges[edge] = Edge()
        rewire(edge, &dice)
        memory.suspects.insert(edge)
      } else if !isRead(edge) {
        edges[edge] = nil
      }
    }
  }

  /// Cuts or flips a file of the engine's own state.
  public static func damage(
    _ space: TemporarySpace, _ memory: inout RunMemory, _ dice: inout Dice
  ) {
    let names = files(below: space.path(".quench"))
    guard !names.isEmpty else { return }
    let name = names[dice.roll(names.count)]
    guard var bytes = space.read(".quench/" + name), !bytes.isEmpty else { return }
    if dice.roll(2) == 0 { bytes.removeLast(1 + dice.roll(bytes.count)) }
    for _ in 0..<dice.roll(3) where !bytes.isEmpty {
      bytes[dice.roll(bytes.count)] ^= UInt8(1 << dice.roll(8))
    }
    chmod(space.path(".quench/" + name), 0o644)
    space.write(".quench/" + name, bytes)
    // Whatever else there is saves time and nothing else.
    if name == "log" { memory.isLost = true }
  }

  /// Regular files below a directory, by relative paths, in order.
  private static func files(below path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var found: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard name != ".", name != ".." else { continue }
      if entry.pointee.d_type == UInt8(DT_DIR) {
        found += files(below: "\(path)/\(name)").map { "\(name)/\($0)" }
      } else if entry.pointee.d_type == UInt8(DT_REG) {
        found.append(name)
      }
    }
    return found.sorted()
  }

  private static func setTime(_ space: TemporarySpace, _ name: String, secondsFromNow: Int) {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let time = timespec(tv_sec: now.tv_sec + secondsFromNow, tv_nsec: now.tv_nsec)
    utimensat(AT_FDCWD, space.path(name), [time, time], 0)
  }
}
