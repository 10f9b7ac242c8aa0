// SPDX-License-Identifier: Apache-2.0
// Compilation: which Ascend operator an ONNX node becomes.

internal import ONNXModel

/// The names of operators in Ascend's intermediate representation.
///
/// Source: the operator information of the 310P in CANN 8.1 and the operator prototypes.
enum AscendOperators {
  static let quantize = "AscendQuant"
  static let dequantize = "AscendAntiQuant"

  /// The ONNX operators whose weights are quantised or rounded.
  static let layers: Set<String> = ["Conv", "ConvTranspose", "Gemm", "MatMul"]

  /// The Ascend operator; the ONNX name where the mapping is not established.
  ///
  /// - Parameters:
  ///   - weight: shape of input 1; nil when it is computed.
  ///   - isInteger: whether the layer runs in INT8.
  static func type(of node: Node, weight: [Int]?, isInteger: Bool) -> String {
    switch node.opType {
    case "Conv":
      guard let weight else { return node.opType }
      switch weight.count {
      case 4:
        // ONNX weights are [Cout, Cin / group, H, W].
        let group = node.int("group", default: 1)
        return group > 1 && weight[0] == group && weight[1] == 1 ? "DepthwiseConv2D" : "Conv2D"
      case 5: return "Conv3D"
      default: return node.opType
      }
    // The 310P has no INT8 kernel for Conv2DTranspose; Deconvolution has one.
    case "ConvTranspose": return isInteger ? "Deconvolution" : "Conv2DTranspose"
    case "Gemm": return "MatMulV2"
    case "MatMul": return weight?.count == 2 ? "MatMulV2" : "BatchMatMulV2"
    case "AveragePool": return "AvgPoolV2"
    case "MaxPool": return "MaxPoolV3"
    default: return node.opType
    }
  }
}
