// SPDX-License-Identifier: Apache-2.0
// Finetuning: which samples judge.

public import Datasets

/// Which samples are held back to judge by, decided by each sample's own name, so that adding or
/// removing others never moves one from judging to training.
public enum HeldBackPart {
  /// A number in 0..<1 that only the sample's name decides; below the share, the sample judges.
  public static func position(of sample: Sample) -> Double {
    // FNV-1a over the name, then mixed: FNV's top bits move little between names alike.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in sample.name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return Double(CounterRandom.mix(hash) >> 11) * 0x1p-53
  }

  /// Positions in `samples` of those that judge: at least one of them, unless the share is 0.
  public static func indices(of samples: [Sample], share: Double) -> [Int] {
    let positions = samples.map(position)
    let held = samples.indices.filter { positions[$0] < share }
    guard held.isEmpty, share > 0 else { return held }
    return samples.indices.min { positions[$0] < positions[$1] }.map { [$0] } ?? []
  }
}
