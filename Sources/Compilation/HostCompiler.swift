// SPDX-License-Identifier: Apache-2.0
// Compilation: a QDQ model into an OM container that the CPU can execute.

public import Diagnostics
internal import FoundationEssentials
public import ONNXModel
internal import SwiftProtobuf
internal import Tensors

/// Writes the OM container without Huawei's compiler: for development and for tests.
///
/// The graph is that of the QDQ model, in Ascend's operator names, with INT8 weights and INT32
/// biases as they are there. Weights of layers that stay float, which the target computes in FP16,
/// are stored as float16, so that executing the file shows the rounding of FP16 *weights*; the
/// arithmetic of such layers on the CPU is float32, and so are constants of other operators (a bias
/// that an Add brings to a MatMul, for example). Nothing in the file runs on a device, and the
/// header, the model's attributes and every summary say so.
public enum HostCompiler {
  /// Compiles a model.
  ///
  /// - Parameters:
  ///   - qdq: weights as INT8 initializers behind DequantizeLinear, biases as INT32 ones,
  ///     QuantizeLinear and DequantizeLinear on activations; layers without them are FP16 layers.
  ///   - soc: named in the file; checked by name only, since there is no device code.
  ///   - name: the model's name; the header holds its first 31 bytes.
  /// - Returns: equal models give equal files.
  /// - Throws: `.data` for control flow, values without a shape, and weights that are not finite.
  public static func compile(qdq: Model, soc: SoC, name: String) throws(QuenchError) -> OMFile {
    var builder = try HostGraphBuilder(qdq)
    try builder.build()
    let weights = builder.pool.bytes

    var definition = OMModelDef()
    definition.name = name
    definition.version = 1
    definition.graph = [builder.graph(named: name)]
    definition.attr = [
      HostFormat.mark: .text(HostFormat.markText),
      HostFormat.versionKey: .integer(HostFormat.version),
      HostFormat.irVersion: .integer(qdq.irVersion),
      HostFormat.opsets: .texts(
        qdq.opsets.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }),
      "soc_version": .text(soc.name),
      "framework_type": .text("Onnx"),
      "atc_cmdline": .text("quench compile --compiler host --soc \(soc.name)"),
      "weight_size": .integer(Int64(weights.count)),
      "om_info_list": .integers([Int64(weights.count), 0, 0, 0, 0]),
      "attr_model_out_nodes_name": .texts(qdq.graph.outputs.map { "\($0.name):0" }),
    ]
    let header = OMHeader.cann2(
      name: name, userInfo: HostFormat.headerMark,
      platformVersion: "\(HostFormat.platformMark)-\(HostFormat.version)")
    return OMFile(
      header: header,
      models: [
        OMFile.OMModel(partitions: [
          OMFile.Partition(
            type: PartitionType.inputsAndOutputs.rawValue, bytes: builder.interface.encode()),
          OMFile.Partition(
            type: PartitionType.modelDefinition.rawValue, bytes: try serialized(definition)),
          OMFile.Partition(type: PartitionType.weights.rawValue, bytes: weights),
        ])
      ])
  }

  private static func serialized(_ definition: OMModelDef) throws(QuenchError) -> [UInt8] {
    // Maps have no order of their own; this option gives them one.
    var options = BinaryEncodingOptions()
    options.useDeterministicOrdering = true
    do {
      return try definition.serializedBytes(options: options)
    } catch {
      throw QuenchError(.data, "the model's graph is too large for an OM file", because: error)
    }
  }
}

/// The WEIGHTS_DATA partition as it grows.
struct WeightPool {
  private(set) var bytes: [UInt8] = []

  /// A tensor for an attribute: its bytes go into the partition unless they are few.
  mutating func store(_ tensor: Tensor) -> OMTensorDef {
    var result = OMTensorDef()
    result.desc.dtype = OMDataType(tensor.elementType)
    result.desc.shape.dim = tensor.shape.map(Int64.init)
    if tensor.bytes.count <= HostFormat.inlineLimit {
      result.data = Data(tensor.bytes)
    } else {
      let gap = bytes.count % HostFormat.alignment
      if gap > 0 { bytes += [UInt8](repeating: 0, count: HostFormat.alignment - gap) }
      result.desc.dataOffset = Int64(bytes.count)
      result.desc.weightSize = Int64(tensor.bytes.count)
      bytes += tensor.bytes
    }
    return result
  }
}

extension WeightPool {
  /// The same values in float16, rounded to nearest even; values beyond its range become the
  /// largest finite one, as atc clips weights by default (`--is_weight_clip=1`).
  ///
  /// - Throws: `.data` when a value is NaN or infinite.
  static func halved(_ tensor: Tensor, name: String) throws(QuenchError) -> Tensor {
    var codes: [UInt16] = []
    codes.reserveCapacity(tensor.count)
    for value in tensor.floats {
      guard value.isFinite else {
        throw QuenchError(
          .data, "a weight of the FP16 layer is \(value)", at: .tensor(name),
          try: "repair the model: its weights must be finite")
      }
      let largest = Float(Float16.greatestFiniteMagnitude)
      codes.append(Float16(min(largest, max(-largest, value))).bitPattern)
    }
    return Tensor(.float16, shape: tensor.shape, values: codes)
  }
}
