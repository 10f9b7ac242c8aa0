// SPDX-License-Identifier: Apache-2.0
// Compilation: one system on chip.

/// A system on chip that a model can be compiled for.
///
/// Source: the platform configuration files of CANN 8.1 and of the open-sourced runtime of 2026;
/// products from the vendor's compatibility pages.
public struct SoC: Sendable, Hashable {
  /// The name that `atc --soc_version` takes, case-sensitive, for example `Ascend310P3`.
  public let name: String
  /// The short name that several chips share, for example `Ascend310P`; never a compile target.
  public let family: String
  /// The architecture number that the loader compares; nil where the platform file has none.
  public let npuArch: Int?
  /// The AI core's generation, for example `AIC-M-200`; nil where the sources do not say.
  public let coreType: String?
  /// Number of AI cores; nil where the sources give a range.
  public let cores: Int?
  /// Number of vector cores beside them; nil where unknown.
  public let vectorCores: Int?
  /// Clock of the matrix unit in MHz; nil where unknown.
  public let megahertz: Int?
  /// Boards and devices that carry it, in words; empty where unknown.
  public let products: String
  /// Which tools build for it.
  public let toolchain: ToolchainKind

  /// The tools that build for a chip.
  public enum ToolchainKind: String, Sendable, Codable {
    /// `atc` of the CANN toolkit.
    case cann
    /// The Kirin NPUs of HarmonyOS devices, whose own tools (omg, dopt) are not driven yet.
    case kirin
  }

  /// Peak INT8 operations a second, in 10^12, counting a multiply-add as two.
  ///
  /// From core count, clock and the INT8 matrix shape 16 × 32 × 16, a peak that no network reaches;
  /// nil where one of them is unknown or the shape is another (`Ascend035`).
  public var peakTeraOperations: Double? {
    guard let cores, let megahertz, !family.hasPrefix("Ascend035") else { return nil }
    return Double(cores) * 8192 * 2 * Double(megahertz) * 1e6 / 1e12
  }

  /// What this version of Quench cannot do for the chip; nil when nothing is known to be missing.
  public var limitation: String? {
    switch toolchain {
    case .cann: nil
    case .kirin:
      "\(name) is a Kirin NPU: its tools (omg and dopt) are not driven by this version, only "
        + "the host compiler builds for it"
    }
  }
}
