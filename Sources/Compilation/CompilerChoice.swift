// SPDX-License-Identifier: Apache-2.0
// Compilation: atc or the host compiler, and why.

public import Diagnostics

/// Which compiler a build asks for.
public enum CompilerSetting: String, Sendable, CaseIterable, Codable {
  /// atc when it is found, else the host compiler.
  case auto
  /// Huawei's compiler.
  case atc
  /// Ours: an executable stand-in for development, no device code.
  case host
}

/// Which compiler is used, with the reason in words.
public enum CompilerChoice: Sendable, Equatable {
  /// `atc` of this toolkit.
  case atc(Toolchain, reason: String)
  /// The host compiler.
  case host(reason: String)

  /// Decides.
  ///
  /// - Parameters:
  ///   - atcPath: a path to `atc` that the user set; nil looks for it.
  ///   - places: as in `Toolchain.find`.
  /// - Throws: `.unavailable` when atc is demanded and not there, or cannot build for the chip.
  public static func decide(
    _ setting: CompilerSetting, for soc: SoC, environment: [String: String],
    atcPath: String? = nil, places: [String] = ["/usr/local/Ascend"]
  ) throws(QuenchError) -> CompilerChoice {
    if setting == .host { return .host(reason: "the host compiler was asked for") }
    if let limitation = soc.limitation {
      guard setting == .auto else {
        throw QuenchError(.unavailable, limitation, at: .option("compiler"), try: "--compiler host")
      }
      return .host(reason: limitation)
    }
    let found = Toolchain.find(environment: environment, setting: atcPath, places: places)
    guard let toolchain = found else {
      guard setting == .auto, atcPath == nil else {
        throw Toolchain.missing(environment: environment, setting: atcPath)
      }
      return .host(reason: "atc was not found")
    }
    let version = toolchain.version.map { "CANN \($0)" } ?? "version unknown"
    if !toolchain.platforms.isEmpty, !toolchain.platforms.contains(soc.name) {
      let reason = "atc (\(version)) has no platform file for \(soc.name)"
      guard setting == .auto else {
        throw QuenchError(
          .unavailable, reason, at: .option("soc"),
          try: "one of: " + toolchain.platforms.joined(separator: ", "))
      }
      return .host(reason: reason)
    }
    return .atc(toolchain, reason: "atc was found at \(toolchain.path) (\(version))")
  }

  /// The reason in words.
  public var reason: String {
    switch self {
    case .atc(_, let reason), .host(let reason): reason
    }
  }
}
