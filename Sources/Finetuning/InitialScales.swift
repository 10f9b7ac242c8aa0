// SPDX-License-Identifier: Apache-2.0
// Finetuning: 8-bit scales turned into those of fewer bits.

internal import Calibration
internal import Tensors

/// The scales with which training starts.
enum InitialScales {
  /// The same range in fewer codes.
  ///
  /// - Returns: the step and the code of zero among −2^(b−1)...2^(b−1) − 1.
  static func activation(_ scale: Scale, bits: Int) -> (scale: Float, zeroPoint: Int) {
    guard bits < 8 else { return (scale.scale, Int(scale.zeroPoint)) }
    let steps = Double((1 << bits) - 1)
    let belowZero = (Double(scale.zeroPoint) + 128) * steps / 255
    return (
      Float(Double(scale.scale) * 255 / steps),
      Int(belowZero.rounded(.toNearestOrEven)) - (1 << (bits - 1))
    )
  }

  /// For fewer than 8 bits the step with the least squared error among 40, since clipping a few
  /// weights costs less than coarse steps for all.
  static func weights(_ values: [Float], shape: [Int], _ scale: WeightScale, bits: Int) -> [Float] {
    guard bits < 8 else { return scale.scales }
    let high = Float((1 << (bits - 1)) - 1)
    let axis = scale.axis
    let inner = axis.map { shape[($0 + 1)...].reduce(1, *) } ?? values.count
    let channels = scale.scales.count
    // One pass a channel: elements with the same channel lie `inner` together.
    return (0..<channels).map { channel in
      let largest = scale.scales[channel] * 127 / high
      var best = (error: Double.infinity, scale: largest)
      for step in 1...40 {
        let candidate = largest * (0.2 + 0.02 * Float(step))
        var error = 0.0
        var start = channel * inner
        while start < values.count {
          for index in start..<(start + inner) {
            let clamped = max(-high, min(high, values[index] / candidate))
            let code = (clamped + 12_582_912) - 12_582_912
            let difference = Double(values[index] - code * candidate)
            error += difference * difference
          }
          start += channels * inner
        }
        if error < best.error { best = (error, candidate) }
      }
      return best.scale
    }
  }
}
