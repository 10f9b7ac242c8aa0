// SPDX-License-Identifier: Apache-2.0
// Quantization: a layer that can be computed in INT8.

/// The kinds of layers, by the names that `calibration.cfg` uses.
public enum LayerKind: String, Sendable, Codable, CaseIterable {
  /// Conv of any rank and group, depthwise included.
  case convolution = "Convolution"
  /// ConvTranspose.
  case deconvolution = "Deconvolution"
  /// Gemm, and MatMul with a constant matrix.
  case fullConnection = "FullConnection"
  /// MatMul of two computed tensors. Recognized in files, never quantized by this version.
  case matMul = "MatMul"
}

/// A layer whose input and weight can be INT8: Conv, ConvTranspose, Gemm or MatMul with a constant.
///
/// A MatMul and the Add of a constant vector that follows it are one layer.
public struct QuantizableLayer: Sendable, Equatable, Codable {
  /// The node's name, unique in the model.
  public var name: String
  /// The node's ONNX operator.
  public var opType: String
  /// What `calibration.cfg` calls the operator.
  public var kind: LayerKind
  /// The activation that the layer reads, the tensor that gets a quantizer.
  public var input: String
  /// The initializer that holds the weights.
  public var weight: String
  /// The initializer that holds the bias: one number per output channel, added to the result.
  public var bias: String?
  /// The name of the Add that adds `bias`, when the operator has no bias input of its own.
  public var biasNode: String?
  /// The tensor that the layer (with its `biasNode`) produces.
  public var output: String
  /// The weight's axis of output channels.
  ///
  /// Conv 0; ConvTranspose 1 (`[C_in, C_out / group, …]`); Gemm 0 with `transB`, else 1; MatMul 1.
  public var channelAxis: Int
  /// Output channels, over all groups.
  public var channels: Int
  /// Products that are summed into one output: `K` of the accumulator's headroom.
  public var reductionLength: Int
  /// Multiply-accumulates of one sample.
  public var macs: Int
  /// Groups of a convolution, 1 for all others.
  public var group: Int

  /// Makes a layer's description; see the properties.
  public init(
    name: String, opType: String, kind: LayerKind, input: String, weight: String, bias: String?,
    biasNode: String?, output: String, channelAxis: Int, channels: Int, reductionLength: Int,
    macs: Int, group: Int
  ) {
    self.name = name
    self.opType = opType
    self.kind = kind
    self.input = input
    self.weight = weight
    self.bias = bias
    self.biasNode = biasNode
    self.output = output
    self.channelAxis = channelAxis
    self.channels = channels
    self.reductionLength = reductionLength
    self.macs = macs
    self.group = group
  }
}
