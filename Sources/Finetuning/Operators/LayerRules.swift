// SPDX-License-Identifier: Apache-2.0
// Finetuning: rules for Conv, Gemm, MatMul and pooling.

internal import CKernels
internal import Diagnostics
internal import ONNXModel
internal import Tensors

extension TapeBuilder {
  static let layerRules: [String: Rule] = [
    "Conv": { (b, n) throws(QuenchError) in try b.convolution(n) },
    "Gemm": { (b, n) throws(QuenchError) in try b.gemm(n) },
    "MatMul": { (b, n) throws(QuenchError) in try b.matMul(n) },
    "MaxPool": { (b, n) throws(QuenchError) in try b.pooling(n, isMaximum: true) },
    "AveragePool": { (b, n) throws(QuenchError) in try b.pooling(n, isMaximum: false) },
    "GlobalAveragePool": { (b, n) throws(QuenchError) in
      try b.reduction(n, axes: b.spatialAxes(n), isMean: true)
    },
    "GlobalMaxPool": { (b, n) throws(QuenchError) in try b.globalMaximum(n) },
    "ReduceMean": { (b, n) throws(QuenchError) in
      try b.reduction(n, axes: nil, isMean: true)
    },
    "ReduceSum": { (b, n) throws(QuenchError) in
      try b.reduction(n, axes: nil, isMean: false)
    },
  ]

  private func spatialAxes(_ node: Node) throws(QuenchError) -> [Int] {
    Array(2..<max(3, try shape(node.inputs[0]).count))
  }

  /// A sequence's shape as that of an image of height 1; other shapes as they are.
  func imageShape(_ shape: [Int]) -> [Int] {
    shape.count == 3 ? [shape[0], shape[1], 1, shape[2]] : shape
  }

