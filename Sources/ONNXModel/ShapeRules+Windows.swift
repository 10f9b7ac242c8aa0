// SPDX-License-Identifier: Apache-2.0
// ONNXModel: output types of convolutions, pooling, products and recurrent layers.

internal import Diagnostics
internal import Tensors

extension ShapeRules {
  /// The outputs of an operator that slides a window or multiplies matrices; nil for others.
  static func windowed(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    switch context.node.opType {
    case "Conv": try convolution(context)
    case "ConvTranspose": try deconvolution(context)
    case "MaxPool", "AveragePool", "LpPool": try pooling(context)
    case "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool": try globalPooling(context)
    case "Gemm": try gemm(context)
    case "MatMul": try matMul(context)
    case "LSTM", "GRU", "RNN": try recurrent(context)
    default: nil
    }
  }

  /// Kernel, stride, dilation and padding of each spatial axis.
  struct Window {
    var kernel: [Int]
    var strides: [Int]
    var dilations: [Int]
    /// All beginnings, then all ends, as in the attribute.
    var pads: [Int]
    var autoPad: String

    init(_ context: RuleContext, kernel: [Int]) throws(QuenchError) {
      let node = context.node
      let count = kernel.count
      self.kernel = kernel
      strides = node.ints("strides") ?? Array(repeating: 1, count: count)
      dilations = node.ints("dilations") ?? Array(repeating: 1, count: count)
      pads = node.ints("pads") ?? Array(repeating: 0, count: 2 * count)
      autoPad = node.string("auto_pad") ?? "NOTSET"
      let bound = 1 << 30
      guard strides.count == count, dilations.count == count, pads.count == 2 * count,
        (kernel + strides + dilations).allSatisfy({ $0 > 0 && $0 < bound }),
        pads.allSatisfy({ $0.magnitude < bound })
      else { throw context.refusal("its window attributes do not go together") }
    }

    /// The extent that one window covers.
    func span(_ axis: Int) -> Int { (kernel[axis] - 1) * dilations[axis] + 1 }

    /// The output extent of a sliding window.
    func output(
      _ context: RuleContext, _ extent: Int, _ axis: Int, ceiling: Bool
    ) throws(QuenchError) -> Int {
      let stride = strides[axis]
      switch autoPad {
      case "SAME_UPPER", "SAME_LOWER": return (extent + stride - 1) / stride
      case "VALID", "NOTSET":
        let begin = autoPad == "VALID" ? 0 : pads[axis]
        let end = autoPad == "VALID" ? 0 : pads[axis + kernel.count]
        let room = extent + begin + end - span(axis)
        guard room >= 0 else {
          throw context.refusal("its window of \(span(axis)) does not fit extent \(extent)")
        }
        guard ceiling else { return room / stride + 1 }
        let count = (room + stride - 1) / stride + 1
        // A window that would start in the end padding is left out.
        return (count - 1) * stride >= extent + begin ? count - 1 : count
      default: throw context.refusal("auto_pad \"\(autoPad)\" is unknown")
      }
    }
  }

  private static func convolution(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let (input, weight) = (try context.type(0), try context.type(1))
    let rank = input.shape.count
    let group = context.node.int("group", default: 1)
    guard rank >= 3, weight.shape.count == rank, group > 0, group < 1 << 30 else {
      throw context.refusal("input \(input.shape) and weight \(weight.shape) do not go together")
    }
    guard input.shape[1] == weight.shape[1] * group, weight.shape[0] % group == 0 else {
      throw context.refusal(
        "input \(input.shape), weight \(weight.shape) and group \(group) do not go together")
    }
    if let kernel = context.node.ints("kernel_shape"), kernel != Array(weight.shape.dropFirst(2)) {
      throw context.refusal("kernel_shape \(kernel) is not that of weight \(weight.shape)")
    }
    let window = try Window(context, kernel: Array(weight.shape.dropFirst(2)))
    var shape = [input.shape[0], weight.shape[0]]
    for axis in 0..<(rank - 2) {
      shape.append(try window.output(context, input.shape[axis + 2], axis, ceiling: false))
    }
    // In a model for the device a convolution of 8-bit codes gives 32-bit sums.
    let type: ElementType = input.elementType == .int8 ? .int32 : input.elementType
    return [TensorType(type, shape)]
  }

