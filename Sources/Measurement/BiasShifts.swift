// SPDX-License-Identifier: Apache-2.0
// Measurement: the result of bias correction, and the model that holds it.

public import Diagnostics
public import ONNXModel
internal import Quantization
internal import Tensors

/// What is to be added to the biases of each layer.
public struct BiasShifts: Sendable {
  /// Layer names in the model's order, each with one number per output channel in units of the
  /// layer's output.
  public var layers: [(name: String, shift: [Float])] = []

  /// No shifts.
  public init() {}

  /// The folded model with corrected float biases, from which the quantised models are then made.
  ///
  /// Each corrected layer gets a bias of its own: one that several layers shared in the file would
  /// be wrong for all but one. A layer without a bias gets one; for a MatMul that is an Add.
  /// - Throws: `.data` when a layer is not in the model.
  public func applied(to model: Model) throws(QuenchError) -> Model {
    var result = model
    let known = try OperatorRules.layers(of: model)
    for (name, shift) in layers {
      guard let layer = known.first(where: { $0.name == name }),
        let index = result.graph.nodes.firstIndex(where: {
          $0.name == name && $0.opType == layer.opType
        })
      else {
        throw QuenchError(.data, "the model has no layer \"\(name)\"", at: .node(name))
      }
      let bias = "\(name)/corrected_bias"
      let old = try layer.bias.flatMap { result.graph.initializer($0) }?.tensor().floats
      let sums = shift.indices.map { channel in
        Float(Double(old?[channel] ?? 0) + Double(shift[channel]))
      }
      result.graph.setInitializer(Initializer(bias, Tensor(floats: sums, shape: [sums.count])))
      if let add = layer.biasNode {
        guard let position = result.graph.nodes.firstIndex(where: { $0.name == add }) else {
          throw QuenchError(.data, "the model has no node \"\(add)\"", at: .node(add))
        }
        result.graph.nodes[position].inputs = result.graph.nodes[position].inputs.map {
          $0 == layer.bias ? bias : $0
        }
      } else if layer.opType == "MatMul" {
        insertAdd(after: index, layer, bias, in: &result)
      } else {
        if result.graph.nodes[index].inputs.count > 2 {
          result.graph.nodes[index].inputs[2] = bias
        } else {
          result.graph.nodes[index].inputs.append(bias)
        }
      }
    }
    let read = Set(result.graph.nodes.flatMap(\.readTensors))
    let outputs = Set(result.graph.outputs.map(\.name))
    result.graph.initializers.removeAll { !read.contains($0.name) && !outputs.contains($0.name) }
    return result
  }

  private func insertAdd(
    after index: Int, _ layer: QuantizableLayer, _ bias: String, in model: inout Model
  ) {
    let product = "\(layer.name)/product"
    model.graph.nodes[index].outputs[0] = product
    model.graph.nodes.insert(
      Node(
        "Add", name: "\(layer.name)/bias", inputs: [product, bias], outputs: [layer.output]),
      at: index + 1)
    let described = (model.graph.values + model.graph.outputs).first { $0.name == layer.output }
    if var value = described {
      value.name = product
      model.graph.values.append(value)
    }
  }
}
