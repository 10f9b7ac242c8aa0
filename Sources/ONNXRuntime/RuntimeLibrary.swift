// SPDX-License-Identifier: Apache-2.0
// ONNXRuntime: find the shared library and open it once.

internal import COnnxRuntime
public import Diagnostics
internal import Glibc
internal import Synchronization

/// The ONNX Runtime shared library, opened, with its environment.
///
/// It stays open until the process ends: its own threads and code may outlive every session.
public final class RuntimeLibrary: Sendable {
  /// The path that was opened.
  public let path: String
  /// The library's version, such as `1.28.0`. Bytes of results may differ between versions.
  public let version: String

  let api: RuntimeAPI
  private let environment: RuntimeHandle
  let memory: RuntimeHandle
  let allocator: RuntimeHandle

  private init(path: String) throws(QuenchError) {
    let (api, version) = try RuntimeAPI.open(path)
    self.api = api
    self.version = version
    self.path = path
    environment = try api.made("starting ONNX Runtime") { out in
      // One environment exists in a process; the first caller's log level holds.
      api.table.pointee.create_env(RuntimeLog.callback, nil, RuntimeLog.severity, "quench", out)
    }
    memory = try api.made("describing memory") { out in
      api.table.pointee.create_cpu_memory_info(0, 0, out)
    }
    allocator = try api.made("finding the allocator") { out in
      api.table.pointee.default_allocator(out)
    }
  }

  /// The environment, for making sessions.
  var env: OpaquePointer { environment.pointer }

  private static let opened = Mutex<[String: RuntimeLibrary]>([:])

  /// Finds and opens the library; later calls return the same one.
  ///
  /// Telemetry, which versions from 1.29 on carry, is switched off before the library is loaded.
  /// - Throws: `.unavailable` when none is found, it cannot be loaded, or it is older than 1.20.
  public static func load() throws(QuenchError) -> RuntimeLibrary {
    try load(path: find() ?? RuntimeLocation.plainName)
  }

  /// Opens the library at a path, or under a bare name where the dynamic linker looks.
  ///
  /// - Throws: `.unavailable`, as `load()`.
  public static func load(path: String) throws(QuenchError) -> RuntimeLibrary {
    let result = opened.withLock { (known: inout [String: RuntimeLibrary]) in
      if let library = known[path] { return Result<RuntimeLibrary, QuenchError>.success(library) }
      do throws(QuenchError) {
        let library = try RuntimeLibrary(path: path)
        known[path] = library
        return .success(library)
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// Where the library is, without opening it: the file is an input of the stages that run models.
  ///
  /// Looked for in this order: the path in `QUENCH_ONNXRUNTIME`; `.quench-deps/` in the working
  /// directory, in that of the executable and in their parents; the directories of
  /// `LD_LIBRARY_PATH` and the usual library directories. nil when it is in none of them.
  public static func find() -> String? { RuntimeLocation.find() }

  /// What ONNX Runtime logged at severity "error" or worse, oldest first, at most 32 lines.
  ///
  /// Failures are thrown as errors anyway; this is for `-v`.
  public static var log: [String] { RuntimeLog.lines }
}
