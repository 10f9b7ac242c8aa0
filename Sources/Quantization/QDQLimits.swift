// SPDX-License-Identifier: Apache-2.0
// Quantization: limits in front of a quantizer, in the form that ONNX Runtime takes.

internal import Calibration
internal import ONNXModel
internal import Tensors

/// The Clips that a quantizer makes redundant, though it reaches a little further than they do.
///
/// ONNX Runtime (1.28, `ORT_ENABLE_EXTENDED` and above, so by default) drops a Clip whose limits lie
/// outside the quantizer's range, and takes one whose limits have the codes of that range for
/// redundant in its selection of integer layers. Between the two, limits less than half a step
/// inside the range, it makes a second node of the layer's name and refuses its own graph. With
/// limits at the ends of the range the codes are the same, and the first rule holds.
struct QDQLimits {
  /// By the Clip's result: the scale and zero point of the one quantizer that reads it.
  private var readers: [String: Scale] = [:]

  init(_ quantized: QuantizedModel) {
    let graph = quantized.model.graph
    let outputs = Set(graph.outputs.map(\.name))
    let consumers = graph.consumers()
    let layers = Dictionary(grouping: quantized.layers, by: \.layer.input)
    for node in graph.nodes where node.opType == "Clip" {
      guard let result = node.outputs.first, !outputs.contains(result),
        let reading = layers[result], let scale = reading.first?.activation,
        reading.count == consumers[result]?.count,
        reading.allSatisfy({ $0.activation == scale })
      else { continue }
      readers[result] = scale
    }
  }

  /// The limits to write instead, nil where the Clip's own do.
  ///
  /// - Parameter limits: the constant limits of the Clip that makes `result`.
  func widened(
    _ result: String, _ limits: (low: Float, high: Float)
  ) -> (low: Float?, high: Float?) {
    guard let reader = readers[result] else { return (nil, nil) }
    let (least, most) = (Float(-128 - reader.zeroPoint), Float(127 - reader.zeroPoint))
    func code(_ value: Float) -> Float { (value / reader.scale).rounded(.toNearestOrEven) }
    guard code(limits.low) <= least, code(limits.high) >= most else { return (nil, nil) }
    let (low, high) = (reader.scale * least, reader.scale * most)
    return (limits.low > low ? low : nil, limits.high < high ? high : nil)
  }
}
