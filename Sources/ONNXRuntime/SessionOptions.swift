// SPDX-License-Identifier: Apache-2.0
// ONNXRuntime: how a model is run.

internal import COnnxRuntime
internal import Diagnostics

/// How a session runs its model.
public struct SessionOptions: Sendable, Equatable {
  /// 0 none, 1 basic, 2 extended, 99 all. Above 0 bytes depend on the CPU.
  public var optimizationLevel: Int32
  /// Threads inside one operator; 1 runs everything on the caller's thread.
  public var operatorThreads: Int32
  /// Keep freed memory for the next run. Off: one allocation per tensor, smaller peaks.
  public var arena: Bool
  /// Keep a tiled copy of weights (faster matrix products, slower loading, more memory).
  public var prepacking: Bool

  /// Makes options; see the properties.
  public init(
    optimizationLevel: Int32 = 0, operatorThreads: Int32 = 1, arena: Bool = true,
    prepacking: Bool = true
  ) {
    self.optimizationLevel = optimizationLevel
    self.operatorThreads = operatorThreads
    self.arena = arena
    self.prepacking = prepacking
  }

  /// No graph optimisation, one thread, arena: the setting whose bytes depend neither on the CPU's
  /// vector width nor on the number of threads. Quantised models run as float simulation.
  /// Parallelism comes from several callers of `run`.
  public static let reproducible = SessionOptions()
}

extension SessionOptions {
  /// Lends the library's form of these options to `body`.
  func withHandle<R>(
    _ api: RuntimeAPI, _ body: (OpaquePointer) throws(QuenchError) -> R
  ) throws(QuenchError) -> R {
    let options = try api.made("making session options") { out in
      api.table.pointee.create_session_options(out)
    }.pointer
    defer { api.table.pointee.release_session_options(options) }
    let table = api.table.pointee
    let what = "setting session options"
    try api.check(table.set_execution_mode(options, 0), what)
    try api.check(table.set_log_severity(options, RuntimeLog.severity), what)
    try api.check(table.set_optimization_level(options, optimizationLevel), what)
    try api.check(table.set_intra_op_threads(options, operatorThreads), what)
    try api.check(table.set_inter_op_threads(options, 1), what)
    try api.check(arena ? table.enable_arena(options) : table.disable_arena(options), what)
    if operatorThreads != 1 {
      // Spinning worker threads burn processors between runs.
      try api.check(
        table.add_config_entry(options, "session.intra_op.allow_spinning", "0"), what)
    }
    if !prepacking {
      try api.check(table.add_config_entry(options, "session.disable_prepacking", "1"), what)
    }
    return try body(options)
  }
}
