// SPDX-License-Identifier: Apache-2.0
// Calibration: least squared error.

internal import Tensors

/// Chooses the range with the least squared quantisation error, rounding and clipping together.
///
/// Values count as evenly spread inside their bin and the error is integrated over it, so there is
/// no bias of bin centres when bins and steps are of like size. All sums run in bin order.
public struct MSECalibrator: Calibrator {
  /// Makes the calibrator; it has no settings.
  public init() {}

  /// "mse".
  public var name: String { "mse" }

  /// The best −T…T, or the best two ends.
  public func range(
    for histogram: Histogram, scheme: ActivationScheme
  ) -> ClosedRange<Double> {
    switch scheme {
    case .symmetric:
      let threshold = symmetricThreshold(for: histogram, topCode: Int(CodeRange.int8.maximum))
      return -threshold...threshold
    case .asymmetric:
      return asymmetricRange(for: histogram)
    }
  }

  // MARK: Symmetric

  /// The best threshold on magnitudes when codes 0…topCode stand for 0…T.
  ///
  /// Every 16th bin border from the top down to 128 bins, then every border within 15 of the best;
  /// of equal costs the largest threshold wins.
  public func symmetricThreshold(for histogram: Histogram, topCode: Int) -> Double {
    let side = Side(histogram.folded[...])
    let all = side.end
    let fewest = min(128, all)
    func cost(_ bins: Int) -> Double {
      let threshold = histogram.threshold(bins: bins == all ? nil : bins)
      return side.cost(
        width: histogram.binWidth, step: threshold / Double(topCode), topCode: Double(topCode))
    }
    var best = (bins: all, cost: cost(all))
    for bins in stride(from: all - 16, through: fewest, by: -16) {
      let cost = cost(bins)
      if cost < best.cost { best = (bins, cost) }
    }
    let center = best.bins
    for bins in stride(from: min(all, center + 15), through: max(fewest, center - 15), by: -1)
    where bins != center {
      let cost = cost(bins)
      if cost < best.cost || (cost == best.cost && bins > best.bins) { best = (bins, cost) }
    }
    return histogram.threshold(bins: best.bins == all ? nil : best.bins)
  }

  /// The squared error when magnitudes up to `threshold` use codes 0…topCode, summed over values.
  public func symmetricCost(
    of histogram: Histogram, threshold: Double, topCode: Int
  ) -> Double {
    Side(histogram.folded[...]).cost(
      width: histogram.binWidth, step: threshold / Double(topCode), topCode: Double(topCode))
  }

  // MARK: Asymmetric

  /// The best two ends: a pattern search from the full range with steps of 256, 64, 16, 4 and 1
  /// bins, which takes the best strict improvement among moving either end, or both inwards.
  public func asymmetricRange(for histogram: Histogram) -> ClosedRange<Double> {
    let above = Side(Histogram.trimmed(histogram.positive))
    let below = Side(Histogram.trimmed(histogram.negative))
    let width = histogram.binWidth
    // The zero-including range of a tensor without values on a side ends at its own extreme, which
    // `affine` then widens to zero.
    func ends(_ low: Int, _ high: Int) -> (low: Double, high: Double) {
      (
        low == below.end && low > 0 ? Double(histogram.min) : -Double(low) * width,
        high == above.end && high > 0 ? Double(histogram.max) : Double(high) * width
      )
    }
    func cost(_ low: Int, _ high: Int) -> Double {
      let ends = ends(low, high)
      let grid = Scale.affineGrid(low: ends.low, high: ends.high)
      let codes = CodeRange.int8
      return above.cost(
        width: width, step: grid.step, topCode: Double(codes.maximum - grid.zeroPoint))
        + below.cost(width: width, step: grid.step, topCode: Double(grid.zeroPoint - codes.minimum))
    }
    var at = (low: below.end, high: above.end)
    var best = cost(at.low, at.high)
    for step in [256, 64, 16, 4, 1] {
      while true {
        let moves = [(-step, 0), (0, -step), (-step, -step), (step, 0), (0, step)]
        var pick: (low: Int, high: Int)?
        for (lowMove, highMove) in moves {
          let (low, high) = (at.low + lowMove, at.high + highMove)
          guard (0...below.end).contains(low), (0...above.end).contains(high), low + high >= 16
          else { continue }
          let cost = cost(low, high)
          if cost < best {
            best = cost
            pick = (low, high)
          }
        }
        guard let pick else { break }
        at = pick
      }
    }
    let found = ends(at.low, at.high)
    return found.low...found.high
  }
}

// MARK: - Error integrals

/// One side of a histogram, only the bins that are not empty.
private struct Side {
  /// One past the last bin.
  let end: Int
  private let bins: [(index: Int, count: Double)]

  init(_ counts: ArraySlice<UInt64>) {
    end = counts.count
    bins = counts.enumerated().filter { $0.element != 0 }.map { ($0.offset, Double($0.element)) }
  }

  /// Σ over bins of count · (E(upper border) − E(lower border)) / width, in bin order.
  ///
  /// E(x) = ∫₀ˣ (t − step·clamp(rint(t/step), 0, topCode))² dt = k·step³/12 + d³/3 with
  /// k = min(rint(x/step), topCode) and d = x − k·step.
  func cost(width: Double, step: Double, topCode: Double) -> Double {
    // Adding and taking away 1.5·2^52 rounds half to even, as below 2^51 there are no halves left;
    // cheaper than a call of rint on processors before SSE 4.1.
    let rounder = 6_755_399_441_055_744.0
    let cube = step * step * step
    func integral(_ border: Int) -> Double {
      let x = Double(border) * width
      let k = min((x / step + rounder) - rounder, topCode)
      let d = x - k * step
      return k * cube / 12 + d * d * d / 3
    }
    var total = 0.0
    var previous = (border: -1, value: 0.0)
    for (index, count) in bins {
      let lower = previous.border == index ? previous.value : integral(index)
      let upper = integral(index + 1)
      total += count * ((upper - lower) / width)
      previous = (index + 1, upper)
    }
    return total
  }
}
