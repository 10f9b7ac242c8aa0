// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import Finetuning

@Suite("Checkpoints")
struct CheckpointTests {
  static let key = [UInt8](repeating: 7, count: 32)

  static func checkpoint() -> Checkpoint {
    var state = TrainingState(
      total: 100, start: HeldBackResult(losses: [0.1, 1.0 / 3], correct: [true], agreeing: []),
      history: ScaleHistory(names: ["x"]), optimizerSteps: [3, 0])
    state.step = 42
    state.smoothedLoss = 0.1 + 0.2
    return Checkpoint(
      key: key, state: state,
      tensors: TrainingTensors(
        values: [[1, -0.0, .leastNonzeroMagnitude], [0.1]],
        slots: [[[1, 2, 3]], [[4], [5]]], best: [[9, 9, 9], [8]], losses: [0.5, 0.25]))
  }

  @Test("a checkpoint reads back bit for bit")
  func roundTrip() throws {
    let checkpoint = Self.checkpoint()
    let bytes = try checkpoint.encode()
    let back = try #require(try Checkpoint.decode(bytes, key: Self.key, counts: [3, 1]))
    #expect(back == checkpoint)
    #expect(back.tensors.values[0][1].sign == .minus)
    var bare = checkpoint
    bare.tensors.best = []
    #expect(try Checkpoint.decode(try bare.encode(), key: Self.key, counts: [3, 1]) == bare)
    var freezing = checkpoint
    freezing.tensors.codes = [[-7, FrozenWeights.free, 3], []]
    let encoded = try freezing.encode()
    #expect(try Checkpoint.decode(encoded, key: Self.key, counts: [3, 1]) == freezing)
    freezing.tensors.codes = [[-7, 3], []]
    #expect(try Checkpoint.decode(try freezing.encode(), key: Self.key, counts: [3, 1]) == nil)
  }

  @Test("a damaged byte anywhere, a cut anywhere, or another run's key is no checkpoint")
  func damage() throws {
    let bytes = try Self.checkpoint().encode()
    for position in stride(from: 0, to: bytes.count, by: 13) {
      var damaged = bytes
      damaged[position] ^= 0x40
      #expect(try Checkpoint.decode(damaged, key: Self.key, counts: [3, 1]) == nil)
      #expect(
        try Checkpoint.decode(Array(bytes[..<position]), key: Self.key, counts: [3, 1]) == nil)
    }
    let other = [UInt8](repeating: 8, count: 32)
    #expect(try Checkpoint.decode(bytes, key: other, counts: [3, 1]) == nil)
    #expect(try Checkpoint.decode(bytes, key: Self.key, counts: [3, 2]) == nil)
  }

  @Test("a directory that cannot be written is an error that says what to do")
  func unwritable() throws {
    let space = TemporarySpace()
    space.write("file", "in the way")
    let store = CheckpointStore(directory: space.path("file/ck"))
    let error = #expect(throws: QuenchError.self) {
      try store.write(Self.checkpoint(), to: store.latest)
    }
    #expect(error?.kind == .work)
  }

  @Test("a full disk leaves the last checkpoint whole and says what to do")
  func fullDisk() throws {
    let space = TemporarySpace()
    let store = CheckpointStore(directory: space.path("ck"))
    try store.write(Self.checkpoint(), to: store.latest)
    let before = space.read("ck/latest.checkpoint")
    // /dev/full refuses every write with "no space left".
    try #require(symlink("/dev/full", space.path("ck/full.checkpoint")) == 0)
    let error = #expect(throws: QuenchError.self) {
      try store.write(Self.checkpoint(), to: space.path("ck/full.checkpoint"))
    }
    #expect(error?.remedy?.contains("continues from the last checkpoint") == true)
    #expect(space.read("ck/latest.checkpoint") == before)
  }
}
