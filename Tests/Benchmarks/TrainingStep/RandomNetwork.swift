// SPDX-License-Identifier: Apache-2.0
// TrainingStep: networks with random weights, batch normalization folded, as ONNX models.

import ONNXModel
import Tensors

/// Numbers in −1...1 from a counter; the same for every run.
func numbers(_ count: Int, seed: UInt64) -> [Float] {
  [Float](unsafeUninitializedCapacity: count) { buffer, filled in
    for index in 0..<count {
      var x = UInt64(index) &+ seed &* 0x9E37_79B9_7F4A_7C15
      x = (x ^ (x >> 30)) &* 0xBF58_476D_1CE4_E5B9
      x = (x ^ (x >> 27)) &* 0x94D0_49BB_1331_11EB
      x ^= x >> 31
      buffer[index] = Float(Double(x >> 11) * 0x1p-52 - 1)
    }
    filled = count
  }
}

/// What stands behind a layer.
enum Activation {
  case none
  case relu
  case relu6
}

/// Builds a network layer by layer, and counts its work.
struct RandomNetwork {
  let name: String
  let input: [Int]
  private var nodes: [Node] = []
  private var initializers: [Initializer] = []
  /// Weights and biases in the order of the layers: what the other side reads.
  private(set) var parameters: [[Float]] = []
  /// Multiplications of one sample's forward pass, and those of the first layer.
  private(set) var products = 0
  private(set) var firstProducts = 0
  private var shapes: [String: [Int]] = [:]

  private init(_ name: String, input: [Int]) {
    self.name = name
    self.input = input
    shapes["input"] = input
  }

  static let names = ["resnet18", "resnet20", "mobilenetv2"]

  init?(named name: String) {
    switch name {
    case "resnet18": self = Self.resNet18()
    case "resnet20": self = Self.resNet20()
    case "mobilenetv2": self = Self.mobileNetV2()
    default: return nil
    }
  }

  func model(output: String) -> Model {
    let graph = Graph(
      name: name, nodes: nodes, initializers: initializers,
      inputs: [ValueInfo("input", .float32, shape: input)],
      outputs: [ValueInfo(output, .float32, shape: shapes[output] ?? [])])
    return Model(graph: graph, opset: 17)
  }

  /// The name of what the last node made.
  var last: String { nodes.last?.outputs.first ?? "input" }

  // MARK: - Layers

  private mutating func append(
    _ type: String, _ inputs: [String], shape: [Int], _ attributes: [Attribute] = []
  ) -> String {
    let output = "t\(nodes.count)"
    nodes.append(
      Node(
        type, name: "\(type)_\(nodes.count)", inputs: inputs, outputs: [output],
        attributes: attributes))
    shapes[output] = shape
    return output
  }

  private mutating func parameter(_ shape: [Int], spread: Double) -> String {
    let name = "p\(parameters.count)"
    let values = numbers(shape.reduce(1, *), seed: UInt64(parameters.count + 1))
      .map { Float(spread) * $0 }
    parameters.append(values)
    initializers.append(Initializer(name, Tensor(floats: values, shape: shape)))
    return name
  }

  /// Weights uniform with He's variance, small biases.
  private mutating func conv(
    _ from: String, _ o: Int, kernel: Int, stride: Int = 1, group: Int = 1,
    _ activation: Activation
  ) -> String {
    let shape = shapes[from] ?? []
    let inputs = shape[1] / group
    let size = (shape[2] + 2 * (kernel / 2) - kernel) / stride + 1
    let weight = parameter(
      [o, inputs, kernel, kernel], spread: (6 / Double(inputs * kernel * kernel)).squareRoot())
    let bias = parameter([o], spread: 0.1)
    let pad = Int64(kernel / 2)
    let output = append(
      "Conv", [from, weight, bias], shape: [1, o, size, size],
      [
        Attribute("kernel_shape", .ints([Int64(kernel), Int64(kernel)])),
        Attribute("strides", .ints([Int64(stride), Int64(stride)])),
        Attribute("pads", .ints([pad, pad, pad, pad])), Attribute("group", .int(Int64(group))),
      ])
    count(o * inputs * kernel * kernel * size * size)
    return activated(output, activation)
  }

