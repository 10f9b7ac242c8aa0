// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Pipeline

@Suite("Shards")
struct ShardsTests {
  static let hundred = (0..<100).map { "images/\($0).png" }

  @Test("no shard holds more than the limit, in the first build too")
  func firstCut() {
    let shards = Shards.assign(Self.hundred, previous: [:])
    #expect(shards.samples.keys.sorted() == [1, 2, 3, 4])
    #expect(shards.samples.values.allSatisfy { $0.count <= Shards.largest })
    #expect(shards.samples.sorted { $0.key < $1.key }.flatMap(\.value) == Self.hundred)
  }

  @Test("new samples form a new shard and leave the others as they are")
  func added() {
    let before = Shards.assign(Self.hundred, previous: [:]).samples
    let after = Shards.assign(["a.png"] + Self.hundred + ["z.png"], previous: before).samples
    for (number, lines) in before { #expect(after[number] == lines) }
    #expect(after[5] == ["a.png", "z.png"])
  }

  @Test("a removed sample touches its own shard only")
  func removed() {
    let before = Shards.assign(Self.hundred, previous: [:]).samples
    let after = Shards.assign(Self.hundred.filter { $0 != "images/40.png" }, previous: before)
    #expect(after.samples.filter { before[$0.key] != $0.value }.map(\.key) == [2])
    #expect(after.samples[2]?.count == Shards.largest - 1)
  }

  @Test("a shard that lost all samples is gone, and its number is not used again at once")
  func emptied() {
    let before = Shards.assign(Self.hundred, previous: [:]).samples
    let after = Shards.assign(Array(Self.hundred.prefix(96)) + ["new.png"], previous: before)
    #expect(after.samples[4] == nil)
    #expect(after.samples[5] == ["new.png"])
  }

  @Test("every sample is in exactly one shard, even when the lists were damaged")
  func damaged() {
    let shards = Shards.assign(["a", "b", "c"], previous: [1: ["a", "b"], 2: ["b", "x"]])
    #expect(shards.samples.values.flatMap { $0 }.sorted() == ["a", "b", "c"])
  }
}
