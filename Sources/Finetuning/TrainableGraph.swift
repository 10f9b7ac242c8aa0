// SPDX-License-Identifier: Apache-2.0
// Finetuning: a folded ONNX network that can be run forward and backward.

public import Calibration
public import Diagnostics
internal import Glibc
public import ONNXModel
public import Quantization

/// How a `TrainableGraph` computes.
public struct TrainableGraphOptions: Sendable {
  /// Threads that share the work; the results do not depend on it. At least 1.
  public var threads = 1
  /// Bits of weight codes, 2...8; codes −(2^(b−1) − 1)...2^(b−1) − 1.
  public var weightBits = 8
  /// Bits of activation codes, 2...8.
  public var activationBits = 8

  /// The defaults: one thread, 8 bits.
  public init(threads: Int = 1, weightBits: Int = 8, activationBits: Int = 8) {
    self.threads = threads
    self.weightBits = weightBits
    self.activationBits = activationBits
  }
}

/// What a trained graph comes to.
public struct TrainedModel: Sendable {
  /// The folded model with the trained weights and biases.
  public var model: Model
  /// The scales, ready for `QuantizeGraph`. `model` (the digest) is left as it was: the caller
  /// writes the model and knows the new one.
  public var scales: ScaleTable?
  /// The configuration with the trained scales in its lines; nil when there was none.
  public var config: CalibrationConfig?
}

/// A folded ONNX network with fake quantization, run forward and backward over batches.
///
/// Every sample is computed as the network, whose batch is 1, computes it; a batch is many of them.
/// The same input gives the same bytes, whatever the threads and the instruction set.
/// Not safe to share between threads.
public final class TrainableGraph {
  /// Everything that can train, in graph order: of each layer weight, bias, scales.
  public let parameters: [Parameter]
  /// The weights among them that layers read as codes.
  public let codedWeights: [CodedWeight]
  /// Numbers in one sample's result.
  public let classes: Int
  /// Numbers in one sample.
  public let inputCount: Int
  /// Whether `backward` computes the gradients of scales too; without them it is faster.
  public var computesScaleGradients: Bool {
    get { tape.machine.wantsScaleGradients }
    set { tape.machine.wantsScaleGradients = newValue }
  }
  /// What trains and what does not.
  public let plan: TrainingPlan
  /// The kernels in use: "avx512", "avx2" or "plain".
  public var kernels: String { tape.machine.name }

  let tape: Tape
  private let frozenPart: (any FrozenPart)?
  private let frozenBytes: Int
  let model: Model
  let config: CalibrationConfig?
  let scales: ScaleTable?
  let options: TrainableGraphOptions
  let activationScales: [String: TapeParameter]
  let weightScales: [String: TapeParameter]

  /// Builds the graph.
  ///
  /// - Parameters:
  ///   - model: a folded model: batch 1, one float32 input, one float32 output. A last Softmax is
  ///     left out, so that the result is logits.
  ///   - config: which layers are INT8 and the quantizers of their inputs; nil with `scales`: all
  ///     that have scales.
  ///   - scales: the scales of weights; nil: no fake quantization at all.
  ///   - frozenPart: opens the part below an operator without a rule: the QDQ model with
  ///     `config` and `scales`, else the float one. Nil: such a model is refused.
  /// - Throws: `.data` when operators without a rule leave nothing to train or there is no one to
  ///   run the part below them (named, with the place), or what `QuantizedModel.resolve` and
  ///   `frozenPart` throw.
  public convenience init(
    _ model: Model, config: CalibrationConfig?, scales: ScaleTable?,
    options: TrainableGraphOptions = TrainableGraphOptions(), frozenPart: FrozenPartOpener? = nil
  ) throws(QuenchError) {
    try self.init(
      model, config: config, scales: scales, options: options, frozenPart: frozenPart,
      precision: .single(kernels: nil))
  }

