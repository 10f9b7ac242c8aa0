// SPDX-License-Identifier: Apache-2.0
// Quantization: float weights in, INT8 weights out.

public import Calibration
public import Diagnostics
public import ONNXModel
public import Tensors

/// Symmetric INT8 weights, codes −127…127, zero point 0.
public enum WeightQuantizer {
  /// No channel's scale is below this share of the largest one's, so that a dead channel's noise
  /// does not get a scale of its own kind.
  public static let smallestScaleShare = 0x1p-20

  /// The scales of every layer's weight: largest magnitude ÷ 127, in double, rounded once.
  ///
  /// An all-zero channel (or weight) gets 1. A weight that layers read along different axes, or
  /// under different plans, gets one scale for all.
  /// - Returns: scales by the initializer's name.
  /// - Throws: `.data` when a weight holds NaN or an infinity.
  public static func scales(
    for layers: [QuantizableLayer], in model: Model, plan: WeightPlan
  ) throws(QuenchError) -> [String: WeightScale] {
    let weights = Dictionary(
      model.graph.initializers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    var axes: [String: Int?] = [:]
    for layer in layers {
      let axis = plan.isPerChannel(layer.kind) ? layer.channelAxis : nil
      if let other = axes[layer.weight], other != axis {
        axes[layer.weight] = .some(nil)
      } else {
        axes[layer.weight] = .some(axis)
      }
    }
    var scales: [String: WeightScale] = [:]
    for (name, axis) in axes.sorted(by: { $0.key < $1.key }) {
      guard let weight = weights[name] else {
        throw QuenchError(.data, "the weight \"\(name)\" is not in the model", at: .tensor(name))
      }
      scales[name] = try scale(of: weight.tensor(), axis: axis, name: name)
    }
    return scales
  }

  /// The scales of one weight.
  ///
  /// - Parameters:
  ///   - weight: float32, any shape.
  ///   - axis: the channel axis; nil for one scale.
  ///   - name: the initializer, for messages.
  /// - Throws: `.data` when the weight holds NaN or an infinity.
  public static func scale(
    of weight: Tensor, axis: Int?, name: String
  ) throws(QuenchError) -> WeightScale {
    let largest = largestMagnitudes(of: weight, axis: axis)
    guard largest.allSatisfy(\.isFinite) else {
      throw QuenchError(
        .data, "the weight \"\(name)\" holds NaN or an infinity", at: .tensor(name))
    }
    let floor = Double(largest.max() ?? 0) / 127 * smallestScaleShare
    let scales = largest.map { magnitude -> Float in
      guard magnitude > 0 else { return 1 }
      // A scale below the normal range loses bits in the division; the product with the
      // activation's scale would vanish.
      return max(Float(max(Double(magnitude) / 127, floor)), .leastNormalMagnitude)
    }
    return WeightScale(axis: axis, scales: scales, type: "int8")
  }

  /// The codes of a weight: `clamp(rint(w / s))`, float32 division, half to even.
  ///
  /// - Parameters:
  ///   - weight: float32.
  ///   - scale: one scale, or one per index of its axis.
  /// - Returns: an int8 tensor of the same shape.
  /// - Throws: `.data` when the number of scales does not fit the weight.
  public static func quantize(
    _ weight: Tensor, scale: WeightScale
  ) throws(QuenchError) -> Tensor {
    let layout = ChannelLayout(shape: weight.shape, axis: scale.axis)
    guard scale.scales.count == layout.channels else {
      throw QuenchError(
        .data,
        "\(scale.scales.count) weight scales for \(layout.channels) channels of a weight of shape "
          + "\(weight.shape)")
    }
    var codes = [Int8](repeating: 0, count: weight.count)
    weight.withElements(as: Float.self) { values in
      codes.withUnsafeMutableBufferPointer { codes in
        layout.forEachRun { channel, range in
          let step = scale.scales[channel]
          for index in range {
            // Clamped first, which gives the same codes since both limits are whole numbers; then
            // adding and taking away 1.5·2^23 rounds half to even in plain float32 arithmetic.
            let clamped = max(-127, min(127, values[index] / step))
            codes[index] = Int8(truncatingIfNeeded: Int32((clamped + 12_582_912) - 12_582_912))
          }
        }
      }
    }
    return Tensor(.int8, shape: weight.shape, values: codes)
  }

  /// The largest magnitude of each channel; infinite when it holds NaN.
  static func largestMagnitudes(of weight: Tensor, axis: Int?) -> [Float] {
    let layout = ChannelLayout(shape: weight.shape, axis: axis)
    var largest = [Float](repeating: 0, count: layout.channels)
    weight.withElements(as: Float.self) { values in
      layout.forEachRun { channel, range in
        var most = largest[channel]
        for index in range {
          let magnitude = values[index].magnitude
          most = magnitude > most ? magnitude : most
          if magnitude.isNaN { most = .infinity }
        }
        largest[channel] = most
      }
    }
    return largest
  }
}

/// How the channels of an axis lie in a row-major tensor.
struct ChannelLayout {
  let outer: Int
  let channels: Int
  let inner: Int

  init(shape: [Int], axis: Int?) {
    guard let axis, shape.indices.contains(axis) else {
      outer = 1
      channels = 1
      inner = shape.reduce(1, *)
      return
    }
    outer = shape[..<axis].reduce(1, *)
    channels = shape[axis]
    inner = shape[(axis + 1)...].reduce(1, *)
  }

  /// Lends each run of neighboring elements of one channel, in memory order.
  func forEachRun(_ body: (_ channel: Int, _ range: Range<Int>) -> Void) {
    var start = 0
    for _ in 0..<outer {
      for channel in 0..<channels {
        body(channel, start..<(start + inner))
        start += inner
      }
    }
  }
}
