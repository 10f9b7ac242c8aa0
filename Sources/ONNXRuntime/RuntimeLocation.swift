// SPDX-License-Identifier: Apache-2.0
// ONNXRuntime: where the shared library may lie.

internal import Glibc

/// The search for `libonnxruntime.so`. Reads directories, opens nothing.
enum RuntimeLocation {
  /// The name under which the dynamic linker knows it.
  static let plainName = "libonnxruntime.so.1"
  /// The environment variable that names the file.
  static let variable = "QUENCH_ONNXRUNTIME"
  /// The directory that the set-up script fills.
  static let dependencies = ".quench-deps"

  /// The file named by the environment, whether it exists or not; nil when none is named.
  ///
  /// A bare file name is one here: the dynamic linker would look for it everywhere else.
  static var named: String? {
    guard let name = environment(variable) else { return nil }
    return !name.contains("/") && access(name, F_OK) == 0 ? "./\(name)" : name
  }

  /// See `RuntimeLibrary.find()`.
  static func find() -> String? {
    if let named { return named }
    for root in [workingDirectory, executableDirectory] {
      for directory in ancestors(of: root) {
        if let path = unpacked(in: "\(directory == "/" ? "" : directory)/\(dependencies)") {
          return path
        }
      }
    }
    let searched = environment("LD_LIBRARY_PATH")?.split(separator: ":").map(String.init) ?? []
    let usual = [
      "/usr/local/lib", "/usr/lib/\(machine)-linux-gnu", "/usr/lib64", "/usr/lib",
    ]
    for directory in searched + usual where access("\(directory)/\(plainName)", R_OK) == 0 {
      return "\(directory)/\(plainName)"
    }
    return nil
  }

  /// The newest library in a directory or in the directories directly below it.
  ///
  /// The file's name carries the full version, so it is found by its beginning.
  private static func unpacked(in directory: String) -> String? {
    let entries = names(in: directory)
    if let name = newest(entries) { return "\(directory)/\(name)" }
    for entry in entries {
      if let name = newest(names(in: "\(directory)/\(entry)")) {
        return "\(directory)/\(entry)/\(name)"
      }
    }
    return nil
  }

  private static func newest(_ names: [String]) -> String? {
    let prefix = "libonnxruntime.so."
    func numbers(_ name: String) -> [Int] {
      name.dropFirst(prefix.count).split(separator: ".").map { Int($0) ?? 0 }
    }
    return names.filter { $0.hasPrefix(prefix) }
      .max { numbers($0).lexicographicallyPrecedes(numbers($1)) }
  }

  /// The names in a directory, sorted; empty when there is none.
  private static func names(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }

  private static func ancestors(of directory: String) -> [String] {
    var found: [String] = []
    var path = directory[...]
    while !path.isEmpty {
      found.append(String(path))
      guard let slash = path.lastIndex(of: "/") else { break }
      path = path[..<slash]
    }
    return found
  }

  private static var workingDirectory: String {
    guard let path = getcwd(nil, 0) else { return "" }
    defer { free(path) }
    return String(cString: path)
  }

  private static var executableDirectory: String {
    guard let path = realpath("/proc/self/exe", nil) else { return "" }
    defer { free(path) }
    let text = String(cString: path)
    return text.lastIndex(of: "/").map { String(text[..<$0]) } ?? ""
  }

  private static var machine: String {
    #if arch(arm64)
      "aarch64"
    #else
      "x86_64"
    #endif
  }

  private static func environment(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
  }
}
