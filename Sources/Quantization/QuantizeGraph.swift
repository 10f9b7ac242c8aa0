// SPDX-License-Identifier: Apache-2.0
// Quantization: a float model in, a quantized model out.

public import Calibration
public import Diagnostics
public import ONNXModel

/// Writes a quantized model in one of its two forms.
///
/// `QuantizedModel.resolve` gives both, the record file and the warnings from one computation;
/// these are shortcuts for one form alone.
public enum QuantizeGraph {
  /// The QDQ model: runs in ONNX Runtime and shows what the device will compute.
  ///
  /// Only the inputs of INT8 layers are quantized; all other operators and all FP16 layers read
  /// the float tensor. Weights and biases are integer constants behind a DequantizeLinear.
  /// - Throws: what `QuantizedModel.resolve` throws.
  public static func qdq(
    _ model: Model, config: CalibrationConfig, scales: ScaleTable
  ) throws(QuenchError) -> Model {
    try QuantizedModel.resolve(model, config: config, scales: scales).qdq()
  }

  /// The deploy model for `atc`: AscendQuant and AscendDequant around integer layers.
  ///
  /// - Throws: what `QuantizedModel.resolve` throws.
  public static func deploy(
    _ model: Model, config: CalibrationConfig, scales: ScaleTable
  ) throws(QuenchError) -> Model {
    try QuantizedModel.resolve(model, config: config, scales: scales).deploy()
  }
}
