// SPDX-License-Identifier: Apache-2.0
// Tensors: affine 8-bit quantisation. The numbers 127, 255 and the rounding rule live here only.

/// Which 8-bit codes a tensor uses.
public enum CodeRange: String, Sendable, Codable {
  /// Activations on Ascend and in our QDQ models: −128…127 with a zero point.
  case int8
  /// Weights: −127…127, zero point 0. Mirror-symmetric, so no 128·128 in 16-bit pair sums.
  case int8Symmetric

  /// The smallest code.
  public var minimum: Int32 { self == .int8 ? -128 : -127 }
  /// The largest code.
  public var maximum: Int32 { 127 }
}

/// An affine quantiser: `q = clamp(rint(x / scale) + zeroPoint)`, `x̂ = (q − zeroPoint) · scale`.
///
/// Rounding is half to even and the division is a float32 division, as ONNX's QuantizeLinear does
/// it, so that codes agree at ties.
public struct Scale: Sendable, Equatable, Codable {
  /// Step size in tensor units per code, > 0 and finite.
  public var scale: Float
  /// The code of real zero, within `range`.
  public var zeroPoint: Int32
  /// The codes in use.
  public var range: CodeRange

  /// Makes a quantiser from its parts.
  public init(scale: Float, zeroPoint: Int32, range: CodeRange = .int8) {
    self.scale = scale
    self.zeroPoint = zeroPoint
    self.range = range
  }

  /// The affine quantiser whose 256 codes span `low…high`, widened to hold zero.
  ///
  /// Thresholds are doubles, divided in double, rounded to float32 once. All-zero ranges and
  /// scales too small for a normal float32 give scale 1 (every value is then code `zeroPoint`).
  public static func affine(low: Double, high: Double) -> Scale {
    let (step, zeroPoint) = affineGrid(low: low, high: high)
    let scale = Float(step)
    guard scale.isFinite, scale >= Float.leastNormalMagnitude else {
      return Scale(scale: 1, zeroPoint: CodeRange.int8.minimum)
    }
    return Scale(scale: scale, zeroPoint: zeroPoint)
  }

  /// The grid of `affine` before its step is rounded to float32; searches compare these.
  ///
  /// - Returns: the step, 0 for an all-zero range, and the code of zero, −128…127.
  public static func affineGrid(low: Double, high: Double) -> (step: Double, zeroPoint: Int32) {
    let low = min(low, 0)
    let high = max(high, 0)
    let codes = CodeRange.int8
    let step = (high - low) / Double(codes.maximum - codes.minimum)
    guard step > 0 else { return (0, codes.minimum) }
    // Rounded before the offset is added: the sum would round a second time.
    let belowZero = (-low / step).rounded(.toNearestOrEven)
    let most = Double(codes.maximum - codes.minimum)
    return (step, codes.minimum + Int32(min(most, max(0, belowZero))))
  }

  /// The symmetric quantiser that maps `threshold` to code 127.
  public static func symmetric(threshold: Double, range: CodeRange = .int8) -> Scale {
    let scale = Float(threshold / Double(range.maximum))
    guard scale.isFinite, scale >= Float.leastNormalMagnitude else {
      return Scale(scale: 1, zeroPoint: 0, range: range)
    }
    return Scale(scale: scale, zeroPoint: 0, range: range)
  }

  /// The code of a value. NaN gives the zero point: callers refuse NaN before.
  public func quantize(_ value: Float) -> Int8 {
    let rounded = (value / scale).rounded(.toNearestOrEven)
    guard !rounded.isNaN else { return Int8(zeroPoint) }
    // Clamped as float first: an infinity or a huge value must saturate, not trap.
    let code = min(max(rounded, -65_536), 65_536) + Float(zeroPoint)
    return Int8(min(max(code, Float(range.minimum)), Float(range.maximum)))
  }

  /// The value of a code.
  public func dequantize(_ code: Int8) -> Float {
    Float(Int32(code) - zeroPoint) * scale
  }
}