  package init(
    _ model: Model, config: CalibrationConfig?, scales: ScaleTable?,
    options: TrainableGraphOptions, frozenPart opener: FrozenPartOpener? = nil,
    precision: TapePrecision
  ) throws(QuenchError) {
    guard (2...8).contains(options.weightBits), (2...8).contains(options.activationBits) else {
      throw QuenchError(
        .usage,
        "weights and activations are quantized to 2...8 bits, not to "
          + "\(options.weightBits) and \(options.activationBits)")
    }
    var used = config
    if used == nil, let scales { used = try Self.everyLayer(of: model, scales) }
    var quantized: QuantizedModel?
    if let used, let scales {
      quantized = try QuantizedModel.resolve(model, config: used, scales: scales)
    }
    let machine = try TapeMachine(precision: precision, threads: max(1, options.threads))
    let (builder, built) = try Self.build(
      model, quantized: quantized, options: options, machine: machine)
    let plan = Self.plan(of: built, builder)
    guard let tape = built, plan.isTrainable else { throw plan.refusal }
    var frozen: Model?
    if !plan.obstacles.isEmpty {
      guard opener != nil else { throw plan.refusal }
      // In the form that is evaluated, so that training sees what evaluation will.
      frozen = builder.cut.frozenModel(of: quantized?.qdq() ?? model, types: builder.types)
        .summingCodes()
    }
    frozenPart = try frozen.flatMap { model throws(QuenchError) in try opener?(model) }
    // The runtime itself, and weights once more as it likes them.
    frozenBytes =
      frozen?.graph.initializers.reduce((64 << 20) + (frozenPart?.heldBytes ?? 0)) {
        $0 + 8 * $1.shape.reduce(1, *)
      } ?? 0
    let trained = Self.markTrained(tape)
    self.tape = tape
    self.plan = plan
    self.model = model
    self.config = used
    self.scales = scales
    self.options = options
    parameters = trained.map(\.parameter)
    codedWeights = try Self.codedWeights(
      parameters, of: model, builder.layerWeightScales, bits: options.weightBits)
    classes = tape.output.count
    inputCount = tape.inputs[0].count
    activationScales = builder.activationScales
    weightScales = builder.layerWeightScales
  }

  /// Which layers of a folded model train, and what stands in the way of others.
  ///
  /// - Throws: what shape inference throws; `.data` when there is not one input and one output.
  public static func check(_ model: Model) throws(QuenchError) -> TrainingPlan {
    let machine = try TapeMachine(precision: .single(kernels: nil), threads: 1)
    let (builder, tape) = try build(
      model, quantized: nil, options: TrainableGraphOptions(), machine: machine)
    return plan(of: tape, builder)
  }

  /// Cuts the network at every obstacle until what is left can be built.
  ///
  /// - Returns: the builder, and the tape unless nothing is left.
  private static func build(
    _ model: Model, quantized: QuantizedModel?, options: TrainableGraphOptions,
    machine: TapeMachine
  ) throws(QuenchError) -> (TapeBuilder, Tape?) {
    var cut = NetworkCut(model)
    while true {
      let builder = try TapeBuilder(
        model, quantized: quantized, options: options, machine: machine, cut: cut)
      let tape = try builder.build()
      // Each round freezes at least one node more.
      guard tape == nil, !builder.obstacles.isEmpty else { return (builder, tape) }
      cut.freeze(builder.obstacles)
    }
  }

  /// Bytes that training with batches of `count` takes: parameters, activations, gradients and
  /// scratch, about; on the high side.
  public func estimatedBytes(count: Int) -> Int {
    tape.estimatedBytes(samples: count) + frozenBytes
  }

  /// Computes logits, and keeps what `backward` needs.
  ///
  /// - Parameters:
  ///   - batch: `count` samples, each in the layout of the model's input (NCHW for images).
  ///   - training: false when no `backward` follows.
  /// - Returns: `[count, classes]`.
  /// - Throws: `.data` when `batch` does not hold `count` samples.
  public func forward(
    _ batch: [Float], count: Int, training: Bool
  ) throws(QuenchError) -> [Float] {
    guard count > 0, batch.count == count * inputCount else {
      throw QuenchError(
        .data,
        "\(batch.count) numbers are not \(count) samples of \(inputCount)",
        at: .tensor(tape.inputs[0].name))
    }
    let machine = tape.machine
    let handedOver = try frozenPart?.run(batch, count: count) ?? []
    tape.reset()
    // Buffers of another batch size are of no more use.
    if machine.count != 0, machine.count != count { machine.arena.trim() }
    machine.count = count
    // A bias is rounded by scales, so those come first.
    for slot in tape.parameters { slot.parameter.applyBounds() }
    for slot in tape.parameters { slot.refresh() }
    for (tensor, values) in zip(tape.inputs, [batch] + handedOver) {
      guard values.count == tensor.elements(count) else {
        throw QuenchError(
          .bug, "the frozen part gave \(values.count) numbers, not \(tensor.elements(count))",
          at: .tensor(tensor.name))
      }
      let buffer = machine.makeBuffer(values.count)
      machine.write(values, to: buffer)
      tensor.data = buffer
    }
    tape.forward(training: training)
    guard let result = tape.output.data else { return [] }
    return machine.floats(result, count * classes)
  }