  /// The windows of a Conv or a pooling operator over images, or sequences seen as images.
  func window(
    _ node: Node, kernel: [Int], input: [Int], output: [Int]
  ) throws(QuenchError) -> ConvolutionLayer.Window {
    // One axis is the width.
    func both(_ values: [Int]?, or height: Int) -> [Int] {
      guard let values else { return [height, height] }
      return values.count == 1 ? [height] + values : values
    }
    let kernel = both(kernel, or: 1)
    let (input, output) = (imageShape(input), imageShape(output))
    guard kernel.count == 2, input.count == 4, output.count == 4 else {
      throw refusal(node, "fine-tuning takes a \(node.opType) over one or two spatial axes only")
    }
    let strides = both(node.ints("strides"), or: 1)
    let dilations = both(node.ints("dilations"), or: 1)
    var begin = [0, 0]
    switch node.string("auto_pad") ?? "NOTSET" {
    case "NOTSET":
      let pads = node.ints("pads") ?? []
      begin = both(Array(pads.prefix(pads.count / 2)), or: 0)
      if pads.isEmpty { begin = [0, 0] }
    case "VALID": break
    case let mode:
      for axis in 0..<2 {
        let reach =
          (output[axis + 2] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        let total = max(0, reach - input[axis + 2])
        begin[axis] = mode == "SAME_LOWER" ? total - total / 2 : total / 2
      }
    }
    guard strides.count == 2, dilations.count == 2, begin.count == 2 else {
      throw refusal(node, "the attributes of \"\(node.name)\" do not fit its spatial axes")
    }
    return ConvolutionLayer.Window(
      kernel: (kernel[0], kernel[1]), stride: (strides[0], strides[1]),
      dilation: (dilations[0], dilations[1]), top: begin[0], left: begin[1])
  }

  private func convolution(_ node: Node) throws(QuenchError) {
    let weights = try constant(node.inputs[1])
    let group = node.int("group", default: 1)
    let shape = weights.shape
    let positions = shape.dropFirst(2).reduce(1, *)
    guard [3, 4].contains(shape.count), positions <= 1024, !shape.contains(0) else {
      throw refusal(
        node,
        "fine-tuning takes Conv with one or two spatial axes and at most 1024 kernel positions")
    }
    let window = try window(
      node, kernel: Array(shape[2...]), input: self.shape(node.inputs[0]),
      output: self.shape(node.outputs[0]))
    let output = try imageOutput(node)
    try layer(
      node, input: imageInput(node.inputs[0]), output: output,
      shape: (shape[0], shape[1], positions), strides: (shape[1] * positions, positions, 1),
      group: group, window: window)
    try finishImage(output, of: node)
  }

  private func gemm(_ node: Node) throws(QuenchError) {
    guard node.int("transA", default: 0) == 0, node.float("alpha", default: 1) == 1,
      node.float("beta", default: 1) == 1 || node.inputs.count < 3
    else { throw refusal(node, "fine-tuning takes Gemm with alpha 1, beta 1 and transA 0") }
    let shape = try constant(node.inputs[1]).shape
    guard shape.count == 2, !shape.contains(0) else {
      throw refusal(node, "fine-tuning takes Gemm with a constant matrix")
    }
    let isTransposed = node.int("transB", default: 0) != 0
    let (o, i) = isTransposed ? (shape[0], shape[1]) : (shape[1], shape[0])
    try layer(
      node, input: tensor(node.inputs[0], layout: .plain),
      output: declare(node.outputs[0], layout: .plain), shape: (o, i, 1),
      strides: isTransposed ? (i, 1, 0) : (1, o, 0), group: 1, window: nil)
  }

  private func layer(
    _ node: Node, input: TapeTensor, output: TapeTensor, shape: (o: Int, i: Int, k: Int),
    strides: (o: Int, i: Int, k: Int), group: Int, window: ConvolutionLayer.Window?
  ) throws(QuenchError) {
    let values = try parameter(node.inputs[1], kind: .weight, layer: node.name)
    let bias = try bias(node, channels: shape.o)
    let (source, scales) = quantization(of: node, input: input, weight: values)
    let weight = LayerWeight(
      values, scales: scales, range: .weights(bits: bits(of: values)), shape: shape,
      strides: strides)
    append(
      ConvolutionLayer(
        node: node.name, source: source, output: output, weight: weight, bias: bias, group: group,
        window: window))
  }

  /// The trainable bias at position 2, if there is one.
  func bias(_ node: Node, channels: Int) throws(QuenchError) -> TapeParameter? {
    guard node.inputs.count > 2, !node.inputs[2].isEmpty else { return nil }
    let made = try parameter(node.inputs[2], kind: .bias, layer: node.name)
    guard made.parameter.count == channels else {
      throw refusal(node, "the bias of \"\(node.name)\" is not one number an output channel")
    }
    return made
  }

  private func matMul(_ node: Node) throws(QuenchError) {
    if isConstant(node.inputs[1]), !isConstant(node.inputs[0]) {
      let shape = try constant(node.inputs[1]).shape
      guard shape.count == 2, !shape.contains(0) else {
        throw refusal(node, "fine-tuning takes MatMul with a constant matrix of rank 2")
      }
      try layer(
        node, input: tensor(node.inputs[0], layout: .plain),
        output: declare(node.outputs[0], layout: .plain), shape: (shape[1], shape[0], 1),
        strides: (1, shape[1], 0), group: 1, window: nil)
      return
    }
    let a = try tensor(node.inputs[0], layout: .plain)
    let b = try tensor(node.inputs[1], layout: .plain)
    guard a.isBatched, b.isBatched, a.shape.count == b.shape.count, a.shape.count >= 2,
      a.shape.dropLast(2) == b.shape.dropLast(2)
    else {
      throw refusal(node, "fine-tuning takes MatMul of computed matrices of the same leading axes")
    }
    let rank = a.shape.count
    append(
      MatrixProduct(
        node: node.name, a: a, b: b, output: try declare(node.outputs[0], layout: .plain),
        extents: (
          a.shape.dropLast(2).reduce(1, *), a.shape[rank - 2], b.shape[rank - 1], a.shape[rank - 1]
        )))
  }

  private func pooling(_ node: Node, isMaximum: Bool) throws(QuenchError) {
    guard node.outputs.dropFirst().allSatisfy(\.isEmpty) else {
      throw refusal(node, "fine-tuning takes MaxPool without indices")
    }
    let window = try window(
      node, kernel: node.ints("kernel_shape") ?? [], input: shape(node.inputs[0]),
      output: shape(node.outputs[0]))
    let output = try imageOutput(node)
    append(
      Pooling(
        node: node.name, input: try imageInput(node.inputs[0]), output: output,
        isMaximum: isMaximum, window: window,
        countsPadding: node.int("count_include_pad", default: 0) != 0))
    try finishImage(output, of: node)
  }

  private func globalMaximum(_ node: Node) throws(QuenchError) {
    let input = try imageInput(node.inputs[0])
    guard input.shape.count == 4 else {
      throw refusal(node, "fine-tuning takes a \(node.opType) over one or two spatial axes only")
    }
    let output = try imageOutput(node)
    append(
      Pooling(
        node: node.name, input: input, output: output, isMaximum: true,
        window: ConvolutionLayer.Window(
          kernel: (input.shape[2], input.shape[3]), stride: (1, 1), dilation: (1, 1), top: 0,
          left: 0), countsPadding: false))
    try finishImage(output, of: node)
  }

  private func reduction(_ node: Node, axes: [Int]?, isMean: Bool) throws(QuenchError) {
    let shape = try shape(node.inputs[0])
    let rank = shape.count
    var given = axes ?? node.ints("axes") ?? []
    if given.isEmpty { given = try integers(node, at: 1) ?? Array(0..<rank) }
    // The batch axis has extent 1 in each sample, so summing over it changes nothing.
    let all = Set(given.map { $0 < 0 ? $0 + rank : $0 }).filter { $0 > 0 && $0 < rank }.sorted()
    guard let first = all.first, let last = all.last, all.count == last - first + 1 else {
      throw refusal(node, "fine-tuning takes \(node.opType) over neighboring axes only")
    }
    let reduced = shape[first...last].reduce(1, *)
    let factor = isMean ? 1 / Double(reduced) : 1
    let isImage = rank == 4 && all == [2, 3]
    let input = try tensor(node.inputs[0], layout: isImage ? .channelsLast : .plain)
    let outputRank = try self.shape(node.outputs[0]).count
    let output = try declare(
      node.outputs[0], layout: isImage && outputRank == 4 ? .channelsLast : .plain)
    let extents =
      isImage
      ? (1, reduced, shape[1])
      : (shape[..<first].reduce(1, *), reduced, shape[(last + 1)...].reduce(1, *))
    append(
      AxisSum(node: node.name, input: input, output: output, extents: extents, factor: factor))
  }
}
