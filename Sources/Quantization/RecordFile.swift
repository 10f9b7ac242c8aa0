// SPDX-License-Identifier: Apache-2.0
// Quantization: record.txt, the quantization factors as Huawei's AMCT writes them.

internal import Calibration
internal import Tensors

/// Writes a record file: protobuf text of `ScaleOffsetRecord`, one `record` an INT8 layer.
///
/// Source of fields and limits: `scale_offset_record.proto` of Huawei's AMCT.
public enum RecordFile {
  /// The file's bytes. Layers that stay FP16 have no record.
  ///
  /// - Parameter quantized: layers with their scales, after any widening for a bias.
  public static func encode(_ quantized: QuantizedModel) -> [UInt8] {
    var text = ""
    for layer in quantized.layers {
      let weightScales = expanded(layer, quantized.weights[layer.weight].scale.scales)
      text += "record {\n"
      text += "  key: \"\(escaped(layer.layer.name))\"\n"
      text += "  value {\n"
      text += "    scale_d: \(layer.activation.scale)\n"
      text += "    offset_d: \(layer.activation.zeroPoint)\n"
      for scale in weightScales { text += "    scale_w: \(scale)\n" }
      for _ in weightScales { text += "    offset_w: 0\n" }
      text += "    skip_fusion: false\n"
      text += "  }\n"
      text += "}\n"
    }
    return Array(text.utf8)
  }

  /// One scale, or one per output channel over all groups.
  private static func expanded(_ layer: QuantizedLayer, _ scales: [Float]) -> [Float] {
    guard scales.count > 1 else { return scales }
    return (0..<layer.layer.channels).map { scales[$0 % scales.count] }
  }

  /// A string as protobuf's text format quotes it: quotes and backslashes escaped, all that is
  /// not printable ASCII in octal.
  private static func escaped(_ name: String) -> String {
    var text = ""
    for byte in name.utf8 {
      switch byte {
      case UInt8(ascii: "\""): text += "\\\""
      case UInt8(ascii: "\\"): text += "\\\\"
      case 0x20...0x7e: text.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        let digits = String(byte, radix: 8)
        text += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
      }
    }
    return text
  }
}
