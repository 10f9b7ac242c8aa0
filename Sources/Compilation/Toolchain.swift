// SPDX-License-Identifier: Apache-2.0
// Compilation: where atc is, which version, and the environment that it needs.

internal import Artifacts
public import Diagnostics
internal import Glibc

/// An installed CANN toolkit with its `atc`.
public struct Toolchain: Sendable, Equatable {
  /// The path of `atc`, as found.
  public let path: String
  /// The toolkit's root directory, links resolved.
  public let root: String
  /// The release, for example `8.1.RC1`; nil when no version file tells.
  public let version: String?
  /// The files that tell its version: inputs of the stage, beside `path`.
  public let versionFiles: [String]
  /// The SoC names of its platform files, sorted; empty when the directory is not there.
  public let platforms: [String]

  /// Finds `atc`: the setting, then `QUENCH_ATC`, `PATH`, `ASCEND_HOME_PATH` and
  /// `ASCEND_TOOLKIT_HOME`, then the usual places under `/usr/local/Ascend` and `~/Ascend`.
  ///
  /// - Parameters:
  ///   - environment: the process's variables.
  ///   - setting: a path that the user gave; nothing else is tried then.
  ///   - places: directories under which toolkits are installed; for tests.
  public static func find(
    environment: [String: String], setting: String? = nil, places: [String] = ["/usr/local/Ascend"]
  ) -> Toolchain? {
    if let setting { return executable(setting).map(Toolchain.init(atc:)) }
    if let chosen = environment["QUENCH_ATC"], !chosen.isEmpty {
      return executable(chosen).map(Toolchain.init(atc:))
    }
    for directory in (environment["PATH"] ?? "").split(separator: ":") {
      if let path = executable("\(directory)/atc") { return Toolchain(atc: path) }
    }
    var roots = ["ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"].compactMap { environment[$0] }
    let homes = places + (environment["HOME"].map { ["\($0)/Ascend"] } ?? [])
    for home in homes { roots += installed(under: home) }
    for root in roots where !root.isEmpty {
      for part in ["bin", "compiler/bin", "\(machine)-linux/bin"] {
        if let path = executable("\(root)/\(part)/atc") { return Toolchain(atc: path) }
      }
    }
    return nil
  }

  /// The error for a toolkit that was not found, with what to do.
  public static func missing(
    environment: [String: String], setting: String? = nil
  ) -> QuenchError {
    let asked = setting ?? environment["QUENCH_ATC"]
    return QuenchError(
      .unavailable,
      asked.map { "there is no executable atc at \"\($0)\"" } ?? "atc was not found",
      try: "install the CANN toolkit and source its set_env.sh, or set QUENCH_ATC to the path of "
        + "atc, or use --compiler host")
  }

  /// The variables with which `atc` runs: those of `set_env.sh`, where they are not set already.
  public func environment(adding base: [String: String]) -> [String: String] {
    var result = base
    for (name, value) in [
      ("ASCEND_TOOLKIT_HOME", root), ("ASCEND_HOME_PATH", root),
      ("ASCEND_OPP_PATH", "\(root)/opp"), ("ASCEND_AICPU_PATH", root),
      ("TOOLCHAIN_HOME", "\(root)/toolkit"),
    ] where result[name] == nil { result[name] = value }
    // devlib stands last: it holds a stand-in for the driver's library, needed where no driver is.
    let lists: [(name: String, front: [String], back: [String])] = [
      (
        "LD_LIBRARY_PATH",
        ["lib64", "lib64/plugin/opskernel", "lib64/plugin/nnengine"],
        ["\(machine)-linux/devlib"]
      ),
      ("PYTHONPATH", ["python/site-packages", "opp/built-in/op_impl/ai_core/tbe"], []),
      ("PATH", ["bin", "compiler/ccec_compiler/bin"], []),
    ]
    for list in lists {
      var entries = (result[list.name] ?? "").split(separator: ":").map(String.init)
      let front = list.front.map { "\(root)/\($0)" }.filter { isDirectory($0) }
      let back = list.back.map { "\(root)/\($0)" }.filter { isDirectory($0) }
      entries = front.filter { !entries.contains($0) } + entries
      entries += back.filter { !entries.contains($0) }
      if !entries.isEmpty { result[list.name] = entries.joined(separator: ":") }
    }
    return result
  }
}

// MARK: - Looking at the disk

extension Toolchain {
  init(atc path: String) {
    // The wrapper resolves itself, so the root is told by the real path.
    var parts = (resolved(path) ?? path).split(separator: "/", omittingEmptySubsequences: false)
    parts.removeLast(min(2, parts.count))
    if let last = parts.last, last == "compiler" || last.hasSuffix("-linux") { parts.removeLast() }
    let root = parts.isEmpty ? "." : parts.joined(separator: "/")
    let candidates = [
      "version.cfg", "\(machine)-linux/ascend_toolkit_install.info", "compiler/version.info",
      "opp/scene.info",
    ].map { "\(root)/\($0)" }
    let files = candidates.filter { access($0, R_OK) == 0 }
    self.path = path
    self.root = root
    versionFiles = files
    version = files.lazy.compactMap { Toolchain.version(in: $0) }.first
    let platformDirectory = "\(root)/\(machine)-linux/data/platform_config"
    platforms = names(in: platformDirectory).filter { $0.hasSuffix(".ini") }
      .map { String($0.dropLast(4)) }
  }

  /// The release in one of the version files; each has its own shape.
  private static func version(in path: String) -> String? {
    // A version file that cannot be read leaves the version unknown, which is shown as such.
    guard let bytes = try? FileContent.read(path) else { return nil }
    for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
      let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 else { continue }
      switch parts[0] {
      case "version", "version_dir": return parts[1]
      case "toolkit_running_version", "compiler_running_version":
        // [7.7.0.1.238:8.1.RC1]
        return parts[1].split(whereSeparator: { "[]:".contains($0) }).last.map(String.init)
      default: continue
      }
    }
    return nil
  }

  private static func installed(under home: String) -> [String] {
    var roots = ["\(home)/cann"]
    let versions = { (parent: String, prefix: String) -> [String] in
      names(in: parent).filter { $0.hasPrefix(prefix) && $0.count > prefix.count }
        .reversed().map { "\(parent)/\($0)" }
    }
    roots += versions(home, "cann-")
    roots.append("\(home)/ascend-toolkit/latest")
    roots += versions("\(home)/ascend-toolkit", "").filter { !$0.hasSuffix("/latest") }
    return roots + ["\(home)/latest", "\(home)/atc"]
  }

  private static func executable(_ path: String) -> String? {
    guard access(path, X_OK) == 0, !isDirectory(path) else { return nil }
    return path
  }
}

#if arch(arm64)
  private let machine = "aarch64"
#else
  private let machine = "x86_64"
#endif

private func isDirectory(_ path: String) -> Bool {
  var status = stat()
  return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

private func resolved(_ path: String) -> String? {
  guard let real = realpath(path, nil) else { return nil }
  defer { free(real) }
  return String(cString: real)
}

/// The names in a directory in byte order; empty when it cannot be listed.
private func names(in directory: String) -> [String] {
  guard let handle = opendir(directory) else { return [] }
  defer { closedir(handle) }
  var result: [String] = []
  while let entry = readdir(handle) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
    if name != ".", name != ".." { result.append(name) }
  }
  return result.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}
