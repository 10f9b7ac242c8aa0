// SPDX-License-Identifier: Apache-2.0
// Calibration: least relative entropy.

/// Chooses the threshold whose quantised distribution is nearest to the observed one in relative
/// entropy (Kullback-Leibler divergence).
///
/// After Migacz, "8-bit inference with TensorRT" (GTC 2017), with these choices: the clipped tail
/// belongs to the last kept bin of P; both distributions are normalised; Q is spread over the
/// non-empty bins of a level only; candidates whose last bin is empty are rejected; exact zeros
/// are left out; of equal minima the largest threshold wins. It looks at probabilities, not at
/// amplitudes, so on heavy tails it gives up more energy than `mse`.
public struct EntropyCalibrator: Calibrator {
  /// Makes the calibrator; it has no settings.
  public init() {}

  /// "kl".
  public var name: String { "kl" }

  /// The threshold on both sides, within the extremes. A tensor without negative values uses 256
  /// levels when its codes can all be positive, else 128.
  public func range(
    for histogram: Histogram, scheme: ActivationScheme
  ) -> ClosedRange<Double> {
    let levels = histogram.isSigned || scheme == .symmetric ? 128 : 256
    return histogram.clipped(to: threshold(for: histogram, levels: levels), scheme: scheme)
  }

  /// The best threshold on magnitudes.
  ///
  /// - Parameter levels: codes for magnitudes; a power of two.
  /// - Complexity: O(levels · bins).
  public func threshold(for histogram: Histogram, levels: Int) -> Double {
    var best: (bins: Int, divergence: Double)?
    scan(histogram, levels: levels) { bins, divergence in
      if divergence <= best?.divergence ?? .infinity { best = (bins, divergence) }
    }
    return histogram.threshold(bins: best?.bins)
  }

  /// Reports the divergence of every admissible candidate, in bins kept, ascending.
  ///
  /// KL(i) = (A[i−1] + φ(c[i−1] + tail) − Σ_l P_l·(ln C_l − ln n_l)) / total + ln B[i] − ln total,
  /// where φ(n) = n·ln n, A sums φ over bins, B sums counts, level l covers the bins from ⌈l·i/L⌉,
  /// C_l is its count, n_l its number of non-empty bins, P_l = C_l, for the last level plus tail.
  public func scan(
    _ histogram: Histogram, levels: Int, _ report: (_ bins: Int, _ divergence: Double) -> Void
  ) {
    precondition(levels > 0 && levels & (levels - 1) == 0, "level borders are found by a shift")
    let counts = histogram.folded
    guard counts.count >= levels else { return }
    NaturalLogarithm.ofCounts.withUnsafeBufferPointer { table in
      let sums = PrefixSums(counts, table)
      let total = sums.counts[counts.count]
      let lnTotal = NaturalLogarithm.ln(count: total, table)
      var terms = LevelTerms(levels: levels)
      for kept in levels...counts.count {
        let inside = sums.counts[kept]
        let tail = total - inside
        let last = counts[kept - 1]
        guard inside > 0, last > 0 || tail == 0 else { continue }
        let end = last + tail
        let phi = end == 0 ? 0 : Double(end) * NaturalLogarithm.ln(count: end, table)
        let spread = terms.sum(kept: kept, tail: tail, sums, table)
        report(
          kept,
          (sums.entropy[kept - 1] + phi - spread) / Double(total)
            + (NaturalLogarithm.ln(count: inside, table) - lnTotal))
      }
    }
  }
}

extension Histogram {
  /// The upper border of so many bins; the exact largest magnitude when they are all, or nil.
  func threshold(bins: Int?) -> Double {
    guard let bins, bins < folded.count else { return Double(absoluteMaximum) }
    return Double(bins) * binWidth
  }
}

// MARK: - Sums

/// Index i holds the sum over the bins before i.
private struct PrefixSums {
  var entropy: [Double] = [0]
  var counts: [UInt64] = [0]
  var used: [Int] = [0]

  init(_ bins: [UInt64], _ table: UnsafeBufferPointer<Double>) {
    var (entropySum, countSum, usedSum) = (0.0, UInt64(0), 0)
    for count in bins {
      entropySum +=
        count == 0 ? 0 : Double(count) * NaturalLogarithm.ln(count: count, table)
      countSum += count
      usedSum += count == 0 ? 0 : 1
      entropy.append(entropySum)
      counts.append(countSum)
      used.append(usedSum)
    }
  }
}

/// Σ_l P_l·(ln C_l − ln n_l). From one candidate to the next, the borders of the low levels rarely
/// move, so each level keeps its last term.
private struct LevelTerms {
  private let levels: Int
  private let shift: Int
  private var borders: [Int]
  private var terms: [Double]

  init(levels: Int) {
    self.levels = levels
    shift = levels.trailingZeroBitCount
    // No border is −1, so every term is computed at first.
    borders = [Int](repeating: -1, count: levels + 1)
    terms = [Double](repeating: 0, count: levels)
  }

  mutating func sum(
    kept: Int, tail: UInt64, _ sums: PrefixSums, _ table: UnsafeBufferPointer<Double>
  ) -> Double {
    var sum = 0.0
    var begin = 0
    var beginMoved = borders[0] != 0
    borders[0] = 0
    for level in 0..<levels {
      let end = ((level + 1) * kept + levels - 1) >> shift
      let endMoved = borders[level + 1] != end
      let isLast = level == levels - 1
      if beginMoved || endMoved || isLast {
        borders[level + 1] = end
        let count = sums.counts[end] - sums.counts[begin]
        if count == 0 {
          terms[level] = 0
        } else {
          let weight = Double(isLast ? count + tail : count)
          let used = UInt64(sums.used[end] - sums.used[begin])
          terms[level] =
            weight
            * (NaturalLogarithm.ln(count: count, table) - NaturalLogarithm.ln(count: used, table))
        }
      }
      // Adding the 0 of an empty level changes no bit.
      sum += terms[level]
      begin = end
      beginMoved = endMoved
    }
    return sum
  }
}
