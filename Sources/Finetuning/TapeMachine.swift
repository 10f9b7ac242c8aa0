// SPDX-License-Identifier: Apache-2.0
// Finetuning: the kernels, threads and memory that a tape runs on.

internal import CKernels
internal import Diagnostics

/// The element type of a tape: float32 to train, float64 to check gradients.
package enum TapePrecision: Sendable {
  /// Float, by the best kernels of the CPU, or by those named ("avx512", "avx2", "plain").
  case single(kernels: String?)
  /// Double.
  case double
}

/// The kernels, threads and memory of one tape. Not thread-safe.
final class TapeMachine {
  let kernels: ck_train_kernels
  let pool: OpaquePointer
  let elementSize: Int
  let arena = TapeArena()
  /// Samples in the batch.
  var count = 0
  /// Whether the derivatives by activation and weight scales are wanted.
  var wantsScaleGradients = true
  /// Whether quantized layers sum up codes, as integer arithmetic does; no `backward` follows then.
  var sumsCodes = false

  init(precision: TapePrecision, threads: Int) throws(QuenchError) {
    switch precision {
    case .double: kernels = ck_train_float64().pointee
    case .single(let name?):
      guard let table = ck_train_named(name) else {
        throw QuenchError(.unavailable, "this CPU cannot run the kernels \"\(name)\"")
      }
      kernels = table.pointee
    case .single(nil): kernels = ck_train_float32().pointee
    }
    elementSize = Int(kernels.element_size)
    guard let pool = ck_train_pool_make(Int32(clamping: threads)) else {
      throw QuenchError(.unavailable, "there is no memory for \(threads) threads")
    }
    self.pool = pool
  }

  deinit { ck_train_pool_free(pool) }

  var name: String { String(cString: kernels.name) }

  func makeBuffer(_ elements: Int) -> TapeBuffer { arena.take(bytes: elements * elementSize) }

  func makeBuffer(_ values: [Float]) -> TapeBuffer {
    let buffer = makeBuffer(values.count)
    write(values, to: buffer)
    return buffer
  }

  /// Copies Swift numbers into a buffer.
  func write(_ values: [Float], to buffer: TapeBuffer) {
    if elementSize == 4 {
      values.withUnsafeBytes { bytes in
        if let base = bytes.baseAddress {
          buffer.pointer.copyMemory(from: base, byteCount: bytes.count)
        }
      }
    } else {
      let to = buffer.pointer.assumingMemoryBound(to: Double.self)
      for (index, value) in values.enumerated() { to[index] = Double(value) }
    }
  }

  func element(_ index: Int, of pointer: UnsafeRawPointer) -> Double {
    elementSize == 4
      ? Double(pointer.assumingMemoryBound(to: Float.self)[index])
      : pointer.assumingMemoryBound(to: Double.self)[index]
  }

  /// Copies a buffer over an array of as many numbers.
  func read(_ buffer: TapeBuffer, into values: inout [Float]) {
    if elementSize == 4 {
      values.withUnsafeMutableBytes { bytes in
        bytes.copyMemory(
          from: UnsafeRawBufferPointer(start: buffer.pointer, count: bytes.count))
      }
    } else {
      for index in values.indices {
        values[index] = Float(element(index, of: UnsafeRawPointer(buffer.pointer)))
      }
    }
  }

  func floats(_ buffer: TapeBuffer, _ elements: Int) -> [Float] {
    if elementSize == 4 {
      return Array(
        UnsafeBufferPointer(
          start: buffer.pointer.assumingMemoryBound(to: Float.self), count: elements))
    }
    return (0..<elements).map { Float(element($0, of: UnsafeRawPointer(buffer.pointer))) }
  }
}

/// Memory that goes back to its arena when the last reader lets go.
final class TapeBuffer {
  let pointer: UnsafeMutableRawPointer
  let capacity: Int
  private let arena: TapeArena

  init(_ pointer: UnsafeMutableRawPointer, _ capacity: Int, _ arena: TapeArena) {
    self.pointer = pointer
    self.capacity = capacity
    self.arena = arena
  }

  deinit { arena.put(pointer, capacity) }
}

/// Buffers for reuse, so that a step allocates nothing after the first.
final class TapeArena {
  private var free: [(pointer: UnsafeMutableRawPointer, capacity: Int)] = []
  /// Bytes taken from the system.
  private(set) var total = 0

  /// The smallest free buffer that fits without wasting more than half, else a new one.
  func take(bytes: Int) -> TapeBuffer {
    let wanted = max(64, (bytes + 63) / 64 * 64)
    var best: Int?
    for index in free.indices
    where free[index].capacity >= wanted && free[index].capacity <= 2 * wanted
      && free[index].capacity < best.map({ free[$0].capacity }) ?? .max
    {
      best = index
    }
    if let best {
      let found = free.remove(at: best)
      return TapeBuffer(found.pointer, found.capacity, self)
    }
    total += wanted
    return TapeBuffer(.allocate(byteCount: wanted, alignment: 64), wanted, self)
  }

  fileprivate func put(_ pointer: UnsafeMutableRawPointer, _ capacity: Int) {
    free.append((pointer, capacity))
  }

  /// Gives free buffers back to the system, as when the batch size changes.
  func trim() {
    for buffer in free {
      buffer.pointer.deallocate()
      total -= buffer.capacity
    }
    free = []
  }

  deinit { trim() }
}
