// SPDX-License-Identifier: Apache-2.0
// Losses of `Golden/pytorch_losses.json`, which `Golden/pytorch_losses.py` wrote.

import Calibration
import FoundationEssentials
import ONNXModel
import Quantization
import Tensors
import Testing

@testable import Finetuning

/// What PyTorch found.
struct PyTorchLosses: Decodable {
  var batch: Int
  var classes: Int
  var networks: [Network]

  struct Network: Decodable {
    var name: String
    var picture: [Int]
    var parameters: [Constant]
    var momentum: [Double]
    var adamW: [Double]
    var gradientNorms: [String: Double]
    var activations: [String: Activation]
    var quantizedLoss: Double
    var quantizedNorms: [String: Double]
  }

  /// A parameter's first values: numbers from a counter.
  struct Constant: Decodable {
    var name: String
    var shape: [Int]
    var seed: UInt64
    var low: Double
    var high: Double
  }

  struct Activation: Decodable {
    var scale: Float
    var zeroPoint: Int32
  }

  static func read() throws -> PyTorchLosses {
    let path = #filePath.split(separator: "/").dropLast().joined(separator: "/")
    let data = try Data(contentsOf: URL(filePath: "/\(path)/Golden/pytorch_losses.json"))
    return try JSONDecoder().decode(PyTorchLosses.self, from: data)
  }
}

@Suite("Whole networks trained as PyTorch trains them")
struct PyTorchTests {
  static let names = ["residual", "mobile", "attention"]

  private let golden: PyTorchLosses
  init() throws { golden = try PyTorchLosses.read() }

  private func network(_ name: String) throws -> PyTorchLosses.Network {
    try #require(golden.networks.first { $0.name == name })
  }

  /// The losses of some steps, the gradient norms of the first, and the graph.
  private func train(
    _ graph: TrainableGraph, _ network: PyTorchLosses.Network, _ rule: OptimizerRule, rate: Double,
    steps: Int
  ) throws -> (losses: [Double], norms: [String: Double]) {
    graph.computesScaleGradients = false
    var optimizer = Optimizer(
      weights: GroupSettings(rule: rule, weightDecay: 0.01), scales: GroupSettings(rule: rule),
      parameters: graph.parameters)
    var losses: [Double] = []
    var norms: [String: Double] = [:]
    for step in 0..<steps {
      let turn = step % 2
      let count = network.picture.reduce(golden.batch, *)
      let pictures = TapeCase.numbers(count, seed: UInt64(1000 + turn), low: -2, high: 2)
      let labels = (0..<golden.batch).map { (7 * $0 * $0 + 3 * $0 + turn) % golden.classes }
      let logits = try graph.forward(pictures, count: golden.batch, training: true)
      let result = BatchLoss.evaluate(
        .crossEntropy, logits: logits, classes: graph.classes, labels: labels, teacher: [])
      losses.append(result.mean)
      graph.zeroGradients()
      graph.backward(result.gradient)
      if step == 0 {
        for parameter in graph.parameters where ParameterGroup.of(parameter.kind) == .weights {
          let squares = parameter.gradient.reduce(0) { $0 + Double($1) * Double($1) }
          norms[parameter.name] = squares.squareRoot()
        }
      }
      optimizer.step(.weights, of: graph.parameters, rate: rate)
    }
    return (losses, norms)
  }

  @Test("six steps of momentum give PyTorch's losses to 6 digits", arguments: names)
  func momentum(_ name: String) throws {
    let network = try network(name)
    let graph = try TrainableGraph(
      PyTorchNetworks.model(network, golden.classes), config: nil, scales: nil)
    let (losses, norms) = try train(
      graph, network, .momentum, rate: 0.05, steps: network.momentum.count)
    for (mine, theirs) in zip(losses, network.momentum) {
      #expect(abs(mine - theirs) < 2e-6 * theirs, "\(losses), PyTorch \(network.momentum)")
    }
    #expect(norms.count == network.gradientNorms.count)
    for (name, theirs) in network.gradientNorms {
      let mine = try #require(norms[name])
      #expect(abs(mine - theirs) < 1e-5 * max(theirs, 0.01), "\(name): \(mine), \(theirs)")
    }
  }

  @Test("six steps of AdamW give PyTorch's losses to 6 digits", arguments: names)
  func adam(_ name: String) throws {
    let network = try network(name)
    let graph = try TrainableGraph(
      PyTorchNetworks.model(network, golden.classes), config: nil, scales: nil)
    let (losses, _) = try train(graph, network, .adam, rate: 0.01, steps: network.adamW.count)
    for (mine, theirs) in zip(losses, network.adamW) {
      #expect(abs(mine - theirs) < 2e-6 * theirs, "\(losses), PyTorch \(network.adamW)")
    }
  }

  @Test("with fake quantization the first loss and gradients are PyTorch's", arguments: names)
  func quantized(_ name: String) throws {
    let network = try network(name)
    let model = PyTorchNetworks.model(network, golden.classes)
    let layers = try OperatorRules.layers(of: model)
    var tensors: [String: TensorScale] = [:]
    for (tensor, found) in network.activations {
      tensors[tensor] = TensorScale(
        min: 0, max: 1, count: 1, threshold: [0, 1], scale: found.scale,
        zeroPoint: found.zeroPoint, method: "test", clipped: 0)
    }
    let scales = ScaleTable(
      model: "", method: "test", tensors: tensors,
      weights: try WeightQuantizer.scales(for: layers, in: model, plan: .perChannel))
    let graph = try TrainableGraph(model, config: nil, scales: scales)
    #expect(graph.parameters.count { $0.kind == .activationScale } == network.activations.count)
    let (losses, norms) = try train(graph, network, .momentum, rate: 0.05, steps: 1)
    // A code on the other side of a tie here and there: PyTorch multiplies by 1/s.
    #expect(abs(losses[0] - network.quantizedLoss) < 1e-4 * network.quantizedLoss)
    for (name, theirs) in network.quantizedNorms {
      let mine = try #require(norms[name])
      #expect(abs(mine - theirs) < 1e-3 * max(theirs, 0.01), "\(name): \(mine), \(theirs)")
    }
    // Fake quantization shows, or the comparison would prove nothing.
    #expect(abs(network.quantizedLoss - network.momentum[0]) > 1e-4)
  }
}
