// SPDX-License-Identifier: Apache-2.0
// Compilation: what is Quench's own in a host-built OM file.

internal import FoundationEssentials
internal import SwiftProtobuf

/// The marks and attribute names of host-built files. Keys that CANN does not know begin with
/// `quench_`, so that its readers skip them.
enum HostFormat {
  /// Raised when old readers would misread new files.
  static let version: Int64 = 1
  /// Stands in the header, where any dump of the file shows it.
  static let headerMark = "HOST-BUILT, NO DEVICE CODE"
  /// Stands in the header where a toolkit writes its version.
  static let platformMark = "quench-host"
  /// Model attribute: says in words what the file is.
  static let mark = "quench_host_built"
  static let markText =
    "made by quench without a compiler: runs on the CPU, holds no code for any device"
  static let versionKey = "quench_host_version"
  static let irVersion = "quench_ir_version"
  /// Model attribute: list of `domain=version`.
  static let opsets = "quench_opsets"

  /// Operator attribute: the ONNX operator, where the type is another name.
  static let onnxType = "quench_onnx"
  static let domain = "quench_domain"
  /// Operator attribute: `INT8` or `FP16`, what the target computes in.
  static let precision = "quench_precision"

  /// Of quantisers and of quantised constants: the step size, exact.
  static let scale = "quench_scale"
  static let zeroPoint = "quench_zero_point"
  static let axis = "quench_axis"
  /// Of quantised biases: names of the dequantiser and of the weight constant whose step sizes,
  /// multiplied in float32, are the bias's. Saves four bytes a channel.
  static let scaleProduct = "quench_scale_product"

  /// Constants up to this many bytes stay in the graph; longer ones go to the weights.
  static let inlineLimit = 64
  /// Weights begin at multiples of this.
  static let alignment = 32

  enum Precision: String {
    case int8 = "INT8"
    case fp16 = "FP16"
  }
}

extension OMFile {
  /// Whether the host compiler made the file. One mark of two is enough, so that no reader can
  /// take such a file for a device model because a tool dropped the other.
  public var isHostBuilt: Bool {
    header.userInfo == HostFormat.headerMark
      || header.platformVersion.hasPrefix(HostFormat.platformMark)
      || (try? definition(of: 0))?.attr[HostFormat.mark] != nil
  }

  /// The SoC that the file names; nil when it names none.
  public var socVersion: String? {
    // A file whose graph cannot be decoded does not get past `decode`.
    let text = (try? definition(of: 0))?.attr["soc_version"]?.textValue ?? ""
    return text.isEmpty ? nil : text
  }
}
