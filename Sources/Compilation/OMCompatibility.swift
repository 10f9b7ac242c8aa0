// SPDX-License-Identifier: Apache-2.0
// Compilation: whether a compiled file is for the chip that is asked for.

/// The SoC of an OM file against a requested one.
public enum OMCompatibility: Sendable, Equatable {
  /// Compiled for exactly this chip.
  case same
  /// Compiled for another chip of the same architecture, which the loader accepts: a warning.
  case sameArchitecture(compiled: String)
  /// Compiled for another architecture, which the loader refuses: an error.
  case different(compiled: String)
  /// The file names no SoC (the loader then skips its check), or the table cannot tell.
  case unknown(compiled: String?)

  /// Compares as the loader does: by NpuArch, not by name.
  ///
  /// Source: the SoC check of CANN's model loader.
  public static func check(_ file: OMFile, for soc: SoC) -> OMCompatibility {
    guard let compiled = file.socVersion else { return .unknown(compiled: nil) }
    if compiled == soc.name { return .same }
    guard let other = SoCTable.all.first(where: { $0.name == compiled }) else {
      return .unknown(compiled: compiled)
    }
    if let arch = soc.npuArch, let compiledArch = other.npuArch {
      return arch == compiledArch
        ? .sameArchitecture(compiled: compiled) : .different(compiled: compiled)
    }
    // Without numbers, cores of different generations tell at least that the chips differ.
    if let core = soc.coreType, let compiledCore = other.coreType, core != compiledCore {
      return .different(compiled: compiled)
    }
    return .unknown(compiled: compiled)
  }

  /// The result in a sentence.
  public func sentence(for soc: SoC) -> String {
    switch self {
    case .same: "compiled for \(soc.name)"
    case .sameArchitecture(let compiled):
      "compiled for \(compiled), whose architecture is that of \(soc.name): it loads, but was "
        + "scheduled for another number of cores or clock"
    case .different(let compiled):
      "compiled for \(compiled), whose architecture is not that of \(soc.name): it will not load"
    case .unknown(nil): "the file names no SoC, so nothing can be checked before it is loaded"
    case .unknown(let compiled?):
      "compiled for \(compiled); whether it loads on \(soc.name) is not known here"
    }
  }
}
