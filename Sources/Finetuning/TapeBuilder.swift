// SPDX-License-Identifier: Apache-2.0
// Finetuning: from a folded ONNX model to a tape.

internal import CKernels
internal import Calibration
internal import Diagnostics
internal import ONNXModel
internal import Quantization
internal import Tensors

/// Builds a tape node by node. Rules are looked up in `TapeBuilder.rules`, one file a family.
final class TapeBuilder {
  typealias Rule = @Sendable (TapeBuilder, Node) throws(QuenchError) -> Void

  let model: Model
  let machine: TapeMachine
  let options: TrainableGraphOptions
  let types: [String: TensorType]
  private let initializers: [String: Initializer]
  private let consumers: [String: [Int]]
  private let outputs: Set<String>
  /// Nil: no fake quantization.
  private let quantized: QuantizedModel?
  private let quantizedLayers: [String: Int]

  private var tensors: [String: TapeTensor] = [:]
  private var otherLayouts: [String: TapeTensor] = [:]
  /// Sequences as images of height 1.
  private var images: [String: TapeTensor] = [:]
  private var operators: [any TapeOperator] = []
  private var producers: [ObjectIdentifier: any TapeOperator] = [:]
  private var activationNames: [String: Int] = [:]
  private var fakeQuantizers: [ObjectIdentifier: [FakeQuantizer]] = [:]
  private var parametersByName: [String: TapeParameter] = [:]
  private var weightScales: [Int: TapeParameter] = [:]
  private(set) var parameters: [TapeParameter] = []
  /// Which parameters hold the scales of which layers.
  private(set) var activationScales: [String: TapeParameter] = [:]
  private(set) var layerWeightScales: [String: TapeParameter] = [:]
  private(set) var obstacles: [Int: TrainingPlan.Obstacle] = [:]
  /// What of the model is built, and what the frozen part below makes.
  let cut: NetworkCut
  /// What the frozen part reads: on the tape it stays as it is.
  private let fixedNames: Set<String>

