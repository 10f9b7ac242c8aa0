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
  /// One per output channel: from a sum to the result.
  let scales: TapeBuffer
  let limits: (low: Double, high: Double)
  /// Whether the result is in steps of its reader.
  let isInSteps: Bool
}

extension ConvolutionLayer {
  /// How codes are summed up; nil where the layer is not quantized or not evaluated.
  ///
  /// A result that is only quantized again goes there by one multiplication, as an integer engine
  /// requantizes: (s_x · s_w) / s_y in float32. Limits that have the outermost codes are left out,
  /// since those are limits themselves.
  /// Source: ONNX Runtime, `QLinearConv` of the CPU and the fusions that lead to it.
  func codeSum(_ machine: TapeMachine) -> CodeSum? {
    guard machine.sumsCodes, let quantizer = source.quantizer, let scales = weight.scales,
      bias?.rounding != nil || bias == nil
    else { return nil }
    let activation = Float(quantizer.step(machine))
    let each = scales.parameter.values
    let steps = (0..<weight.shape.o).map { activation * each[$0 % each.count] }
    let codes = bias.map { buffer($0.codes(steps: steps), machine) }
    let next = Float(reader?.step(machine) ?? 0)
    func code(_ limit: Double) -> Double {
      Double((Float(limit) / next).rounded(.toNearestOrEven))
    }
    guard let reader, code(limits.low) <= reader.range.low, code(limits.high) >= reader.range.high
    else {
      return CodeSum(
        bias: codes, scales: buffer(steps, machine), limits: limits, isInSteps: false)
    }
    return CodeSum(
      bias: codes, scales: buffer(steps.map { $0 / next }, machine),
      limits: (-.infinity, .infinity), isInSteps: true)
  }

  private func buffer(_ values: [Float], _ machine: TapeMachine) -> TapeBuffer {
    let made = machine.makeBuffer(values.count)
    machine.write(values, to: made)
    return made
  }

  /// Finds the layers whose results go through one fake quantizer and nowhere else.
  static func findReaders(_ operators: [any TapeOperator], output: TapeTensor) {
    var readers: [ObjectIdentifier: [any TapeOperator]] = [:]
    for step in operators {
      for tensor in step.inputs { readers[ObjectIdentifier(tensor), default: []].append(step) }
    }
    for case let layer as ConvolutionLayer in operators {
      var result = layer.output
      var found = readers[ObjectIdentifier(result)] ?? []
      if found.count == 1, let limiter = found[0] as? Limiter, limiter.isApplied {
        guard result !== output else { continue }
        result = limiter.output
        found = readers[ObjectIdentifier(result)] ?? []
      }
      let quantizers = found.compactMap { $0 as? FakeQuantizer }
      guard result !== output, quantizers.count == 1, let quantizer = quantizers.first else {
        continue
      }
      let isAlone = found.allSatisfy {
        $0 === quantizer || ($0 as? ConvolutionLayer)?.source.quantizer === quantizer
      }
      if isAlone { layer.reader = quantizer }
    }
  }
}
