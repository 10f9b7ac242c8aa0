// SPDX-License-Identifier: Apache-2.0
// Finetuning: randomness without a state, so that a resumed run repeats it.

/// Random numbers that are a pure function of a seed and of where they are used.
///
/// No generator state exists that a checkpoint could miss: the number for (seed, purpose, epoch,
/// index) is the same whatever was asked before, by how many threads, in which order.
///
/// Source of the mixing function: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom
/// number generators, 2014), applied once for each word of the counter.
public struct CounterRandom: Sendable, Equatable {
  /// What a number is for; keeps the streams of different uses apart.
  public enum Purpose: UInt64, Sendable {
    /// The order of samples in an epoch.
    case order = 1
    /// How one sample is changed in an epoch.
    case augmentation = 2
  }

  /// The one seed of a run.
  public let seed: UInt64

  /// Numbers of one seed.
  public init(seed: UInt64) {
    self.seed = seed
  }

  /// 64 random bits.
  public func bits(_ purpose: Purpose, epoch: Int, index: Int, draw: Int = 0) -> UInt64 {
    var word = CounterRandom.mix(seed)
    for part in [
      purpose.rawValue, UInt64(bitPattern: Int64(epoch)), UInt64(bitPattern: Int64(index)),
      UInt64(bitPattern: Int64(draw)),
    ] {
      word = CounterRandom.mix(word ^ part)
    }
    return word
  }

  /// A whole number in 0..<bound.
  ///
  /// The top bits are scaled, not divided, which is even to 1 part in 2^32 for the bounds in use.
  /// - Precondition: 0 < bound < 2^31.
  public func number(
    below bound: Int, _ purpose: Purpose, epoch: Int, index: Int, draw: Int = 0
  ) -> Int {
    precondition(bound > 0 && bound < 1 << 31, "a bound of a random number is a small positive one")
    let top = bits(purpose, epoch: epoch, index: index, draw: draw) >> 32
    return Int((top * UInt64(bound)) >> 32)
  }

  /// The order in which an epoch visits `count` samples: a permutation of 0..<count.
  ///
  /// Every sample draws a key and the keys are sorted, so the order is no walk of a generator.
  /// - Complexity: O(count log count).
  public func order(of count: Int, epoch: Int) -> [Int] {
    let keys = (0..<count).map { bits(.order, epoch: epoch, index: $0) }
    return (0..<count).sorted { keys[$0] == keys[$1] ? $0 < $1 : keys[$0] < keys[$1] }
  }

  /// SplitMix64's step and finalizer: a bijection of 64 bits in which every bit reaches all others.
  static func mix(_ word: UInt64) -> UInt64 {
    var z = word &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