  init(
    _ model: Model, quantized: QuantizedModel?, options: TrainableGraphOptions,
    machine: TapeMachine, cut: NetworkCut
  ) throws(QuenchError) {
    self.model = model
    self.cut = cut
    fixedNames = cut.frozenReads
    self.quantized = quantized
    self.options = options
    self.machine = machine
    types = try ShapeInference.infer(model, inputs: [:])
    initializers = Dictionary(
      model.graph.initializers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    consumers = model.graph.consumers()
    outputs = Set(model.graph.outputs.map(\.name))
    quantizedLayers = Dictionary(
      (quantized?.layers ?? []).enumerated().map { ($1.layer.name, $0) },
      uniquingKeysWith: { first, _ in first })
  }

  /// Builds the tape; nil when `obstacles` says what stands in the way.
  func build() throws(QuenchError) -> Tape? {
    let inputs = model.graph.freeInputs
    guard inputs.count == 1, model.graph.outputs.count == 1 else {
      throw QuenchError(
        .data,
        "the model has \(inputs.count) inputs and \(model.graph.outputs.count) outputs, "
          + "fine-tuning needs one of each", try: "a model with one input and one output")
    }
    let input = try declare(inputs[0].name, layout: .plain)
    guard input.shape.first == 1 else {
      throw QuenchError(
        .data, "the input \"\(input.name)\" has shape \(input.shape), the batch must be 1",
        at: .tensor(input.name), try: "quench fold --input \(input.name)=1x…")
    }
    var sources = [input]
    for name in cut.tensors where handingOver(name) == nil {
      sources.append(try declare(name, layout: .plain))
    }
    let nodes = model.graph.nodes
    for index in cut.above { try add(nodes[index], at: index) }
    guard obstacles.isEmpty, !cut.isFrozen(cut.result) else { return nil }
    let output = try tensor(cut.result, layout: .plain)
    roundBiases()
    let steps = ordered(after: sources)
    ConvolutionLayer.findReaders(steps, output: output)
    return Tape(
      machine: machine, inputs: sources, output: output, operators: steps, parameters: parameters)
  }

  private func add(_ node: Node, at index: Int) throws(QuenchError) {
    let isKnown = node.domain.isEmpty || node.domain == "ai.onnx"
    guard isKnown, let rule = Self.rules[node.opType] else {
      refuse(node, at: index, "fine-tuning has no rule for the operator \(node.opType)")
      return
    }
    for name in node.inputs where cut.isFrozen(name) {
      if let reason = handingOver(name) { return refuse(node, at: index, reason) }
    }
    // What follows from an obstacle is looked at when the network has been cut there.
    let known = node.inputs.allSatisfy {
      $0.isEmpty || tensors[$0] != nil || initializers[$0] != nil
    }
    guard known else { return }
    do {
      try rule(self, node)
    } catch {
      refuse(node, at: index, error.message)
    }
  }

  /// Lets quantized layers add their biases as the QDQ model holds them, in INT32.
  private func roundBiases() {
    for layer in quantized?.layers ?? [] {
      // A bias of several users is rounded for none of them.
      guard let name = layer.layer.bias, let bias = parametersByName[name],
        bias.parameter.layers.count == 1, let activation = activationScales[layer.layer.name],
        let weights = layerWeightScales[layer.layer.name]
      else { continue }
      bias.rounding = (activation.parameter, weights.parameter)
    }
  }

  private func refuse(_ node: Node, at index: Int, _ reason: String) {
    obstacles[index] = TrainingPlan.Obstacle(node: node.name, opType: node.opType, reason: reason)
  }

  /// Why a tensor cannot be handed from the frozen part to the tape; nil when it can.
  private func handingOver(_ name: String) -> String? {
    guard let type = types[name] else {
      return "the shape of \"\(name)\", which the frozen part makes, is not known"
    }
    guard type.elementType == .float32 else {
      return "it reads \"\(name)\" of \(type.elementType) from the frozen part, "
        + "which hands over float32 only"
    }
    return type.shape.contains(0) ? "\"\(name)\", which the frozen part makes, is empty" : nil
  }

  /// All operators, each fake quantizer right behind what makes its input.
  private func ordered(after sources: [TapeTensor]) -> [any TapeOperator] {
    var result: [any TapeOperator] = sources.flatMap {
      fakeQuantizers[ObjectIdentifier($0)] ?? []
    }
    for step in operators {
      result.append(step)
      let quantizers = fakeQuantizers[ObjectIdentifier(step.output)] ?? []
      if let limiter = step as? Limiter {
        limiter.maskers = quantizers
        for quantizer in quantizers { quantizer.gate = limiter.limits }
      }
      result += quantizers
    }
    return result
  }
}

// MARK: - For the rules

extension TapeBuilder {
  /// An error about a node that fine-tuning cannot take.
  func refusal(_ node: Node, _ reason: String) -> QuenchError {
    QuenchError(.data, reason, at: node.place)
  }

  func shape(_ name: String) throws(QuenchError) -> [Int] {
    guard let type = types[name] else {
      throw ShapeInference.missing(name, in: model, types: types)
    }
    return type.shape
  }

  /// Declares the tensor that a node makes.
  func declare(_ name: String, layout: TapeLayout) throws(QuenchError) -> TapeTensor {
    guard let type = types[name] else {
      throw ShapeInference.missing(name, in: model, types: types)
    }
    guard type.elementType == .float32 else {
      throw QuenchError(
        .data, "the tensor \"\(name)\" is \(type.elementType), fine-tuning computes float32 only",
        at: .tensor(name))
    }
    let tensor = TapeTensor(name, shape: type.shape, layout: layout)
    tensors[name] = tensor
    return tensor
  }

  func append(_ step: any TapeOperator) {
    operators.append(step)
    producers[ObjectIdentifier(step.output)] = step
  }

  func isConstant(_ name: String) -> Bool { initializers[name] != nil }

  /// A constant's elements.
  func constant(_ name: String) throws(QuenchError) -> Tensor {
    guard let initializer = initializers[name] else {
      throw QuenchError(
        .data, "\"\(name)\" is computed, fine-tuning needs it constant", at: .tensor(name))
    }
    return try initializer.tensor()
  }

  /// An optional constant input of integers.
  func integers(_ node: Node, at position: Int) throws(QuenchError) -> [Int]? {
    guard node.inputs.count > position, !node.inputs[position].isEmpty else { return nil }
    let tensor = try constant(node.inputs[position])
    switch tensor.elementType {
    case .int64: return tensor.values(as: Int64.self).map { Int(clamping: $0) }
    case .int32: return tensor.values(as: Int32.self).map { Int($0) }
    default: throw refusal(node, "\"\(node.inputs[position])\" does not hold integers")
    }
  }