  private static func deconvolution(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let (input, weight) = (try context.type(0), try context.type(1))
    let rank = input.shape.count
    let group = context.node.int("group", default: 1)
    guard rank >= 3, weight.shape.count == rank, group > 0, group < 1 << 30,
      input.shape[1] == weight.shape[0],
      weight.shape[0] % group == 0
    else {
      throw context.refusal(
        "input \(input.shape), weight \(weight.shape) and group \(group) do not go together")
    }
    let window = try Window(context, kernel: Array(weight.shape.dropFirst(2)))
    let extra =
      context.node.ints("output_padding") ?? Array(repeating: 0, count: window.kernel.count)
    let fixed = context.node.ints("output_shape")
    guard extra.count == rank - 2, extra.allSatisfy({ $0.magnitude < 1 << 30 }),
      fixed?.count ?? (rank - 2) == rank - 2
    else {
      throw context.refusal("its window attributes do not go together")
    }
    var shape = [input.shape[0], weight.shape[1] * group]
    for axis in 0..<(rank - 2) {
      let (extent, stride) = (input.shape[axis + 2], window.strides[axis])
      if let fixed {
        shape.append(fixed[axis])
      } else if window.autoPad.hasPrefix("SAME") {
        shape.append(extent * stride)
      } else {
        let pads =
          window.autoPad == "VALID" ? 0 : window.pads[axis] + window.pads[axis + rank - 2]
        shape.append(stride * (extent - 1) + extra[axis] + window.span(axis) - pads)
      }
    }
    let type: ElementType = input.elementType == .int8 ? .int32 : input.elementType
    return [TensorType(type, shape)]
  }

  private static func pooling(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let input = try context.type(0)
    guard let kernel = context.node.ints("kernel_shape"), input.shape.count == kernel.count + 2
    else { throw context.refusal("kernel_shape does not go with input \(input.shape)") }
    let window = try Window(context, kernel: kernel)
    let ceiling = context.node.int("ceil_mode", default: 0) != 0
    var shape = Array(input.shape.prefix(2))
    for axis in kernel.indices {
      shape.append(try window.output(context, input.shape[axis + 2], axis, ceiling: ceiling))
    }
    return [TensorType(input.elementType, shape), TensorType(.int64, shape)]
  }

  private static func globalPooling(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let input = try context.type(0)
    guard input.shape.count >= 2 else { throw context.refusal("input \(input.shape) is flat") }
    let ones = Array(repeating: 1, count: input.shape.count - 2)
    return [TensorType(input.elementType, Array(input.shape.prefix(2)) + ones)]
  }

  private static func gemm(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let (a, b) = (try context.type(0), try context.type(1))
    guard a.shape.count == 2, b.shape.count == 2 else {
      throw context.refusal("it multiplies matrices, not \(a.shape) and \(b.shape)")
    }
    let left = context.node.int("transA", default: 0) != 0 ? Array(a.shape.reversed()) : a.shape
    let right = context.node.int("transB", default: 0) != 0 ? Array(b.shape.reversed()) : b.shape
    guard left[1] == right[0] else {
      throw context.refusal("matrices \(left) and \(right) do not go together")
    }
    let type: ElementType = a.elementType == .int8 ? .int32 : a.elementType
    return [TensorType(type, [left[0], right[1]])]
  }

  private static func matMul(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let (a, b) = (try context.type(0), try context.type(1))
    guard !a.shape.isEmpty, !b.shape.isEmpty else {
      throw context.refusal("it cannot multiply scalars")
    }
    // A vector counts as a row on the left and as a column on the right; that axis then goes.
    let left = a.shape.count == 1 ? [1] + a.shape : a.shape
    let right = b.shape.count == 1 ? b.shape + [1] : b.shape
    guard left[left.count - 1] == right[right.count - 2] else {
      throw context.refusal("shapes \(a.shape) and \(b.shape) do not go together")
    }
    var shape = try context.broadcast([Array(left.dropLast(2)), Array(right.dropLast(2))])
    if a.shape.count > 1 { shape.append(left[left.count - 2]) }
    if b.shape.count > 1 { shape.append(right[right.count - 1]) }
    let type: ElementType = a.elementType == .int8 ? .int32 : a.elementType
    return [TensorType(type, shape)]
  }

  /// LSTM, GRU and RNN: sequence, last state, and for LSTM the last cell.
  private static func recurrent(_ context: RuleContext) throws(QuenchError) -> [TensorType?]? {
    let input = try context.type(0)
    let hidden = context.node.int("hidden_size", default: try context.type(2).shape.last ?? 0)
    guard input.shape.count == 3 else {
      throw context.refusal("input \(input.shape) is no sequence of batches of vectors")
    }
    let directions = context.node.string("direction") == "bidirectional" ? 2 : 1
    let batchFirst = context.node.int("layout", default: 0) != 0
    let (steps, batch) =
      batchFirst ? (input.shape[1], input.shape[0]) : (input.shape[0], input.shape[1])
    let sequence =
      batchFirst
      ? [batch, steps, directions, hidden] : [steps, directions, batch, hidden]
    let state = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden]
    let type = input.elementType
    return [TensorType(type, sequence), TensorType(type, state), TensorType(type, state)]
  }
}
