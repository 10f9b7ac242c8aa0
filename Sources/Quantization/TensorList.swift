// SPDX-License-Identifier: Apache-2.0
// Quantization: the file that tells `observe` which tensors to watch.

public import Artifacts
public import Diagnostics
public import ONNXModel

/// `tensors.json`: the activations to observe and the layers that read them.
public struct TensorList: JSONArtifact, Equatable {
  /// The name of the format.
  public static let format = "quench.tensors"
  /// The version of the format.
  public static let version = 1

  /// SHA-256 of the folded model, 64 hexadecimal digits.
  public var model: String
  /// The tensors that quantizable layers read, each once, in the order of their first reading.
  public var tensors: [String]
  /// The layers, in the order of the model's nodes.
  public var layers: [QuantizableLayer]

  /// Makes a list from its parts.
  public init(model: String, tensors: [String], layers: [QuantizableLayer]) {
    self.model = model
    self.tensors = tensors
    self.layers = layers
  }

  /// Lists what a folded model needs observed.
  ///
  /// - Parameter digest: SHA-256 of the model's file, as hexadecimal digits.
  /// - Throws: what `OperatorRules.layers` throws; `.data`, naming the operator at fault, when the
  ///   shape of a tensor that a layer reads or makes cannot be inferred.
  public static func make(for model: Model, digest: String) throws(QuenchError) -> TensorList {
    let layers = try OperatorRules.layers(of: model)
    let types = try ShapeInference.infer(model, inputs: [:])
    for tensor in layers.flatMap({ [$0.input, $0.output] }) where types[tensor] == nil {
      throw ShapeInference.missing(tensor, in: model, types: types)
    }
    var seen: Set<String> = []
    let tensors = layers.map(\.input).filter { seen.insert($0).inserted }
    return TensorList(model: digest, tensors: tensors, layers: layers)
  }
}
