// SPDX-License-Identifier: Apache-2.0
// Compilation: the names that soc_version takes, and what to answer for those it does not.

public import Diagnostics

/// The systems on chip that Quench knows by name.
public enum SoCTable {
  /// All of them, in the order of the table in the documentation.
  public static let all: [SoC] = ascend310 + ascend910 + ascend950 + others + kirin

  /// The chip of this exact name.
  ///
  /// - Parameter installed: names that an installed toolkit knows (`Toolchain.platforms`); they are
  ///   accepted even where the table has no row.
  /// - Throws: `.usage` with the reason and the right names, for short names, old names, names
  ///   without prefix or in the wrong case, and unknown ones.
  public static func soc(
    named name: String, installed: [String] = []
  ) throws(QuenchError) -> SoC {
    if let soc = all.first(where: { $0.name == name }) { return soc }
    if installed.contains(name) {
      return row(name, family: name, kirin: name.hasPrefix("Kirin"))
    }
    throw refusal(of: name, installed: installed)
  }

  /// The chips that share a short name.
  public static func family(_ name: String) -> [SoC] {
    all.filter { $0.family == name && $0.name != name }
  }

  private static func refusal(of name: String, installed: [String]) -> QuenchError {
    let place = Place.option("soc")
    if name.isEmpty {
      return QuenchError(.usage, "no SoC is named", at: place, try: "--soc Ascend310P3")
    }
    if let (reason, names) = typed[name] {
      return QuenchError(
        .usage, "\"\(name)\" \(reason)", at: place, try: "--soc " + names.joined(separator: ", "))
    }
    let members = family(name)
    if !members.isEmpty {
      return QuenchError(
        .usage, "\"\(name)\" is a short name of several chips, which no tool compiles for",
        at: place, try: "--soc " + members.map(\.name).joined(separator: ", "))
    }
    let known = all.map(\.name) + installed
    let folded = name.lowercased()
    if let exact = known.first(where: {
      $0.lowercased() == folded || $0.lowercased() == "ascend" + folded
    }) {
      let reason =
        exact.lowercased() == folded
        ? "is \"\(exact)\" in the wrong case" : "lacks the prefix \"Ascend\""
      return QuenchError(.usage, "SoC \"\(name)\" \(reason)", at: place, try: "--soc \(exact)")
    }
    if name.hasPrefix("Ascend950") || name.hasPrefix("Ascend910_95") {
      return QuenchError(
        .usage,
        "SoC \"\(name)\" is not in the table: the names of the Ascend 950 series are "
          + "accepted from an installed toolkit only", at: place,
        try: "a toolkit whose data/platform_config holds \"\(name).ini\"")
    }
    // A known series comes first: of Ascend310P4 the P is meant, not the 4.
    let series = all.filter { name.hasPrefix($0.family) }.max { $0.family.count < $1.family.count }
    let meant = series.map { found in family(found.family).map(\.name) } ?? []
    let nearest = NearestName.of(name, among: meant) ?? NearestName.of(name, among: known)
    return QuenchError(
      .usage, "SoC \"\(name)\" is unknown\(nearest.map { "; did you mean \"\($0)\"?" } ?? "")",
      at: place, try: "--soc \(nearest ?? "Ascend310P3")")
  }

  /// Names that people type and that no tool takes: why, and which ones are meant.
  private static let typed: [String: (reason: String, names: [String])] = [
    "Ascend310P": (
      "is the short name of the series, which has no platform file: compiling fails, and a model "
        + "must name the chip that it is for",
      ["Ascend310P3 (Atlas 300I Pro, 300I Duo, 300V)", "Ascend310P1", "Ascend310P5", "Ascend310P7"]
    ),
    "Ascend310B": (
      "is the short name of a series",
      ["Ascend310B1 (20 TOPS boards)", "Ascend310B4 (8 TOPS boards)", "Ascend310B2", "Ascend310B3"]
    ),
    "Ascend910": (
      "is a short name", ["Ascend910A", "Ascend910ProA", "Ascend910ProB", "Ascend910B"]
    ),
    "Ascend910_93": (
      "is a short name; the NPU Name that npu-smi shows is the ending",
      ["Ascend910_9362", "Ascend910_9372", "Ascend910_9382", "Ascend910_9391", "Ascend910_9392"]
    ),
    "Ascend910C": (
      "is a marketing name; the NPU Name that npu-smi shows is the ending",
      ["Ascend910_9362", "Ascend910_9372", "Ascend910_9382", "Ascend910_9391", "Ascend910_9392"]
    ),
    "Ascend710": ("is the former name of the 310P in old toolkits", ["Ascend310P3"]),
    "kirinx90": ("is how omg spells it", ["KirinX90"]),
    "kirin9030": ("is how omg spells it", ["Kirin9030"]),
    "Kirin9020": (
      "is a platform of the HarmonyOS kit only, and its tools (omg and dopt) are not driven yet",
      ["KirinX90", "Kirin9030"]
    ),
    "kirin9020": (
      "is a platform of the HarmonyOS kit only, and its tools (omg and dopt) are not driven yet",
      ["KirinX90", "Kirin9030"]
    ),
  ]
}

// MARK: - Rows

