// SPDX-License-Identifier: Apache-2.0
// Quantization: how finely weights get scales.

/// How many scales a weight gets. One plan serves the QDQ and the deploy model alike, so that what
/// is evaluated is what is deployed.
public enum WeightPlan: String, Sendable, Codable, CaseIterable {
  /// What the Ascend toolchain accepts: one scale per output channel for Conv and ConvTranspose,
  /// one scale for Gemm and MatMul (record file of Huawei's AMCT, `scale_w`).
  case target
  /// One scale per output channel everywhere.
  case perChannel
  /// One scale per weight.
  case perTensor

  /// Whether a layer of this kind gets one scale per output channel.
  public func isPerChannel(_ kind: LayerKind) -> Bool {
    switch self {
    case .target: kind == .convolution || kind == .deconvolution
    case .perChannel: true
    case .perTensor: false
    }
  }
}