  private mutating func activated(_ from: String, _ activation: Activation) -> String {
    let shape = shapes[from] ?? []
    switch activation {
    case .none: return from
    case .relu: return append("Relu", [from], shape: shape)
    case .relu6:
      if !initializers.contains(where: { $0.name == "six" }) {
        initializers.append(Initializer("zero", Tensor(floats: [0], shape: [])))
        initializers.append(Initializer("six", Tensor(floats: [6], shape: [])))
      }
      return append("Clip", [from, "zero", "six"], shape: shape)
    }
  }

  private mutating func sum(_ a: String, _ b: String, _ activation: Activation) -> String {
    activated(append("Add", [a, b], shape: shapes[a] ?? []), activation)
  }

  private mutating func head(_ from: String, classes: Int) {
    let channels = (shapes[from] ?? [])[1]
    let pooled = append("GlobalAveragePool", [from], shape: [1, channels, 1, 1])
    let flat = append("Flatten", [pooled], shape: [1, channels])
    let weight = parameter([classes, channels], spread: (3 / Double(channels)).squareRoot())
    let bias = parameter([classes], spread: 0.1)
    _ = append(
      "Gemm", [flat, weight, bias], shape: [1, classes], [Attribute("transB", .int(1))])
    count(classes * channels)
  }

  private mutating func count(_ products: Int) {
    if self.products == 0 { firstProducts = products }
    self.products += products
  }

  // MARK: - Networks

  private mutating func residual(_ from: String, _ o: Int, stride: Int) -> String {
    let inner = conv(from, o, kernel: 3, stride: stride, .relu)
    let outer = conv(inner, o, kernel: 3, .none)
    let isSame = stride == 1 && (shapes[from] ?? [])[1] == o
    let beside = isSame ? from : conv(from, o, kernel: 1, stride: stride, .none)
    return sum(outer, beside, .relu)
  }

  private static func resNet18() -> RandomNetwork {
    var net = RandomNetwork("resnet18", input: [1, 3, 224, 224])
    var x = net.conv("input", 64, kernel: 7, stride: 2, .relu)
    x = net.append(
      "MaxPool", [x], shape: [1, 64, 56, 56],
      [
        Attribute("kernel_shape", .ints([3, 3])), Attribute("strides", .ints([2, 2])),
        Attribute("pads", .ints([1, 1, 1, 1])),
      ])
    for (channels, stride) in [(64, 1), (128, 2), (256, 2), (512, 2)] {
      for block in 0..<2 { x = net.residual(x, channels, stride: block == 0 ? stride : 1) }
    }
    net.head(x, classes: 1000)
    return net
  }

  private static func resNet20() -> RandomNetwork {
    var net = RandomNetwork("resnet20", input: [1, 3, 32, 32])
    var x = net.conv("input", 16, kernel: 3, .relu)
    for (channels, stride) in [(16, 1), (32, 2), (64, 2)] {
      for block in 0..<3 { x = net.residual(x, channels, stride: block == 0 ? stride : 1) }
    }
    net.head(x, classes: 10)
    return net
  }

  private static func mobileNetV2() -> RandomNetwork {
    var net = RandomNetwork("mobilenetv2", input: [1, 3, 224, 224])
    var x = net.conv("input", 32, kernel: 3, stride: 2, .relu6)
    let groups = [
      (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
      (6, 320, 1, 1),
    ]
    for (expansion, channels, repeats, first) in groups {
      for block in 0..<repeats {
        let from = x
        let stride = block == 0 ? first : 1
        let hidden = (net.shapes[x] ?? [])[1] * expansion
        if expansion > 1 { x = net.conv(x, hidden, kernel: 1, .relu6) }
        x = net.conv(x, hidden, kernel: 3, stride: stride, group: hidden, .relu6)
        x = net.conv(x, channels, kernel: 1, .none)
        if net.shapes[x] == net.shapes[from] { x = net.sum(x, from, .none) }
      }
    }
    x = net.conv(x, 1280, kernel: 1, .relu6)
    net.head(x, classes: 1000)
    return net
  }
}