  /// An optional constant input of one float.
  func number(_ node: Node, at position: Int) throws(QuenchError) -> Double? {
    guard node.inputs.count > position, !node.inputs[position].isEmpty else { return nil }
    let tensor = try constant(node.inputs[position])
    guard tensor.elementType == .float32, tensor.count == 1 else {
      throw refusal(node, "\"\(node.inputs[position])\" is not one float32")
    }
    return Double(tensor.floats[0])
  }

  /// The layout that a tensor was computed in.
  func layout(of name: String) -> TapeLayout { tensors[name]?.layout ?? .plain }

  /// A computed tensor, or a constant, in the layout asked for; ranks other than 4 are plain.
  func tensor(_ name: String, layout: TapeLayout) throws(QuenchError) -> TapeTensor {
    guard let tensor = tensors[name] else { return try constantTensor(name) }
    guard tensor.shape.count == 4, tensor.layout != layout else { return tensor }
    if let known = otherLayouts[name] { return known }
    let other = TapeTensor(tensor.name, shape: tensor.shape, layout: layout)
    let (height, width, channels) = tensor.image
    if height * width == 1 || channels == 1 {
      append(View(node: name, input: tensor, output: other))
    } else {
      append(moved(tensor, to: other, node: name))
    }
    otherLayouts[name] = other
    return other
  }

  /// What a window operator reads: an image, or a sequence seen as an image of height 1.
  func imageInput(_ name: String) throws(QuenchError) -> TapeTensor {
    guard let sequence = tensors[name], sequence.shape.count == 3 else {
      return try tensor(name, layout: .channelsLast)
    }
    if let known = images[name] { return known }
    let shape = [sequence.shape[0], sequence.shape[1], 1, sequence.shape[2]]
    let plain = TapeTensor(name, shape: shape, layout: .plain)
    append(View(node: name, input: sequence, output: plain))
    let image = TapeTensor(name, shape: shape, layout: .channelsLast)
    append(moved(plain, to: image, node: name))
    images[name] = image
    return image
  }

  /// The image that a window operator makes, its result itself unless that is a sequence.
  func imageOutput(_ node: Node) throws(QuenchError) -> TapeTensor {
    let shape = try shape(node.outputs[0])
    guard shape.count == 3 else { return try declare(node.outputs[0], layout: .channelsLast) }
    return TapeTensor(
      node.outputs[0], shape: [shape[0], shape[1], 1, shape[2]], layout: .channelsLast)
  }

  /// Makes the sequence of an image that a window operator made.
  func finishImage(_ image: TapeTensor, of node: Node) throws(QuenchError) {
    guard tensors[node.outputs[0]] !== image else { return }
    let plain = TapeTensor(image.name, shape: image.shape, layout: .plain)
    append(moved(image, to: plain, node: node.name))
    append(
      View(node: node.name, input: plain, output: try declare(node.outputs[0], layout: .plain)))
    images[node.outputs[0]] = image
  }

  private func moved(_ from: TapeTensor, to: TapeTensor, node: String) -> Movement {
    let box = Movement.Box(
      input: from, shape: from.shape, inputStart: 0, inputStrides: from.strides, outputStart: 0,
      outputStrides: to.strides)
    return Movement(node: node, boxes: [box], output: to)
  }

  private func constantTensor(_ name: String) throws(QuenchError) -> TapeTensor {
    let values = try constant(name)
    guard values.elementType == .float32 else {
      throw QuenchError(.data, "\"\(name)\" is not float32", at: .tensor(name))
    }
    let tensor = TapeTensor(name, shape: values.shape, layout: .plain, isBatched: false)
    if let parameter = parametersByName[name] {
      tensor.data = parameter.data
    } else {
      let buffer = machine.makeBuffer(values.count)
      machine.write(values.floats, to: buffer)
      tensor.data = buffer
    }
    return tensor
  }

  /// The operator that made a tensor, when no one else reads it.
  func soleProducer(of name: String, _ tensor: TapeTensor) -> (any TapeOperator)? {
    guard consumers[name]?.count == 1, !outputs.contains(name), otherLayouts[name] == nil else {
      return nil
    }
    return producers[ObjectIdentifier(tensor)]
  }