  /// Adds the gradients of all parameters, given those of the logits of the last `forward`.
  ///
  /// - Parameter gradient: `[count, classes]`.
  /// - Precondition: the last `forward` was for training, and its batch as large.
  public func backward(_ gradient: [Float]) {
    let machine = tape.machine
    precondition(gradient.count == machine.count * classes, "one number a logit of the batch")
    let buffer = machine.makeBuffer(gradient.count)
    machine.write(gradient, to: buffer)
    tape.output.gradient = buffer
    for slot in tape.parameters where slot.isTrained { slot.refreshGradient() }
    tape.backward()
    for slot in tape.parameters where slot.isTrained { slot.flush() }
  }

  /// Sets all gradients to zero.
  public func zeroGradients() {
    for parameter in parameters {
      parameter.gradient.withUnsafeMutableBytes { bytes in
        if let base = bytes.baseAddress { memset(base, 0, bytes.count) }
      }
    }
  }

  /// The first tensor that holds NaN or an infinity, by name; nil when all are finite.
  ///
  /// Looks at the parameters, then at what the last pass left in the order of computation (all
  /// that `backward` needs, before it; else the logits alone), then at the gradients.
  public func firstNonFinite() -> String? {
    if let found = parameters.first(where: { $0.values.contains { !$0.isFinite } }) {
      return found.name
    }
    let machine = tape.machine
    for step in tape.operators {
      guard let data = step.output.data, !(step is FakeQuantizer) else { continue }
      let count = step.output.elements(machine.count)
      if !machine.floats(data, count).allSatisfy(\.isFinite) { return step.output.name }
    }
    return parameters.first { $0.gradient.contains { !$0.isFinite } }?.name
  }
}

// MARK: - Plan

extension TrainableGraph {
  private static func codedWeights(
    _ parameters: [Parameter], of model: Model, _ scales: [String: TapeParameter], bits: Int
  ) throws(QuenchError) -> [CodedWeight] {
    let layers = try OperatorRules.layers(of: model)
    return parameters.enumerated().compactMap { index, parameter in
      guard parameter.kind == .weight,
        let layer = layers.first(where: { $0.weight == parameter.name && scales[$0.name] != nil }),
        let scale = scales[layer.name]?.parameter,
        let shape = model.graph.initializer(parameter.name)?.shape
      else { return nil }
      return CodedWeight(
        index: index, weight: parameter, scales: scale,
        inner: scale.count == 1 ? 1 : shape[(layer.channelAxis + 1)...].reduce(1, *),
        high: Float(FakeQuantizeRange.weights(bits: bits).high))
    }
  }

  /// Parameters that a gradient reaches; the others are marked.
  private static func markTrained(_ tape: Tape) -> [TapeParameter] {
    var reached: Set<ObjectIdentifier> = []
    for (index, step) in tape.operators.enumerated() where tape.isActive(index) {
      for parameter in step.parameters { reached.insert(ObjectIdentifier(parameter)) }
    }
    for parameter in tape.parameters {
      parameter.isTrained = !parameter.isFixed && reached.contains(ObjectIdentifier(parameter))
    }
    return tape.parameters.filter(\.isTrained)
  }

  private static func plan(of tape: Tape?, _ builder: TapeBuilder) -> TrainingPlan {
    let cut = builder.cut
    var plan = TrainingPlan(
      trained: [], frozen: cut.frozenLayers(of: builder.model), obstacles: cut.obstaclesInOrder,
      cut: tape == nil ? [] : cut.tensors)
    for (index, step) in (tape?.operators ?? []).enumerated() where !(step is FakeQuantizer) {
      guard !step.parameters.isEmpty, plan.trained.last != step.node else { continue }
      if tape?.isActive(index) == true, step.parameters.contains(where: { !$0.isFixed }) {
        plan.trained.append(step.node)
      } else if let obstacle = plan.obstacles.first {
        // It shares its weight with a layer below.
        plan.frozen.append(TrainingPlan.FrozenLayer(layer: step.node, below: obstacle.node))
      }
    }
    return plan
  }

  /// The configuration in which every layer with scales is INT8.
  private static func everyLayer(
    of model: Model, _ scales: ScaleTable
  ) throws(QuenchError) -> CalibrationConfig {
    var lines: [CalibrationConfig.Line] = []
    for layer in try OperatorRules.layers(of: model) {
      guard let scale = scales.tensors[layer.input], scales.weights[layer.weight] != nil,
        let type = CalibrationConfig.OperatorType(rawValue: layer.kind.rawValue)
      else { continue }
      lines.append(
        .entry(
          CalibrationConfig.Entry(
            name: layer.name, opType: type,
            value: .scalar(scale: scale.scale, zeroPoint: scale.zeroPoint))))
    }
    return CalibrationConfig(lines: lines)
  }
}
