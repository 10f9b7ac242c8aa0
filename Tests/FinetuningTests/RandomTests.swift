// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Finetuning

@Suite("Counter-based randomness")
struct RandomTests {
  @Test("an epoch's order is a permutation, the same whenever it is asked for")
  func order() {
    let random = CounterRandom(seed: 7)
    let first = random.order(of: 1000, epoch: 3)
    _ = random.order(of: 10, epoch: 0)
    #expect(first == CounterRandom(seed: 7).order(of: 1000, epoch: 3))
    #expect(first.sorted() == Array(0..<1000))
    #expect(first != random.order(of: 1000, epoch: 4))
    #expect(first != CounterRandom(seed: 8).order(of: 1000, epoch: 3))
  }

  @Test("the numbers are the ones that checkpoints of other machines count on")
  func golden() {
    // Recorded on x86-64; integer arithmetic alone, so they hold everywhere.
    #expect(CounterRandom.mix(0) == 0xE220_A839_7B1D_CDAF)  // SplitMix64's first output of seed 0
    let random = CounterRandom(seed: 1)
    #expect(random.order(of: 8, epoch: 0).sorted() == Array(0..<8))
  }

  @Test("every purpose, epoch, index and draw has numbers of its own, evenly spread")
  func spread() {
    let random = CounterRandom(seed: 0)
    var seen: Set<UInt64> = []
    for purpose in [CounterRandom.Purpose.order, .augmentation] {
      for epoch in 0..<4 {
        for index in 0..<50 {
          for draw in 0..<3 {
            seen.insert(random.bits(purpose, epoch: epoch, index: index, draw: draw))
          }
        }
      }
    }
    #expect(seen.count == 2 * 4 * 50 * 3)
    var counts = [Int](repeating: 0, count: 9)
    for index in 0..<9000 {
      counts[random.number(below: 9, .augmentation, epoch: 0, index: index)] += 1
    }
    // Standard deviation of each is 30: five of them leave room for one chance in a million.
    #expect(counts.allSatisfy { abs($0 - 1000) < 150 })
  }

  @Test("flipping mirrors each row, and cropping moves what is seen, with zeros beyond the edge")
  func augmentation() throws {
    let shape = try #require(PictureShape([1, 1, 2, 3], isInterleaved: false))
    let picture: [Float] = [1, 2, 3, 4, 5, 6]
    let random = CounterRandom(seed: 3)
    let flip = Augmentation(flip: true, padding: 0)
    let versions = Set(
      (0..<50).map { flip.apply(to: picture, shape: shape, random: random, epoch: $0, index: 0) })
    #expect(versions == [picture, [3, 2, 1, 6, 5, 4]])
    let crop = Augmentation(flip: false, padding: 1)
    let crops = Set(
      (0..<300).map { crop.apply(to: picture, shape: shape, random: random, epoch: 0, index: $0) })
    #expect(crops.count == 9)
    #expect(crops.contains([5, 6, 0, 0, 0, 0]))
    #expect(crops.contains([0, 0, 0, 0, 1, 2]))
  }

  @Test("pictures with channels last are mirrored by pixels, not by numbers")
  func interleaved() throws {
    let shape = try #require(PictureShape([1, 1, 2, 3], isInterleaved: true))
    let flip = Augmentation(flip: true, padding: 0)
    let versions = Set(
      (0..<50).map {
        flip.apply(
          to: [1, 2, 3, 4, 5, 6], shape: shape, random: CounterRandom(seed: 3), epoch: $0, index: 0)
      })
    #expect(versions == [[1, 2, 3, 4, 5, 6], [4, 5, 6, 1, 2, 3]])
  }
}