extension SoCTable {
  private static func row(
    _ name: String, family: String, arch: Int? = nil, core: String? = nil, cores: Int? = nil,
    vectors: Int? = nil, megahertz: Int? = nil, _ products: String = "", kirin: Bool = false
  ) -> SoC {
    SoC(
      name: name, family: family, npuArch: arch, coreType: core, cores: cores,
      vectorCores: vectors, megahertz: megahertz, products: products,
      toolchain: kirin ? .kirin : .cann)
  }

  private static let ascend310: [SoC] = [
    row(
      "Ascend310", family: "Ascend310", core: "AIC-M-100", cores: 2, vectors: 0, megahertz: 680,
      "Atlas 200, 300I 3000/3010, 500"),
    row310B("Ascend310B1", 1224, "Atlas 200I/500 A2, Orange Pi AIpro 20T"),
    row310B("Ascend310B2", 1224, "Atlas A2 variants"),
    row310B("Ascend310B3", 1224, "Atlas A2 variants"),
    row310B("Ascend310B4", 500, "Atlas 200I DK A2, Orange Pi AIpro 8T"),
    row310P("Ascend310P1", 10, 8, 1060, "Atlas 200I SoC A1 class"),
    row310P("Ascend310P3", 8, 7, 1060, "Atlas 300I Pro, 300I Duo, 300V, 300V Pro"),
    row310P("Ascend310P5", 8, 7, 800, ""),
    row310P("Ascend310P7", 8, 7, 550, ""),
  ]

  private static func row310B(_ name: String, _ megahertz: Int, _ products: String) -> SoC {
    row(
      name, family: "Ascend310B", arch: 3002, core: "AIC-M-300", cores: 1, vectors: 1,
      megahertz: megahertz, products)
  }

  private static func row310P(
    _ name: String, _ cores: Int, _ vectors: Int, _ megahertz: Int, _ products: String
  ) -> SoC {
    row(
      name, family: "Ascend310P", arch: 2002, core: "AIC-M-200", cores: cores, vectors: vectors,
      megahertz: megahertz, products)
  }

  private static let ascend910: [SoC] =
    [
      ("Ascend910A", 32, 1000), ("Ascend910ProA", 32, 1100), ("Ascend910PremiumA", 32, 1220),
      ("Ascend910B", 30, 900), ("Ascend910ProB", 30, 1150),
    ].map { name, cores, megahertz in
      row(
        name, family: "Ascend910", arch: 1001, core: "AIC-C-100", cores: cores,
        megahertz: megahertz,
        name == "Ascend910B"
          ? "a bin of the first 910 generation, not Atlas A2 (which is Ascend910B1 to B4)"
          : "Atlas 800/900 training")
    }
    + [
      ("Ascend910B1", 24, 1850), ("Ascend910B2", 24, 1800), ("Ascend910B2C", 24, 1800),
      ("Ascend910B3", 20, 1800), ("Ascend910B4", 20, 1500), ("Ascend910B4-1", 20, 1500),
    ].map { name, cores, megahertz in
      row(
        name, family: "Ascend910B", arch: 2201, core: "AIC-C-220", cores: cores,
        vectors: 2 * cores, megahertz: megahertz, "Atlas A2")
    }
    + ["9362", "9363", "9372", "9381", "9382", "9391", "9392"].map {
      row(
        "Ascend910_" + $0, family: "Ascend910_93", arch: 2201, core: "AIC-C-220", "Atlas A3")
    }

  private static let ascend950: [SoC] = [
    row("Ascend350_354f", family: "Ascend350", arch: 3510, core: "AIC-C-310", cores: 14),
    row("Ascend350_355e", family: "Ascend350", arch: 3510, core: "AIC-C-310", cores: 16),
    row("Ascend910_5591", family: "Ascend910_55", arch: 3510, core: "AIC-C-310", cores: 24),
  ]

  private static let others: [SoC] =
    [
      ("Ascend610", 10), ("Ascend610Lite", 4), ("BS9SX1AA", 10), ("BS9SX1AB", 8),
      ("BS9SX1AC", 6), ("BS9SX2AA", 4), ("BS9SX2AB", 3), ("MC61AM21AA", 4), ("MC61AM21AB", 3),
      ("AS31XM1X", 1),
    ].map { row($0, family: $0, cores: $1, "vehicle computers") }
    + [
      row(
        "Ascend031", family: "Ascend031", arch: 3004, core: "AIC-T-300", cores: 1,
        megahertz: 330, "IPV350")
    ]
    + ["Ascend035", "Ascend035A", "Ascend035B"].map {
      row(
        $0, family: $0, arch: 3505, core: "AIC-N-350", cores: 1, "nano (atc mode 30 only)")
    }
    + ["Hi3796CV300CS", "Hi3796CV300ES", "SD3403"].map {
      row($0, family: $0, cores: 1, "set-top boxes and cameras")
    }

  private static let kirin: [SoC] =
    [
      row(
        "KirinX90", family: "KirinX90", arch: 3003, core: "AIC-L-300", cores: 1, vectors: 1,
        "HarmonyOS computers", kirin: true),
      row(
        "Kirin9030", family: "Kirin9030", arch: 3113, core: "AIC-L-311", cores: 1, vectors: 1,
        "HarmonyOS phones", kirin: true),
    ]
    + [("0000", 5101), ("0001", 5161), ("0002", 5165), ("0003", 5163)].map {
      row("KirinDev" + $0, family: "KirinDev", arch: $1, "development only", kirin: true)
    }
}
