// SPDX-License-Identifier: Apache-2.0
// Datasets: the preprocessing as written in preprocess.json, checked, and written in one form.

public import Artifacts
public import Diagnostics

extension Preprocessing {
  /// Reads the array of steps that `preprocess.json` holds; `path` is for messages.
  ///
  /// - Throws: `.data` for malformed JSON, an unknown step or key (with the nearest name), a value
  ///   out of range, or steps in an impossible order; the message names the step by its number.
  public init(json: [UInt8], path: String) throws(QuenchError) {
    let value = try ArtifactJSON.decodePlain(JSONValue.self, from: json, path: path)
    do throws(QuenchError) {
      guard case .array(let items) = value else {
        throw QuenchError(
          .data, "the preprocessing is a list of steps, not \(value.kind)",
          try: #"steps in order, for example [{normalize: {scale: "1/255", mean: 0.5, std: 0.5}}]"#)
      }
      var steps: [Step] = []
      for (index, item) in items.enumerated() {
        steps.append(try StepReader(number: index + 1).step(item))
      }
      try self.init(steps)
    } catch {
      throw error.located(at: .file(path))
    }
  }

  /// Reads `preprocess.json`.
  ///
  /// - Throws: `.noInput` when it cannot be read; `.data` as `init(json:path:)`.
  public static func read(_ path: String) throws(QuenchError) -> Preprocessing {
    try Preprocessing(json: try FileContent.read(path), path: path)
  }

  /// The one spelling of these steps: defaults written out, numbers as short as they round-trip.
  public func encode() -> [UInt8] {
    Array(("[" + steps.map(\.json).joined(separator: ",") + "]\n").utf8)
  }

  /// The digest of what the steps do, whatever the spelling of the file they came from.
  public func digest() throws(QuenchError) -> ContentDigest { try ContentDigest.of(encode()) }
}

// MARK: - Checking

extension Preprocessing {
  private static let stages = ["alpha", "steps on bytes", "normalize", "layout"]

  func check() throws(QuenchError) {
    var reached = -1
    for (index, step) in steps.enumerated() {
      guard step.stage > reached || (step.stage == reached && step.stage == 1) else {
        let reason =
          step.stage == reached
          ? "a second \"\(step.name)\"" : "\"\(step.name)\" after \"\(Self.stages[reached])\""
        throw QuenchError(
          .data, "step \(index + 1) of the preprocessing is \(reason)",
          try: "the order is alpha; resize, centerCrop and channels; normalize; layout")
      }
      reached = step.stage
    }
    let orders = steps.filter { if case .channels = $0 { true } else { false } }
    guard orders.count <= 1 else {
      throw QuenchError(.data, "the preprocessing has more than one \"channels\" step")
    }
    for (key, values) in [("mean", normalization.mean), ("std", normalization.std)]
    where values.count != 1 && values.count != channelCount {
      throw QuenchError(
        .data,
        "\"\(key)\" of normalize has \(values.count) values for \(channelCount) "
          + (channelCount == 1 ? "channel" : "channels"))
    }
  }
}

extension Preprocessing.Step {
  /// Its key.
  var name: String {
    switch self {
    case .alpha: "alpha"
    case .resize, .resizeShortSide: "resize"
    case .centerCrop: "centerCrop"
    case .channels: "channels"
    case .normalize: "normalize"
    case .layout: "layout"
    }
  }

  /// Where in the order it may stand.
  fileprivate var stage: Int {
    switch self {
    case .alpha: 0
    case .resize, .resizeShortSide, .centerCrop, .channels: 1
    case .normalize: 2
    case .layout: 3
    }
  }

  /// Keys sorted, no spaces.
  fileprivate var json: String {
    switch self {
    case .alpha(.refuse): #"{"alpha":"refuse"}"#
    case .alpha(.drop): #"{"alpha":"drop"}"#
    case .alpha(.over(let red, let green, let blue)):
      #"{"alpha":{"over":[\#(red),\#(green),\#(blue)]}}"#
    case .resizeShortSide(let side, let filter):
      #"{"resize":{"filter":"\#(filter.rawValue)","shortSide":\#(side)}}"#
    case .resize(let height, let width, let filter):
      #"{"resize":{"filter":"\#(filter.rawValue)","size":[\#(height),\#(width)]}}"#
    case .centerCrop(let height, let width): #"{"centerCrop":[\#(height),\#(width)]}"#
    case .channels(let order): #"{"channels":"\#(order.rawValue)"}"#
    case .normalize(let value):
      #"{"normalize":{"mean":\#(list(value.mean)),"scale":\#(scale(value)),"#
        + #""std":\#(list(value.std))}}"#
    case .layout(let layout): #"{"layout":"\#(layout.rawValue)"}"#
    }
  }

  private func scale(_ value: Normalization) -> String {
    value.divisor.map { "\"1/\($0)\"" } ?? "\(value.scale)"
  }

  private func list(_ values: [Float]) -> String {
    // Three equal values and one value mean the same.
    let shortest = values.allSatisfy { $0 == values[0] } ? [values[0]] : values
    return "[" + shortest.map { "\($0)" }.joined(separator: ",") + "]"
  }
}
