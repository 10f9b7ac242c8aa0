// SPDX-License-Identifier: Apache-2.0
// Finetuning: how a quantized layer's sum of products of codes becomes its result.

/// What a layer does to its sums of products of codes.
///
/// Sums of codes are whole numbers, so neither their order nor the CPU matters, and the layer gives
/// the codes that integer arithmetic gives. In training the sums are of fake-quantized values,
/// which round: values at a tie between two codes then fall to either side.
struct CodeSum {
  /// One per output channel, in steps of the products; nil for none.
  let bias: TapeBuffer?
  /// One per output channel: s_x · s_w.
  let steps: [Float]
  /// One per output channel: from a sum to the result.
  var scales: TapeBuffer
  var limits: (low: Double, high: Double)
  /// Whether the result is in steps of its reader.
  var isInSteps: Bool
}

extension CodeSum {
  /// How a layer's sums become its result, with no limits; nil where the layer is not quantized or
  /// not evaluated.
  ///
  /// - Parameter channels: of the output, all groups.
  init?(
    source: LayerInput, weight: LayerWeight, bias: TapeParameter?, channels: Int,
    _ machine: TapeMachine
  ) {
    guard machine.sumsCodes, let quantizer = source.quantizer, let scales = weight.scales,
      bias?.rounding != nil || bias == nil
    else { return nil }
    let activation = Float(quantizer.step(machine))
    let each = scales.parameter.values
    let steps = (0..<channels).map { activation * each[$0 % each.count] }
    self.steps = steps
    self.bias = bias.map { machine.makeBuffer($0.codes(steps: steps)) }
    self.scales = machine.makeBuffer(steps)
    limits = (-.infinity, .infinity)
    isInSteps = false
  }
}

extension ConvolutionLayer {
  /// How codes are summed up; nil where the layer is not quantized or not evaluated.
  ///
  /// A result that is only quantized again goes there by one multiplication, as an integer engine
  /// requantizes: (s_x · s_w) / s_y in float32. Limits that have the outermost codes are left out,
  /// since those are limits themselves.
  /// Source: ONNX Runtime, `QLinearConv` of the CPU and the fusions that lead to it.
  func codeSum(_ machine: TapeMachine) -> CodeSum? {
    guard
      var sum = CodeSum(
        source: source, weight: weight, bias: bias, channels: weight.shape.o, machine)
    else { return nil }
    let next = Float(reader?.step(machine) ?? 0)
    let between = limiter?.limits ?? limits
    func code(_ limit: Double) -> Double {
      Double((Float(limit) / next).rounded(.toNearestOrEven))
    }
    guard let reader, code(between.low) <= reader.range.low, code(between.high) >= reader.range.high
    else {
      sum.limits = limits
      return sum
    }
    sum.scales = machine.makeBuffer(sum.steps.map { $0 / next })
    sum.isInSteps = true
    return sum
  }

  /// Finds the layers whose results go through one fake quantizer and nowhere else.
  ///
  /// A result may change its layout on the way, as those of sequences do: ONNX knows no layouts.
  static func findReaders(_ operators: [any TapeOperator], output: TapeTensor) {
    var readers: [ObjectIdentifier: [any TapeOperator]] = [:]
    for step in operators {
      for tensor in step.inputs { readers[ObjectIdentifier(tensor), default: []].append(step) }
    }
    /// What reads a tensor in any layout; nil for the network's result.
    func found(_ tensor: TapeTensor) -> [any TapeOperator]? {
      guard tensor !== output else { return nil }
      var all: [any TapeOperator] = []
      for step in readers[ObjectIdentifier(tensor)] ?? [] {
        let isLayout = (step is View || step is Movement) && step.output.name == tensor.name
        guard isLayout else {
          all.append(step)
          continue
        }
        guard let others = found(step.output) else { return nil }
        all += others
      }
      return all
    }
    for case let layer as ConvolutionLayer in operators {
      var steps = found(layer.output)
      if steps?.count == 1, let limiter = steps?[0] as? Limiter {
        layer.limiter = limiter
        steps = found(limiter.output)
      }
      let quantizers = steps?.compactMap { $0 as? FakeQuantizer } ?? []
      guard let steps, quantizers.count == 1, let quantizer = quantizers.first else { continue }
      let isAlone = steps.allSatisfy {
        $0 === quantizer || ($0 as? ConvolutionLayer)?.source.quantizer === quantizer
          || ($0 as? TransposedConvolution)?.source.quantizer === quantizer
      }
      if isAlone { layer.reader = quantizer }
    }
  }
}
