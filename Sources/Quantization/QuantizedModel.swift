// SPDX-License-Identifier: Apache-2.0
// Quantization: the numbers of a quantized model, before they are written in one form or another.

public import Calibration
public import Diagnostics
public import ONNXModel
public import Tensors

/// What model, `calibration.cfg` and `scales.json` come to: every INT8 layer with its quantizers,
/// integer weights and integer biases. The QDQ model, the deploy model and the record file are
/// three spellings of this value, so they cannot disagree.
public struct QuantizedModel: Sendable {
  /// The float model.
  public let model: Model
  /// The INT8 layers, in the order of the model's nodes.
  public let layers: [QuantizedLayer]
  /// The integer weights; several layers may share one.
  public let weights: [QuantizedWeight]
  /// The layers that stay FP16, in the order of the model's nodes.
  public let fp16Layers: [QuantizableLayer]
  /// What the user should hear. Nothing here stops the build.
  public let warnings: [QuantizationWarning]
}

/// A layer whose input and weight are INT8.
public struct QuantizedLayer: Sendable {
  /// The layer.
  public var layer: QuantizableLayer
  /// The quantizer of the activation that it reads.
  public var activation: Scale
  /// Its weight, an index into `QuantizedModel.weights`.
  public var weight: Int
  /// The integer bias, one per output channel; nil when there is none.
  public var bias: [Int32]?
  /// `s_x · s_w`, float32 products: one, or one per output channel.
  public var outputScales: [Float]
}

/// An integer weight and its scales.
public struct QuantizedWeight: Sendable {
  /// The float initializer's name.
  public var name: String
  /// Its scales, after any widening for a bias.
  public var scale: WeightScale
  /// int8 codes, in the shape of the float weight.
  public var codes: Tensor
}

/// Something that quantization did or met and the user should know.
public struct QuantizationWarning: Sendable, Equatable {
  /// What kind of thing.
  public enum Kind: String, Sendable, CaseIterable {
    /// Weight scales were widened so that the bias fits INT32.
    case widenedForBias
    /// Widened more than fourfold: such a channel hardly computes anything but its bias.
    case biasOnlyChannel
    /// The largest weight scale is more than 100 times the smallest.
    case scaleSpread
    /// The layer's input was zero in every calibration sample.
    case degenerateInput
    /// The activation's scale is one that Ascend's calibration kernels replace.
    case scaleOutsideLimits
    /// A sum of products can pass INT32, whatever the bias.
    case accumulatorOverflow
    /// Per-channel scales on a layer for which the Ascend toolchain takes one.
    case perChannelFullConnection
  }

  /// What kind of thing.
  public var kind: Kind
  /// The layer.
  public var layer: String
  /// One plain sentence, names quoted, no full stop.
  public var message: String
}

extension QuantizedModel {
  /// Works out all integers.
  ///
  /// The activation's quantizers come from `config`, the weights' scales from its VECTOR lines,
  /// else from `scales`.
  /// - Throws: `.data` when a line does not fit the model, a weight has no scales, or the model's
  ///   opset is below 13, which knows no per-channel DequantizeLinear.
  public static func resolve(
    _ model: Model, config: CalibrationConfig, scales: ScaleTable
  ) throws(QuenchError) -> QuantizedModel {
    let opset = model.opsets[""] ?? 0
    guard opset >= 13 else {
      throw QuenchError(
        .data, "the model has opset \(opset), quantizing needs 13 or newer",
        try: "quench fold, which raises the opset")
    }
    let layers = try OperatorRules.layers(of: model)
    let settings = try config.settings(of: layers, in: model)
    var resolver = Resolver(model: model, config: config, scales: scales)
    for layer in layers {
      guard let setting = settings[layer.name], let activation = setting.activation else {
        continue
      }
      try resolver.add(layer, activation, setting)
    }
    try resolver.finish()
    return QuantizedModel(
      model: model, layers: resolver.layers, weights: resolver.weights,
      fp16Layers: layers.filter { settings[$0.name]?.activation == nil },
      warnings: resolver.warnings)
  }
}

/// Collects layers, then computes what depends on several of them.
private struct Resolver {
  let config: CalibrationConfig
  let scales: ScaleTable
  let constants: [String: Initializer]
  var layers: [QuantizedLayer] = []
  var weights: [QuantizedWeight] = []
  var warnings: [QuantizationWarning] = []

