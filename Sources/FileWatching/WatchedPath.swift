// SPDX-License-Identifier: Apache-2.0
// FileWatching: names of files taken apart, and what the disk says about them.

internal import Glibc

/// Path arithmetic without the disk.
enum WatchedPath {
  /// Without trailing slashes and leading `./`, so that children can be appended.
  static func normalized(_ path: String) -> String {
    var path = path
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    while path.hasPrefix("./") {
      path.removeFirst(2)
      while path.hasPrefix("/") { path.removeFirst() }
    }
    return path.isEmpty ? "." : path
  }

  /// The path of a child.
  static func join(_ directory: String, _ name: String) -> String {
    directory == "." ? name : directory == "/" ? "/" + name : "\(directory)/\(name)"
  }

  /// Directory and last component; nil when the path is a root or ends in `.` or `..`.
  static func split(_ path: String) -> (directory: String, name: String)? {
    guard path != "/", path != "." else { return nil }
    guard let slash = path.lastIndex(of: "/") else {
      return path == ".." ? nil : (".", path)
    }
    let name = String(path[path.index(after: slash)...])
    guard name != "..", name != "." else { return nil }
    return (slash == path.startIndex ? "/" : String(path[..<slash]), name)
  }
}

/// What stands on the disk under a path, symbolic links followed.
struct FileState: Equatable {
  var isDirectory: Bool
  var isRegular: Bool
  var links: UInt
  var size: Int
  var seconds: Int
  var nanoseconds: Int

  /// Nil when there is nothing.
  init?(_ path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    isDirectory = status.st_mode & S_IFMT == S_IFDIR
    isRegular = status.st_mode & S_IFMT == S_IFREG
    links = UInt(status.st_nlink)
    size = Int(status.st_size)
    seconds = status.st_mtim.tv_sec
    nanoseconds = status.st_mtim.tv_nsec
  }

  /// The path without symbolic links; nil when there is nothing.
  static func resolved(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
  }

  /// The children of a directory, sorted, with whether each is a directory (links followed).
  /// Empty when it is gone or may not be read.
  static func children(of directory: String) -> [(name: String, isDirectory: Bool)] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var children: [(name: String, isDirectory: Bool)] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name == "." || name == ".." { continue }
      let kind = Int32(entry.pointee.d_type)
      let isDirectory =
        switch kind {
        case Int32(DT_DIR): true
        // A link may lead to a directory; some file systems do not tell.
        case Int32(DT_LNK), Int32(DT_UNKNOWN):
          FileState(WatchedPath.join(directory, name))?.isDirectory ?? false
        default: false
        }
      children.append((name, isDirectory))
    }
    return children.sorted { $0.name < $1.name }
  }

  /// Whether changes made elsewhere than on this machine can happen without an event: network
  /// and user-space file systems, by the type that proc(5) mountinfo gives for the device.
  static func isRemote(_ path: String) -> Bool {
    var status = stat()
    guard stat(path, &status) == 0, let file = fopen("/proc/self/mountinfo", "re") else {
      return false
    }
    defer { fclose(file) }
    let device = UInt64(status.st_dev)
    let major = (device >> 8 & 0xfff) | (device >> 32 & ~0xfff)
    let minor = (device & 0xff) | (device >> 12 & ~0xff)
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    while getline(&line, &capacity, file) > 0, let line {
      // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
      let fields = String(cString: line).split(separator: " ")
      guard fields.count > 6, fields[2] == "\(major):\(minor)",
        let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count
      else { continue }
      let type = fields[dash + 1]
      let remote = ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "afs", "ceph"]
      return remote.contains(String(type)) || type.hasPrefix("fuse")
    }
    return false
  }
}
