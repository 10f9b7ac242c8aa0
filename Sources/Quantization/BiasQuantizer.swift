// SPDX-License-Identifier: Apache-2.0
// Quantization: float biases in, INT32 biases out, with room for the sum of products.

internal import Tensors

/// Rounds a layer's bias to INT32 at the scale of its products, `s_x · s_w`.
///
/// The bias is added to a sum of up to K products of |q_x − z| ≤ 255 and |q_w| ≤ 127, and INT32
/// wraps around silently. So a bias may only take what that sum leaves; where it needs more, the
/// channel's weight scale is widened. ONNX Runtime's tool widens likewise, without leaving room
/// for the sum (pull request 22020, factor 1.0001).
public struct BiasQuantizer {
  let layer: QuantizableLayer
  let activation: Scale

  /// What `widen` did.
  struct Widening: Equatable {
    /// Scales that were widened.
    var channels = 0
    /// Scales that were widened more than fourfold.
    var biasOnly = 0
    /// The largest widening.
    var largestFactor: Float = 1
  }

  /// The largest sum of products.
  private var largestSum: Double { Double(layer.reductionLength) * 255 * 127 }

  /// Whether the sum of products alone can pass INT32.
  var canOverflow: Bool { largestSum > 0x1p31 - 1 }

  /// The largest magnitude of an integer bias.
  ///
  /// When the sum alone can pass INT32 no bias is safe; a few bits are left to it nonetheless.
  var limit: Double { max(0x1p31 - 1 - largestSum, 0x1p24) }

  /// `s_x · s_w`, float32 products: one for a single weight scale, else one per output channel.
  func outputScales(_ weightScales: [Float]) -> [Float] {
    guard weightScales.count > 1 else { return weightScales.map { activation.scale * $0 } }
    return (0..<layer.channels).map { channel in
      activation.scale * weightScales[channel % weightScales.count]
    }
  }

  /// Widens weight scales until every bias fits, and until products of scales are normal numbers.
  ///
  /// - Parameters:
  ///   - weightScales: one, or one per index of the weight's channel axis. With groups of a
  ///     ConvTranspose an index serves one channel of each group.
  ///   - bias: one per output channel, finite.
  func widen(_ weightScales: inout [Float], for bias: [Float]) -> Widening {
    let before = weightScales
    for (channel, value) in bias.enumerated() where value != 0 {
      let index = channel % weightScales.count
      var factor = 1.0001
      while !fits(value, weightScales[index]) {
        let wanted = Double(value.magnitude) * factor / (Double(activation.scale) * limit)
        weightScales[index] = max(Float(wanted), weightScales[index])
        factor *= 1.0001
      }
    }
    var report = Widening()
    for (old, new) in zip(before, weightScales) where new > old {
      report.channels += 1
      report.biasOnly += new > 4 * old ? 1 : 0
      report.largestFactor = max(report.largestFactor, new / old)
    }
    return report
  }

  /// The integer biases.
  func quantize(_ bias: [Float], _ weightScales: [Float]) -> [Int32] {
    bias.enumerated().map { channel, value in
      guard value != 0 else { return 0 }
      let step = Double(activation.scale * weightScales[channel % weightScales.count])
      return Int32((Double(value) / step).rounded(.toNearestOrEven))
    }
  }

  /// The biases that a quantized layer adds: what `quantize` rounds, times its step.
  ///
  /// - Parameters:
  ///   - bias: one per output channel, finite.
  ///   - activationScale: the step of the layer's input.
  ///   - weightScales: one, or one per index of the weight's channel axis.
  /// - Returns: as DequantizeLinear makes them from INT32, in float32; what passes INT32 is clamped.
  public static func rounded(
    _ bias: [Float], activationScale: Float, weightScales: [Float]
  ) -> [Float] {
    bias.enumerated().map { channel, value in
      let step = activationScale * weightScales[channel % weightScales.count]
      let code = (Double(value) / Double(step)).rounded(.toNearestOrEven)
      guard code.isFinite else { return value }
      return Float(Int32(max(-0x1p31, min(0x1p31 - 1, code)))) * step
    }
  }

  private func fits(_ value: Float, _ weightScale: Float) -> Bool {
    let step = activation.scale * weightScale
    guard step >= .leastNormalMagnitude else { return false }
    return (Double(value) / Double(step)).rounded(.toNearestOrEven).magnitude <= limit
  }
}
