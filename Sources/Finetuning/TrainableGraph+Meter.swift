// SPDX-License-Identifier: Apache-2.0
// Finetuning: where the time of a step goes, for benchmarks.

internal import CKernels

extension TrainableGraph {
  /// What the kernels of one kind took.
  package struct KernelTime: Sendable {
    /// The function that does a task of the kernel.
    package let name: String
    package let calls: Int
    /// Seconds that callers waited, and that all threads together worked.
    package let wall: Double
    package let busy: Double
  }

  /// Runs steps with the meter on; slower by a few looks at the clock a kernel.
  package func metered(_ body: () throws -> Void) rethrows -> [KernelTime] {
    let pool = tape.machine.pool
    ck_train_meter_start(pool)
    func stop() -> [ck_train_meter] {
      [ck_train_meter](unsafeUninitializedCapacity: 64) { buffer, filled in
        filled = buffer.baseAddress.map { Int(ck_train_meter_stop(pool, $0, 64)) } ?? 0
      }
    }
    do {
      try body()
    } catch {
      _ = stop()
      throw error
    }
    return stop().map {
      KernelTime(
        name: String(cString: $0.name), calls: Int($0.calls), wall: $0.wall, busy: $0.busy)
    }
  }
}
