// SPDX-License-Identifier: Apache-2.0
// Finetuning: a folded ONNX network that can be run forward and backward.

public import Calibration
public import Diagnostics
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
  /// - Throws: `.data` when an operator has no rule (named, with its place), or what
  ///   `QuantizedModel.resolve` throws.
  public convenience init(
    _ model: Model, config: CalibrationConfig?, scales: ScaleTable?,
    options: TrainableGraphOptions = TrainableGraphOptions()
  ) throws(QuenchError) {
    try self.init(
      model, config: config, scales: scales, options: options, precision: .single(kernels: nil))
  }

  package init(
    _ model: Model, config: CalibrationConfig?, scales: ScaleTable?,
    options: TrainableGraphOptions, precision: TapePrecision
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
    let builder = try TapeBuilder(model, quantized: quantized, options: options, machine: machine)
    guard let tape = try builder.build() else { throw Self.refusal(builder.unknown) }
    let plan = Self.plan(of: tape, unknown: [])
    guard plan.isTrainable else {
      throw QuenchError(.data, "no layer of the model can train: it has no weights that matter")
    }
    let trained = Self.markTrained(tape)
    self.tape = tape
    self.plan = plan
    self.model = model
    self.config = used
    self.scales = scales
    self.options = options
    parameters = trained.map(\.parameter)
    classes = tape.output.count
    inputCount = tape.input.count
    activationScales = builder.activationScales
    weightScales = builder.layerWeightScales
  }

  /// Which layers of a folded model train, and what stands in the way of others.
  ///
  /// - Throws: what shape inference throws; `.data` when there is not one input and one output.
  public static func check(_ model: Model) throws(QuenchError) -> TrainingPlan {
    let machine = try TapeMachine(precision: .single(kernels: nil), threads: 1)
    let builder = try TapeBuilder(
      model, quantized: nil, options: TrainableGraphOptions(), machine: machine)
    guard let tape = try builder.build() else {
      return TrainingPlan(trained: [], frozen: [], withoutGradient: [], unknown: builder.unknown)
    }
    return plan(of: tape, unknown: [])
  }

  /// Bytes that training with batches of `count` takes: parameters, activations, gradients and
  /// scratch, about; on the high side.
  public func estimatedBytes(count: Int) -> Int { tape.estimatedBytes(samples: count) }

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
        at: .tensor(tape.input.name))
    }
    let machine = tape.machine
    tape.reset()
    // Buffers of another batch size are of no more use.
    if machine.count != 0, machine.count != count { machine.arena.trim() }
    machine.count = count
    for slot in tape.parameters {
      slot.parameter.applyFloors()
      machine.write(slot.parameter.values, to: slot.data)
    }
    let input = machine.makeBuffer(batch.count)
    machine.write(batch, to: input)
    tape.input.data = input
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
    for slot in tape.parameters where slot.isTrained {
      machine.write(slot.parameter.gradient, to: slot.gradient)
    }
    tape.backward()
    for slot in tape.parameters where slot.isTrained {
      machine.read(slot.gradient, into: &slot.parameter.gradient)
    }
  }

  /// Sets all gradients to zero.
  public func zeroGradients() {
    for parameter in parameters {
      parameter.gradient = [Float](repeating: 0, count: parameter.count)
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
  private static func refusal(_ obstacles: [TrainingPlan.Obstacle]) -> QuenchError {
    let first = obstacles.first
    let more = obstacles.count > 1 ? " (and \(obstacles.count - 1) more)" : ""
    return QuenchError(
      .data, "\(first?.reason ?? "the model cannot train")\(more)",
      at: .node(first?.node ?? model(of: obstacles)),
      try: "finetune: off, or an export of the model without this operator")
  }

  private static func model(of obstacles: [TrainingPlan.Obstacle]) -> String { "the model" }

  /// Parameters that a gradient reaches; the others are marked.
  private static func markTrained(_ tape: Tape) -> [TapeParameter] {
    var reached: Set<ObjectIdentifier> = []
    for (index, step) in tape.operators.enumerated() where tape.isActive(index) {
      for parameter in step.parameters { reached.insert(ObjectIdentifier(parameter)) }
    }
    for parameter in tape.parameters {
      parameter.isTrained = reached.contains(ObjectIdentifier(parameter))
    }
    return tape.parameters.filter(\.isTrained)
  }

  private static func plan(
    of tape: Tape, unknown: [TrainingPlan.Obstacle]
  ) -> TrainingPlan {
    var plan = TrainingPlan(trained: [], frozen: [], withoutGradient: [], unknown: unknown)
    for (index, step) in tape.operators.enumerated() where !(step is FakeQuantizer) {
      guard !step.parameters.isEmpty, plan.trained.last != step.node else { continue }
      if tape.isActive(index) {
        plan.trained.append(step.node)
      } else {
        plan.frozen.append(TrainingPlan.FrozenLayer(layer: step.node, below: tape.output.name))
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