  /// The trainable initializer of a name; made when first asked for.
  func parameter(
    _ name: String, kind: ParameterKind, layer: String
  ) throws(QuenchError) -> TapeParameter {
    if let known = parametersByName[name] {
      known.parameter.layers.append(layer)
      return known
    }
    let values = try constant(name)
    guard values.elementType == .float32 else {
      throw QuenchError(.data, "\"\(name)\" is not float32", at: .tensor(name))
    }
    let made = TapeParameter(
      Parameter(name: name, kind: kind, layers: [layer], values: values.floats), machine,
      isFixed: fixedNames.contains(name))
    parametersByName[name] = made
    parameters.append(made)
    return made
  }

  /// Where the layer's numbers come from: input through its fake quantizer, scales of the weight.
  func quantization(
    of node: Node, input: TapeTensor, weight: TapeParameter
  ) -> (source: LayerInput, scales: TapeParameter?) {
    guard let quantized, let index = quantizedLayers[node.name],
      quantized.layers[index].layer.weight == weight.parameter.name
    else { return (LayerInput(tensor: input, quantizer: nil), nil) }
    let layer = quantized.layers[index]
    let (scale, zeroPoint) = InitialScales.activation(
      layer.activation, bits: options.activationBits)
    let range = FakeQuantizeRange.activations(bits: options.activationBits, zeroPoint: zeroPoint)
    let scales = weightScale(layer, weight)
    let known = fakeQuantizers[ObjectIdentifier(input)] ?? []
    let quantizer: FakeQuantizer
    if let same = known.first(where: { $0.initialScale == scale && $0.range == range }) {
      same.scale.parameter.layers.append(node.name)
      quantizer = same
    } else {
      // Layouts of one tensor have quantizers of their own.
      let count = activationNames[input.name, default: 0] + 1
      activationNames[input.name] = count
      let name = count == 1 ? input.name : "\(input.name)#\(count)"
      let parameter = TapeParameter(
        Parameter(
          name: name, kind: .activationScale, layers: [node.name], values: [scale],
          floors: [scale / 16], ceilings: ceilings(of: input, scale, range)), machine,
        isFixed: fixedNames.contains(input.name))
      parameters.append(parameter)
      quantizer = FakeQuantizer(input, scale: parameter, initialScale: scale, range: range)
      fakeQuantizers[ObjectIdentifier(input), default: []].append(quantizer)
    }
    activationScales[node.name] = quantizer.scale
    layerWeightScales[node.name] = scales
    return (LayerInput(tensor: input, quantizer: quantizer), scales)
  }

  /// How large the scale of an activation that a Clip made may grow; never below where it begins.
  private func ceilings(
    of input: TapeTensor, _ scale: Float, _ range: FakeQuantizeRange
  ) -> [Float] {
    guard let limits = (producers[ObjectIdentifier(input)] as? Limiter)?.limits,
      limits.high.isFinite, limits.high > 0, limits.low >= 0, range.low == 0
    else { return [] }
    return [max(scale, Float(limits.high / range.high))]
  }

  /// The frozen part has 8 bits, whatever the rest is trained for.
  func bits(of weight: TapeParameter) -> Int { weight.isFixed ? 8 : options.weightBits }

  private func weightScale(_ layer: QuantizedLayer, _ weight: TapeParameter) -> TapeParameter? {
    if let known = weightScales[layer.weight] {
      known.parameter.layers.append(layer.layer.name)
      return known
    }
    guard let quantized else { return nil }
    let scale = quantized.weights[layer.weight]
    let values = InitialScales.weights(
      weight.parameter.values, shape: scale.codes.shape, scale.scale, bits: bits(of: weight))
    let repeats = quantized.weights[..<layer.weight].count { $0.name == scale.name }
    let made = TapeParameter(
      Parameter(
        name: repeats == 0 ? scale.name : "\(scale.name)#\(repeats + 1)", kind: .weightScale,
        layers: [layer.layer.name], values: values, floors: values.map { $0 / 16 }), machine,
      isFixed: weight.isFixed)
    weightScales[layer.weight] = made
    parameters.append(made)
    return made
  }
}
