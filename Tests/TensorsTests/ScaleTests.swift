// SPDX-License-Identifier: Apache-2.0
// Golden values: from a slow independent implementation of the same definitions in numpy.

import Tensors
import Testing

@Suite("scale")
struct ScaleTests {
  @Test(
    "a range gives the step and zero point of the table",
    arguments: [
      (-1.0, 1.0, 0x1.010102p-7, 0), (0, 6, 0x1.818182p-6, -128), (0.5, 6, 0x1.818182p-6, -128),
      (-6, -0.5, 0x1.818182p-6, 127), (-0.375, 7, 0x1.d9d9dap-6, -115),
      (-1, 3, 0x1.010102p-6, -64), (-0.001, 1, 0x1.0142ccp-8, -128),
      (-1, 0.001, 0x1.0142ccp-8, 127), (0, 0, 1, -128), (-127.5, 127.5, 1, 0),
      (-0.5, 254.5, 1, -128),
    ] as [(Double, Double, Float, Int32)])
  func affine(low: Double, high: Double, scale: Float, zeroPoint: Int32) {
    let found = Scale.affine(low: low, high: high)
    #expect(found.scale == scale)
    #expect(found.zeroPoint == zeroPoint)
    #expect(found.range == .int8)
  }

  @Test("a grid is the affine scale before rounding")
  func grid() {
    let grid = Scale.affineGrid(low: -0.375, high: 7)
    #expect(grid.step == 7.375 / 255)
    #expect(grid.zeroPoint == -115)
    #expect(Scale.affineGrid(low: 0, high: 0).step == 0)
  }

  // x, code of −127…127, code of −128…127; step 0.5, so every quarter is a tie.
  @Test(
    "codes are rounded half to even and saturate",
    arguments: [
      (0.25, 0, 0), (0.75, 2, 2), (1.25, 2, 2), (1.75, 4, 4), (-0.25, 0, 0), (-0.75, -2, -2),
      (-1.25, -2, -2), (63.25, 126, 126), (63.5, 127, 127), (63.75, 127, 127), (64, 127, 127),
      (-63.25, -126, -126), (-63.5, -127, -127), (-63.75, -127, -128), (-64, -127, -128),
      (-64.25, -127, -128), (1e30, 127, 127), (-1e30, -127, -128), (0, 0, 0), (-0.0, 0, 0),
      (.infinity, 127, 127), (-.infinity, -127, -128),
    ] as [(Float, Int8, Int8)])
  func codes(x: Float, narrow: Int8, full: Int8) {
    #expect(Scale(scale: 0.5, zeroPoint: 0, range: .int8Symmetric).quantize(x) == narrow)
    #expect(Scale(scale: 0.5, zeroPoint: 0, range: .int8).quantize(x) == full)
  }

  @Test("weight channels get their largest magnitude over 127")
  func weights() {
    // Four channels of 64 sums of twelve draws of a linear congruential generator (Knuth's MMIX
    // constants, seed 10): as drawn, times 2^-10, with one weight of 40, all zero.
    var state: UInt64 = 10
    var channels = (0..<4).map { _ in
      (0..<64).map { _ in
        let sum = (0..<12).reduce(-6 << 24) { sum, _ in
          state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          return sum + Int(state >> 40)
        }
        return Float(sum) / 16_777_216
      }
    }
    channels[1] = channels[1].map { $0 / 1024 }
    channels[2][5] = 40
    channels[3] = channels[3].map { _ in 0 }
    let steps: [Float] = [0x1.8bf956p-6, 0x1.6559acp-16, 0x1.42850ap-2, 1]
    for (channel, step) in zip(channels, steps) {
      let largest = Double(channel.map(\.magnitude).max() ?? 0)
      #expect(
        Scale.symmetric(threshold: largest, range: .int8Symmetric)
          == Scale(scale: step, zeroPoint: 0, range: .int8Symmetric))
    }
  }

  @Test("the division is float32's, not a multiplication by the reciprocal")
  func division() {
    // Of these inputs near ties, ONNX Runtime's QuantizeLinear gives the quotient's code.
    let scale = Scale(scale: 0.023456, zeroPoint: 0)
    var differing = 0
    for code in -127...126 {
      let x = (Float(code) + 0.5) * scale.scale
      let expected = (x / scale.scale).rounded(.toNearestOrEven)
      #expect(Float(scale.quantize(x)) == expected)
      if (x * (1 / scale.scale)).rounded(.toNearestOrEven) != expected { differing += 1 }
    }
    #expect(differing > 0)
  }

  @Test("zero is exact, whatever the range")
  func zero() {
    for (low, high) in [(-3.0, 1.0), (0, 1e-20), (-7, -2), (5, 6), (-1e30, 1e-30)] {
      let scale = Scale.affine(low: low, high: high)
      #expect(scale.dequantize(scale.quantize(0)) == 0)
      #expect((scale.range.minimum...scale.range.maximum).contains(scale.zeroPoint))
    }
  }

  @Test("ranges too small for a normal step give step 1")
  func tooSmall() {
    #expect(Scale.affine(low: 0, high: 1e-40) == Scale(scale: 1, zeroPoint: -128))
    #expect(Scale.symmetric(threshold: 1e-40) == Scale(scale: 1, zeroPoint: 0))
  }

  @Test("values in range come back within half a step")
  func roundTrip() {
    let scale = Scale.affine(low: -0.7, high: 2.3)
    for index in 0...3000 {
      let x = -0.7 + Float(index) / 1000
      // A little above half: x/s and the product are rounded to float32 too.
      #expect(abs(scale.dequantize(scale.quantize(x)) - x) <= scale.scale * 0.50001)
    }
  }
}
