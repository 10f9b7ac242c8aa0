// SPDX-License-Identifier: Apache-2.0
// Datasets: one step of the preprocessing, from JSON.

internal import Diagnostics

/// Reads one step and says precisely what is wrong with it.
struct StepReader {
  /// Which step it is, from 1.
  let number: Int

  private static let names = ["alpha", "centerCrop", "channels", "layout", "normalize", "resize"]

  func step(_ value: JSONValue) throws(QuenchError) -> Preprocessing.Step {
    guard case .object(let fields) = value, fields.count == 1, let (name, body) = fields.first
    else {
      throw QuenchError(
        .data, "step \(number) of the preprocessing is not one key with its value",
        try: "write each step as an item of its own, for example \"- layout: NCHW\"")
    }
    switch name {
    case "alpha": return .alpha(try alpha(body))
    case "centerCrop":
      let size = try pair(body, name)
      return .centerCrop(height: size.0, width: size.1)
    case "channels": return .channels(try choice(body, name))
    case "layout": return .layout(try choice(body, name))
    case "normalize": return .normalize(try normalization(body))
    case "resize": return try resize(body)
    default: throw unknown("step", name, among: Self.names)
    }
  }

  private func alpha(_ value: JSONValue) throws(QuenchError) -> AlphaRule {
    switch value {
    case .string("drop"): return .drop
    case .string("refuse"): return .refuse
    case .object(let fields):
      try checkKeys(fields, "alpha", known: ["over"])
      if case .array(let items)? = fields["over"], items.count == 3 {
        let bytes = items.compactMap { $0.integer.flatMap(UInt8.init(exactly:)) }
        if bytes.count == 3 { return .over(red: bytes[0], green: bytes[1], blue: bytes[2]) }
      }
    default: break
    }
    throw wrong("alpha", "must be \"drop\", \"refuse\" or {over: [red, green, blue]} with 0...255")
  }

  private func resize(_ value: JSONValue) throws(QuenchError) -> Preprocessing.Step {
    guard case .object(let fields) = value else {
      throw wrong("resize", "must be a map with shortSide or size, not \(value.kind)")
    }
    try checkKeys(fields, "resize", known: ["filter", "shortSide", "size"])
    var filter = ResizeFilter.bilinear
    if let text = fields["filter"] { filter = try choice(text, "filter") }
    switch (fields["shortSide"], fields["size"]) {
    case (let side?, nil): return .resizeShortSide(try extent(side, "shortSide"), filter)
    case (nil, let size?):
      let size = try pair(size, "size")
      return .resize(height: size.0, width: size.1, filter)
    default: throw wrong("resize", "must have either shortSide or size")
    }
  }

  private func normalization(_ value: JSONValue) throws(QuenchError) -> Normalization {
    guard case .object(let fields) = value else {
      throw wrong("normalize", "must be a map with scale, mean and std, not \(value.kind)")
    }
    try checkKeys(fields, "normalize", known: ["mean", "scale", "std"])
    let mean = try floats(fields["mean"], "mean", default: 0)
    let std = try floats(fields["std"], "std", default: 1)
    guard !std.contains(0) else { throw wrong("std", "has a 0, by which nothing can be divided") }
    var scale = Float(1)
    switch fields["scale"] {
    case nil: break
    case .number(let number)?: scale = Float(number)
    case .string(let text)?:
      let parts = text.split(separator: "/", omittingEmptySubsequences: false)
      guard parts.count == 2, let over = Double(parts[0]), let under = Double(parts[1]) else {
        throw wrong("scale", "must be a number or a fraction such as \"1/255\"")
      }
      scale = Float(over / under)
    case let other?: throw wrong("scale", "must be a number, not \(other.kind)")
    }
    guard scale.isFinite, scale > 0 else { throw wrong("scale", "must be positive") }
    return Normalization(scale: scale, mean: mean, std: std)
  }
}

// MARK: - Values

extension StepReader {
  private func floats(
    _ value: JSONValue?, _ key: String, default: Float
  ) throws(QuenchError) -> [Float] {
    var result: [Float] = []
    switch value {
    case nil: return [`default`]
    case .number(let number)?: result = [Float(number)]
    case .array(let items)?:
      for item in items {
        guard case .number(let number) = item else {
          throw wrong(key, "has \(item.kind) where a number should be")
        }
        result.append(Float(number))
      }
    case let other?: throw wrong(key, "must be a list of numbers, not \(other.kind)")
    }
    guard !result.isEmpty, result.allSatisfy(\.isFinite) else {
      throw wrong(key, "must be a list of finite numbers")
    }
    return result
  }

  private func extent(_ value: JSONValue, _ key: String) throws(QuenchError) -> Int {
    guard let extent = value.integer, (1...65_536).contains(extent) else {
      throw wrong(key, "must be a whole number of pixels in 1...65536")
    }
    return extent
  }

  private func pair(_ value: JSONValue, _ key: String) throws(QuenchError) -> (Int, Int) {
    guard case .array(let items) = value, items.count == 2 else {
      throw wrong(key, "must be a list [height, width]")
    }
    return (try extent(items[0], key), try extent(items[1], key))
  }

  private func choice<T: RawRepresentable & CaseIterable>(
    _ value: JSONValue, _ key: String
  ) throws(QuenchError) -> T where T.RawValue == String {
    let names = T.allCases.map(\.rawValue)
    guard case .string(let text) = value else {
      throw wrong(key, "must be one of \(names.joined(separator: ", ")), not \(value.kind)")
    }
    guard let choice = T(rawValue: text) else { throw unknown(key, text, among: names) }
    return choice
  }

  private func checkKeys(
    _ fields: [String: JSONValue], _ name: String, known: [String]
  ) throws(QuenchError) {
    for key in fields.keys.sorted() where !known.contains(key) {
      throw unknown("key of \(name)", key, among: known)
    }
  }

  private func unknown(_ what: String, _ name: String, among known: [String]) -> QuenchError {
    QuenchError(
      .data,
      "unknown \(what) \"\(name)\" in step \(number) of the preprocessing"
        + NearestName.hint(name, among: known), try: "one of: \(known.joined(separator: ", "))")
  }

  private func wrong(_ key: String, _ rule: String) -> QuenchError {
    QuenchError(.data, "\"\(key)\" in step \(number) of the preprocessing \(rule)")
  }
}
