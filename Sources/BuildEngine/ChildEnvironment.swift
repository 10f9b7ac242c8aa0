// SPDX-License-Identifier: Apache-2.0
// BuildEngine: what commands get as their environment.

internal import CSystem
internal import Glibc

/// `NAME=value` for execve: what the options give, Quench's own directory at the end of PATH, and the
/// descriptor for commands that tell how far they are. Lives as long as its commands.
final class ChildEnvironment {
  /// Ended by nil; the first entry is left out for children that tell no progress.
  private var entries: Column<UnsafeMutablePointer<CChar>?> = Column(capacity: 64)
  /// Those of them that were made here; the process's own stay where they are.
  private var made: Column<UnsafeMutablePointer<CChar>?> = Column()
  private let start: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

  init(_ options: BuildOptions) {
    let own = strdup("QUENCH_PROGRESS_FD=3")
    entries.append(own)
    made.append(own)
    var path: UnsafeMutablePointer<CChar>?
    if let executable = options.ownExecutable, let slash = executable.lastIndex(of: "/") {
      // Last, so that it never hides another program.
      path = strdup("PATH=" + options.searchPath + ":" + String(executable[..<slash]))
      entries.append(path)
      made.append(path)
    }
    if options.hasOwnEnvironment {
      for (name, value) in options.environment.sorted(by: { $0.key < $1.key })
      where name != "QUENCH_PROGRESS_FD" && (name != "PATH" || path == nil) {
        let entry = strdup("\(name)=\(value)")
        entries.append(entry)
        made.append(entry)
      }
    } else {
      var next = cs_environment()
      while let entry = next.pointee {
        next += 1
        if strncmp(entry, "QUENCH_PROGRESS_FD=", 19) == 0 { continue }
        if path != nil, strncmp(entry, "PATH=", 5) == 0 { continue }
        entries.append(entry)
      }
    }
    entries.append(nil)
    start = entries.pointer
  }

  deinit {
    for index in 0..<made.count { free(made[index]) }
  }

  /// For execve.
  func pointers(tellsProgress: Bool) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> {
    tellsProgress ? start : start + 1
  }
}
