// SPDX-License-Identifier: Apache-2.0
// Measurement: channel means of a layer's output, and what the next node lets through.

internal import Diagnostics
internal import ONNXModel
internal import Quantization
internal import Tensors

/// Where the channels of a layer's output lie.
struct ChannelsOfOutput: Sendable {
  let outer: Int
  let channels: Int
  let inner: Int

  /// Convolutions: axis 1; matrix products: the last axis.
  init(_ layer: QuantizableLayer, shape: [Int]) throws(QuenchError) {
    let isMatrix = layer.kind == .fullConnection || layer.kind == .matMul
    let axis = isMatrix ? shape.count - 1 : 1
    guard shape.indices.contains(axis), shape[axis] == layer.channels else {
      throw QuenchError(
        .bug,
        "the output of \"\(layer.name)\" has shape \(shape), without \(layer.channels) channels",
        at: .node(layer.name))
    }
    outer = shape[..<axis].reduce(1, *)
    channels = shape[axis]
    inner = shape[(axis + 1)...].reduce(1, *)
  }

  /// Sums of float minus quantised, per channel, of one sample.
  struct Sums: Sendable {
    var all: [Double]
    var active: [Double]
    var activeCount: [Int]
    /// Elements of a channel.
    var count: Int
  }

  /// - Parameter limits: elements count as active when either side lies strictly between.
  func differences(
    _ exact: UnsafeMutableBufferPointer<Float>, _ rough: UnsafeMutableBufferPointer<Float>,
    _ limits: (low: Float, high: Float)
  ) -> Sums {
    var sums = Sums(
      all: Array(repeating: 0, count: channels), active: Array(repeating: 0, count: channels),
      activeCount: Array(repeating: 0, count: channels), count: outer * inner)
    for block in 0..<outer {
      for channel in 0..<channels {
        let start = (block * channels + channel) * inner
        var (all, active, count) = (0.0, 0.0, 0)
        for index in start..<(start + inner) {
          let (f, y) = (exact[index], rough[index])
          let difference = Double(f) - Double(y)
          all += difference
          if (f > limits.low && f < limits.high) || (y > limits.low && y < limits.high) {
            active += difference
            count += 1
          }
        }
        sums.all[channel] += all
        sums.active[channel] += active
        sums.activeCount[channel] += count
      }
    }
    return sums
  }

  /// The shift of each channel, from the sums of all samples in their order.
  func shift(_ samples: [Sums]) -> [Float] {
    (0..<channels).map { channel in
      var (all, active, activeCount, count) = (0.0, 0.0, 0, 0)
      for sums in samples {
        all += sums.all[channel]
        active += sums.active[channel]
        activeCount += sums.activeCount[channel]
        count += sums.count
      }
      if activeCount >= BiasCorrection.fewestActive { return Float(active / Double(activeCount)) }
      return count > 0 ? Float(all / Double(count)) : 0
    }
  }

  /// Adds a number to each channel's elements.
  func add(_ shift: [Float], to values: UnsafeMutableBufferPointer<Float>) {
    for block in 0..<outer {
      for channel in 0..<channels {
        let start = (block * channels + channel) * inner
        for index in start..<(start + inner) { values[index] += shift[channel] }
      }
    }
  }
}

/// What the Relu or Clip that alone reads a tensor lets through.
struct ActivationLimits {
  private let nodes: [Node]
  private let consumers: [String: [Int]]
  private let outputs: Set<String>
  private let constants: [String: Initializer]

  init(_ model: Model) {
    nodes = model.graph.nodes
    consumers = model.graph.consumers()
    outputs = Set(model.graph.outputs.map(\.name))
    constants = Dictionary(
      model.graph.initializers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// The open interval, everything when no such node follows.
  func limits(after tensor: String) -> (low: Float, high: Float) {
    let all = (low: -Float.infinity, high: Float.infinity)
    guard !outputs.contains(tensor), let readers = consumers[tensor], readers.count == 1 else {
      return all
    }
    let node = nodes[readers[0]]
    switch node.opType {
    case "Relu": return (0, .infinity)
    case "Clip":
      guard let low = bound(node, 1, all.low), let high = bound(node, 2, all.high) else {
        return all
      }
      return (low, high)
    default: return all
    }
  }

  /// A constant bound; nil when it is computed.
  private func bound(_ node: Node, _ position: Int, _ absent: Float) -> Float? {
    guard node.inputs.count > position, !node.inputs[position].isEmpty else { return absent }
    guard let constant = constants[node.inputs[position]],
      constant.knownElementType == .float32, let tensor = try? constant.tensor()
    else { return nil }  // A bound that cannot be read only means that all elements count.
    return tensor.floats.first
  }
}