  init(model: Model, config: CalibrationConfig, scales: ScaleTable) {
    self.config = config
    self.scales = scales
    constants = Dictionary(
      model.graph.initializers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  mutating func add(
    _ layer: QuantizableLayer, _ activation: Scale, _ setting: LayerSetting
  ) throws(QuenchError) {
    let scale = try weightScale(of: layer, setting)
    if let range = scales.tensors[layer.input], range.min == 0, range.max == 0 {
      warn(
        .degenerateInput, layer,
        "\"\(layer.input)\" was zero in every calibration sample, so its scale is a guess")
    }
    if !PrecisionPlan.scaleLimits.contains(activation.scale) {
      warn(
        .scaleOutsideLimits, layer,
        "\"\(layer.name)\" has the activation scale \(activation.scale), outside the 2^-23...2^23 "
          + "that Ascend's kernels keep")
    }
    if layer.kind == .fullConnection, scale.scales.count > 1 {
      warn(
        .perChannelFullConnection, layer,
        "\"\(layer.name)\" has \(scale.scales.count) weight scales, Ascend's atc takes one for a "
          + "\(layer.opType)")
    }
    let known = weights.firstIndex { $0.name == layer.weight && $0.scale == scale }
    if known == nil {
      let codes = Tensor(.int8, shape: [0], values: [Int8]())
      weights.append(QuantizedWeight(name: layer.weight, scale: scale, codes: codes))
    }
    layers.append(
      QuantizedLayer(
        layer: layer, activation: activation, weight: known ?? weights.count - 1, bias: nil,
        outputScales: []))
  }

  private func weightScale(
    of layer: QuantizableLayer, _ setting: LayerSetting
  ) throws(QuenchError) -> WeightScale {
    if let vector = setting.weights {
      let axis = vector.count == 1 ? nil : layer.channelAxis
      return WeightScale(axis: axis, scales: vector, type: "int8")
    }
    guard let scale = scales.weights[layer.weight] else {
      throw QuenchError(
        .data, "the weight \"\(layer.weight)\" of layer \"\(layer.name)\" has no scales",
        at: .tensor(layer.weight), try: "quench calibrate with this model")
    }
    let shape = constants[layer.weight]?.shape ?? []
    let expected = scale.axis.map { shape.indices.contains($0) ? shape[$0] : 0 } ?? 1
    guard scale.axis == nil || scale.axis == layer.channelAxis, scale.scales.count == expected
    else {
      throw QuenchError(
        .data,
        "the weight \"\(layer.weight)\" of shape \(shape) has \(scale.scales.count) scales along "
          + "axis \(scale.axis.map(String.init) ?? "none"), which do not fit it",
        at: .tensor(layer.weight), try: "quench calibrate with this model")
    }
    guard scale.scales.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      throw QuenchError(
        .data, "a scale of the weight \"\(layer.weight)\" is not a number greater than 0",
        at: .tensor(layer.weight), try: "quench calibrate with this model")
    }
    return scale
  }

  /// Widens scales where biases ask for it, then rounds weights and biases.
  mutating func finish() throws(QuenchError) {
    var biases: [[Float]?] = []
    for index in layers.indices {
      let layer = layers[index].layer
      let bias = try layer.bias.map { name throws(QuenchError) in try values(of: name) }
      biases.append(bias)
      let quantizer = BiasQuantizer(layer: layer, activation: layers[index].activation)
      if quantizer.canOverflow {
        warn(
          .accumulatorOverflow, layer,
          "a sum of \(layer.reductionLength) products of \"\(layer.name)\" can pass INT32")
      }
      guard let bias else { continue }
      let report = quantizer.widen(&weights[layers[index].weight].scale.scales, for: bias)
      guard weights[layers[index].weight].scale.scales.allSatisfy(\.isFinite) else {
        throw QuenchError(
          .data, "the bias of \"\(layer.name)\" is too large for any weight scale",
          at: .node(layer.name), try: "a larger activation scale, or FP16 for this layer")
      }
      warn(about: report, layer)
    }
    for index in weights.indices {
      guard let weight = constants[weights[index].name] else { continue }
      weights[index].codes = try WeightQuantizer.quantize(
        weight.tensor(), scale: weights[index].scale)
    }
    for index in layers.indices {
      let weight = weights[layers[index].weight]
      let quantizer = BiasQuantizer(
        layer: layers[index].layer, activation: layers[index].activation)
      layers[index].outputScales = quantizer.outputScales(weight.scale.scales)
      layers[index].bias = biases[index].map { quantizer.quantize($0, weight.scale.scales) }
      warnAboutSpread(of: weight, layers[index].layer)
    }
  }

  private func values(of name: String) throws(QuenchError) -> [Float] {
    guard let bias = constants[name] else {
      throw QuenchError(.data, "the bias \"\(name)\" is not in the model", at: .tensor(name))
    }
    let values = try bias.tensor().floats
    guard values.allSatisfy(\.isFinite) else {
      throw QuenchError(
        .data, "the bias \"\(name)\" holds NaN or an infinity", at: .tensor(name))
    }
    return values
  }
}

// MARK: - Warnings

extension Resolver {
  private mutating func warn(
    _ kind: QuantizationWarning.Kind, _ layer: QuantizableLayer, _ message: String
  ) {
    warnings.append(QuantizationWarning(kind: kind, layer: layer.name, message: message))
  }

  private mutating func warn(about report: BiasQuantizer.Widening, _ layer: QuantizableLayer) {
    guard report.channels > 0 else { return }
    warn(
      .widenedForBias, layer,
      "\(report.channels) weight scale\(report.channels == 1 ? "" : "s") of \"\(layer.name)\" "
        + "widened, at most \(report.largestFactor)-fold, so that the bias fits INT32")
    if report.biasOnly > 0 {
      warn(
        .biasOnlyChannel, layer,
        "\(report.biasOnly) channel\(report.biasOnly == 1 ? "" : "s") of \"\(layer.name)\" "
          + "widened more than fourfold: little is left of the weights beside the bias")
    }
  }

  private mutating func warnAboutSpread(of weight: QuantizedWeight, _ layer: QuantizableLayer) {
    guard weight.scale.scales.count > 1 else { return }
    // An all-zero channel's scale says nothing.
    var used = [Bool](repeating: false, count: weight.scale.scales.count)
    let layout = ChannelLayout(shape: weight.codes.shape, axis: weight.scale.axis)
    weight.codes.withElements(as: Int8.self) { codes in
      layout.forEachRun { channel, range in
        if !used[channel] { used[channel] = codes[range].contains { $0 != 0 } }
      }
    }
    let scales = zip(weight.scale.scales, used).filter { $0.1 }.map { Double($0.0) }
    guard let most = scales.max(), let least = scales.min(), most > 100 * least else { return }
    warn(
      .scaleSpread, layer,
      "the largest weight scale of \"\(layer.name)\" is \(Int(most / least)) times the smallest")
  }
}
