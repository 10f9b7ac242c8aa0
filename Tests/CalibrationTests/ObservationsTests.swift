// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Diagnostics
import TestSupport
import Testing

@testable import Calibration

@Suite("observations")
struct ObservationsTests {
  private let model = String(repeating: "ab", count: 32)

  private func observations(_ names: [String: [Float]], samples: Int = 3) -> Observations {
    var observations = Observations(
      model: model, preprocessing: String(repeating: "0", count: 64), samples: samples)
    for (name, values) in names {
      observations.tensors[name, default: Histogram()].add(values)
    }
    return observations
  }

  private var small: Observations {
    observations([
      "a": [1, 2, 3, 0, -0.5, 1e-9], "b": [0, 0], "c": [.nan, .infinity, -.infinity, 1], "d": [],
      "ü/x": [-3], "z": [.leastNonzeroMagnitude, .greatestFiniteMagnitude],
    ])
  }

  /// CRC-32 bit by bit, from its definition.
  private func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var crc = ~UInt32(0)
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
    }
    return ~crc
  }

  private func sealed(_ bytes: [UInt8]) -> [UInt8] {
    let body = bytes.dropLast(4)
    return body + withUnsafeBytes(of: checksum(body).littleEndian) { Array($0) }
  }

  @Test("a file holds what was written")
  func roundTrip() throws {
    let space = TemporarySpace()
    var whole = small
    for name in GoldenData.names { whole.tensors[name] = GoldenData.histogram(name) }
    let path = space.path("a.qobs")
    try whole.write(to: path)
    #expect(try Observations.read(path) == whole)
  }

  @Test("the layout is the documented one")
  func layout() {
    // Written by hand after the comment in ObservationsFormat.swift.
    var observations = Observations(model: "m", preprocessing: "p", samples: 300)
    observations.tensors["t"] = Histogram()
    observations.tensors["t"]?.add([1, 1, 0, -1.75])
    let expected: [UInt8] =
      Array("QOBS".utf8) + [1, 0, 0, 0] + [1] + Array("m".utf8) + [1] + Array("p".utf8)
      + [0xAC, 0x02, 1] + [1] + Array("t".utf8) + [0, 0, 0xE0, 0xBF] + [0, 0, 0x80, 0x3F]
      + [4, 1, 0, 0, 0] + [0xF5, 0xFF]
      + [0x81, 0x10, 0, 0xFF, 0x0F, 2]  // 2049 bins: 1 + 2047 empty ones, then 2 values
      + [0x81, 0x1C, 0, 0xFF, 0x1B, 1]  // 3585 bins: 1 + 3583 empty ones, then 1 value
    #expect(observations.encode() == sealed(expected + [0, 0, 0, 0]))
  }

  @Test("merging in any order gives equal bytes, those of one pass")
  func merging() throws {
    let parts = GoldenData.split(GoldenData.values("growth"), into: 4)
    let shards = parts.map { observations(["x": $0, "y": $0.reversed()], samples: 1) }
    var forwards = shards[0]
    for shard in shards.dropFirst() { try forwards.merge(shard) }
    var backwards = shards[3]
    for shard in shards.dropLast().reversed() { try backwards.merge(shard) }
    let values = GoldenData.values("growth")
    let whole = observations(["y": values, "x": values], samples: 4)
    #expect(forwards.encode() == whole.encode())
    #expect(backwards.encode() == whole.encode())
    #expect(forwards.samples == 4)
  }

  @Test("shards and their order change no byte of the scales")
  func scales() throws {
    let parts = GoldenData.split(GoldenData.values("heavy"), into: 5)
    let shards = parts.map { observations(["x": $0, "y": $0.map { max(0, $0) }], samples: 1) }
    for method in CalibratorTests.methods {
      let texts = try [
        shards, shards.reversed(), [shards[2], shards[0]] + shards[3...] + [shards[1]],
      ]
      .map { order in
        var merged = order[0]
        for shard in order.dropFirst() { try merged.merge(shard) }
        return try ArtifactJSON.encode(
          ScaleTable(
            model: model, method: method.description,
            tensors: Calibrators.scales(for: merged, method: method, scheme: .asymmetric)))
      }
      #expect(texts[1] == texts[0])
      #expect(texts[2] == texts[0])
    }
  }

  @Test("of several bad tensors the first by name is told")
  func firstBad() {
    let error = #expect(throws: QuenchError.self) {
      try Calibrators.scales(
        for: observations(["b": [.nan], "c": [.nan], "a": [1], "d": [.infinity]]), method: .mse,
        scheme: .asymmetric)
    }
    #expect(error?.place == .tensor("b"))
  }

  @Test("observations that do not belong together are not merged, and nothing is changed")
  func mismatches() {
    var other = small
    other.model = "another"
    expectRefusal(merging: other, "different models")
    other = small
    other.preprocessing = "another"
    expectRefusal(merging: other, "different preprocessing")
    other = small
    other.tensors["a"] = nil
    expectRefusal(merging: other, "\"a\"")
    other = small
    other.tensors["more"] = Histogram()
    expectRefusal(merging: other, "\"more\"")
    other = small
    other.tensors["b"]?.zeros = 1 << 62
    other.tensors["b"]?.count = 1 << 62
    expectRefusal(merging: other, "2^62")
    other = small
    other.samples = .max
    expectRefusal(merging: other, "samples")
  }

  private func expectRefusal(merging other: Observations, _ words: String) {
    var mine = small
    let error = #expect(throws: QuenchError.self) { try mine.merge(other) }
    #expect(error?.kind == .data)
    #expect(error?.message.contains(words) == true)
    #expect(mine == small)
  }

  @Test("a file cut off anywhere is refused")
  func truncation() {
    let bytes = small.encode()
    for length in 0..<bytes.count {
      expectData(Array(bytes.prefix(length)))
      // With the checksum made right, the reader itself must notice.
      if length >= 4 { expectData(sealed(Array(bytes.prefix(length)))) }
    }
  }

  @Test("a changed byte is noticed")
  func flips() {
    let bytes = small.encode()
    for position in bytes.indices {
      for bit in [0, 3, 7] {
        var damaged = bytes
        damaged[position] ^= 1 << bit
        expectData(damaged)
      }
    }
  }

  @Test("a crafted file is refused or read as what it would be written as")
  func crafted() {
    let bytes = small.encode()
    var draws = Draws(seed: 11)
    var accepted = 0
    for _ in 0..<4000 {
      var crafted = bytes
      for _ in 0...draws.next(below: 3) {
        crafted[8 + draws.next(below: bytes.count - 12)] = UInt8(draws.next(below: 256))
      }
      if draws.next(below: 4) == 0 { crafted.remove(at: 8 + draws.next(below: bytes.count - 12)) }
      crafted = sealed(crafted)
      guard let read = try? Observations.decode(crafted, path: "x") else {
        expectData(crafted)
        continue
      }
      accepted += 1
      #expect(read.encode() == crafted)
    }
    // Digests and names may hold anything: some changes must be acceptable.
    #expect(accepted > 0)
  }

  private func expectData(_ bytes: [UInt8]) {
    let error = #expect(throws: QuenchError.self) { try Observations.decode(bytes, path: "x.qobs") }
    #expect(error?.kind == .data)
    #expect(error?.place == .file("x.qobs"))
  }

  @Test("a newer version is refused as such")
  func newer() {
    var bytes = small.encode()
    bytes[4] = 2
    let error = #expect(throws: QuenchError.self) {
      try Observations.decode(sealed(bytes), path: "x")
    }
    #expect(error?.message.contains("version 2 is newer than 1") == true)
  }

  @Test("another file is not taken for observations")
  func otherFile() {
    let error = #expect(throws: QuenchError.self) {
      try Observations.decode(Array("{\"format\": 1, \"x\": 2}".utf8), path: "x")
    }
    #expect(error?.message == "this is not a .qobs file")
  }

  @Test("a missing file is no input")
  func missing() {
    let error = #expect(throws: QuenchError.self) { try Observations.read("/nonexistent/a.qobs") }
    #expect(error?.kind == .noInput)
  }
}
