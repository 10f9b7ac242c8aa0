// SPDX-License-Identifier: Apache-2.0
// The integer arithmetic that the device is to do, in the plainest form.

import Calibration
import Quantization
import Tensors

/// A float tensor `[C, H, W]`, or `[C]` as `[C, 1, 1]`.
struct Map {
  var values: [Float]
  var shape: [Int]

  subscript(_ c: Int, _ y: Int, _ x: Int) -> Float? {
    guard y >= 0, x >= 0, y < shape[1], x < shape[2] else { return nil }
    return values[(c * shape[1] + y) * shape[2] + x]
  }
}

/// Computes one INT8 layer: codes in, sums and bias in 64-bit integers, one product at the end.
struct Simulation {
  var layer: QuantizedLayer
  var weight: QuantizedWeight

  init(_ model: QuantizedModel, _ name: String) {
    layer = model.layers.first { $0.layer.name == name } ?? model.layers[0]
    weight = model.weights[layer.weight]
  }

  /// A Conv with stride 1 and `pad` zeros on each side; weights `[O, I / group, K, K]`.
  func convolve(_ map: Map, pad: Int) -> Map {
    let shape = weight.codes.shape
    let codes = weight.codes.values(as: Int8.self)
    let (rows, columns) = (map.shape[1], map.shape[2])
    var result = Map(values: [], shape: [shape[0], rows, columns])
    for o in 0..<shape[0] {
      let first = o / (shape[0] / layer.layer.group) * shape[1]
      for y in 0..<rows {
        for x in 0..<columns {
          var sum: Int64 = 0
          for i in 0..<shape[1] {
            for ky in 0..<shape[2] {
              for kx in 0..<shape[3] {
                // Padding is real zero, whose code less the zero point is 0.
                guard let value = map[first + i, y + ky - pad, x + kx - pad] else { continue }
                let code = codes[((o * shape[1] + i) * shape[2] + ky) * shape[3] + kx]
                sum += centered(value) * Int64(code)
              }
            }
          }
          result.values.append(finish(sum, channel: o))
        }
      }
    }
    return result
  }

  /// A Gemm whose weight has the shape `[O, I]`, or `[I, O]` when `isTransposed`.
  func multiply(_ vector: [Float], isTransposed: Bool = false) -> [Float] {
    let codes = weight.codes.values(as: Int8.self)
    let outputs = layer.layer.channels
    return (0..<outputs).map { o in
      var sum: Int64 = 0
      for (i, value) in vector.enumerated() {
        let code = codes[isTransposed ? i * outputs + o : o * vector.count + i]
        sum += centered(value) * Int64(code)
      }
      return finish(sum, channel: o)
    }
  }

  private func centered(_ value: Float) -> Int64 {
    Int64(layer.activation.quantize(value)) - Int64(layer.activation.zeroPoint)
  }

  private func finish(_ sum: Int64, channel: Int) -> Float {
    let total = sum + Int64(layer.bias?[channel] ?? 0)
    let scales = layer.outputScales
    return Float(Double(total) * Double(scales.count == 1 ? scales[0] : scales[channel]))
  }
}
