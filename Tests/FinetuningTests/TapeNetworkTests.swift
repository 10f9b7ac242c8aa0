// SPDX-License-Identifier: Apache-2.0

import Calibration
import Diagnostics
import FoundationEssentials
import Glibc
import ONNXModel
import ONNXRuntime
import Quantization
import Tensors
import Testing

@testable import Finetuning

/// Networks with published weights, which lie beside the repository where this project is
/// developed.
enum SharedNetworks {
  static let folder: String = {
    if let given = getenv("QUENCH_SHARED") { return String(cString: given) + "/data" }
    var parts = #filePath.split(separator: "/").dropLast(4)
    parts += ["shared", "data"]
    return "/" + parts.joined(separator: "/")
  }()

  static func path(_ name: String) -> String { "\(folder)/models/\(name).onnx" }
  static let isThere = access(path("resnet20_cifar10"), R_OK) == 0

  static func folded(_ name: String) throws -> Model {
    let model = try Model.read(path(name))
    let shape = name.contains("cifar10") ? [1, 3, 32, 32] : [1, 3, 224, 224]
    return try Folding.fold(model, inputs: ["input": shape])
  }

  /// Scales that span what a few random samples show: realistic enough for arithmetic.
  static func scales(_ model: Model, plan: WeightPlan) throws -> ScaleTable {
    let layers = try OperatorRules.layers(of: model)
    var tensors: [String: TensorScale] = [:]
    for (index, layer) in layers.enumerated() where tensors[layer.input] == nil {
      // One-sided ranges behind a Relu, two-sided ones elsewhere.
      let low = index % 3 == 0 ? -2.5 : 0
      let scale = Scale.affine(low: low, high: 3 + Double(index % 4))
      tensors[layer.input] = TensorScale(
        min: Float(low), max: 3, count: 1, threshold: [low, 3], scale: scale.scale,
        zeroPoint: scale.zeroPoint, method: "test", clipped: 0)
    }
    return ScaleTable(
      model: "", method: "test", tensors: tensors,
      weights: try WeightQuantizer.scales(for: layers, in: model, plan: plan))
  }
}

private let runtimeIsThere = RuntimeLibrary.find() != nil

@Suite("Whole networks on the tape")
struct TapeNetworkTests {
  @Test(
    "the float network's logits are ONNX Runtime's within 1e-4",
    .enabled(
      if: SharedNetworks.isThere && runtimeIsThere, "needs the shared networks and ONNX Runtime"),
    arguments: ["resnet20_cifar10", "mobilenet_v1_025", "cct_cifar10"])
  func float(_ name: String) throws {
    let model = try SharedNetworks.folded(name)
    let graph = try TrainableGraph(model, config: nil, scales: nil)
    let batch = TapeCase.numbers(2 * graph.inputCount, seed: 3, low: -2, high: 2)
    let logits = try graph.forward(batch, count: 2, training: false)
    let session = try Session(RuntimeLibrary.load(), model: model.encode())
    let output = model.graph.outputs[0].name
    let isSoftmax = model.graph.nodes.last?.opType == "Softmax"
    let shape = try #require(model.graph.freeInputs[0].fixedShape)
    for sample in 0..<2 {
      let part = Array(batch[(sample * graph.inputCount)..<((sample + 1) * graph.inputCount)])
      let expected = try session.run(
        [model.graph.freeInputs[0].name: Tensor(floats: part, shape: shape)], outputs: [output]
      )[0].floats
      var mine = Array(logits[(sample * graph.classes)..<((sample + 1) * graph.classes)])
      if isSoftmax {
        let most = mine.max() ?? 0
        let all = mine.map { exp(Double($0 - most)) }
        let total = all.reduce(0, +)
        mine = all.map { Float($0 / total) }
      }
      let scale = max(1, expected.map(\.magnitude).max() ?? 1)
      for (a, b) in zip(mine, expected) { #expect(abs(a - b) <= 1e-4 * scale, "\(a), \(b)") }
    }
  }

  @Test(
    "the fake-quantized network follows the QDQ model in ONNX Runtime",
    .enabled(
      if: SharedNetworks.isThere && runtimeIsThere, "needs the shared networks and ONNX Runtime"),
    arguments: [
      ("resnet20_cifar10", WeightPlan.perChannel), ("resnet20_cifar10", .perTensor),
      ("mobilenet_v1_025", .perChannel),
    ])
  func quantized(_ name: String, _ plan: WeightPlan) throws {
    let model = try SharedNetworks.folded(name)
    let scales = try SharedNetworks.scales(model, plan: plan)
    let graph = try TrainableGraph(model, config: nil, scales: scales)
    let batch = TapeCase.numbers(graph.inputCount, seed: 4, low: -2, high: 2)
    let mine = try graph.forward(batch, count: 1, training: false)
    var qdq = try QuantizeGraph.qdq(model, config: #require(graph.config), scales: scales)
    // The logits, not what Softmax makes of them.
    if let last = qdq.graph.nodes.last, last.opType == "Softmax" {
      qdq.graph.nodes.removeLast()
      qdq.graph.outputs = [ValueInfo(last.inputs[0], .float32, shape: [1, graph.classes])]
    }
    let session = try Session(RuntimeLibrary.load(), model: qdq.encode())
    let shape = try #require(model.graph.freeInputs[0].fixedShape)
    let expected = try session.run(
      [model.graph.freeInputs[0].name: Tensor(floats: batch, shape: shape)],
      outputs: [qdq.graph.outputs[0].name])[0].floats
    let range = (expected.max() ?? 0) - (expected.min() ?? 0)
    let worst = zip(mine, expected).map { abs($0 - $1) }.max() ?? .infinity
    // A last bit of a sum flips a code here and there; wrong scales or roundings change all.
    #expect(worst <= 0.05 * range, "\(worst) of \(range)")
  }

  @Test(
    "gradients are the same bytes for 1, 2 and 3 threads and for each instruction set",
    .enabled(if: SharedNetworks.isThere, "needs the shared networks"))
  func bytes() throws {
    let model = try SharedNetworks.folded("resnet20_cifar10")
    let scales = try SharedNetworks.scales(model, plan: .perChannel)
    func run(_ kernels: String, threads: Int) throws -> [[UInt32]] {
      let graph = try TrainableGraph(
        model, config: nil, scales: scales, options: .init(threads: threads),
        precision: .single(kernels: kernels))
      let batch = TapeCase.numbers(3 * graph.inputCount, seed: 6, low: -2, high: 2)
      var result: [[UInt32]] = []
      // Twice, as the second step finds used memory.
      for step in 0..<2 {
        let logits = try graph.forward(batch, count: 3, training: true)
        result.append(logits.map(\.bitPattern))
        graph.zeroGradients()
        graph.backward(TapeCase.numbers(3 * graph.classes, seed: UInt64(step)))
        for parameter in graph.parameters {
          result.append(parameter.gradient.map(\.bitPattern))
          let rate: Float = parameter.kind == .activationScale ? 1e-4 : 1e-3
          for index in parameter.values.indices {
            parameter.values[index] -= rate * parameter.gradient[index]
          }
        }
      }
      return result
    }
    let first = try run("plain", threads: 1)
    for kernels in KernelTests.names {
      for threads in 1...3 {
        let other = try run(kernels, threads: threads)
        #expect(first == other, "\(kernels), \(threads) threads")
      }
    }
  }

  @Test(
    "the memory that a step takes is told beforehand: not less than it takes, nor twice as much",
    .enabled(if: SharedNetworks.isThere, "needs the shared networks"),
    arguments: ["resnet20_cifar10", "mobilenet_v1_025", "cct_cifar10"])
  func memory(name: String) throws {
    let model = try SharedNetworks.folded(name)
    let graph = try TrainableGraph(
      model, config: nil, scales: SharedNetworks.scales(model, plan: .perChannel))
    graph.computesScaleGradients = true
    let batch = name.contains("cifar10") ? 16 : 4
    let pictures = [Float](repeating: 0.5, count: batch * graph.inputCount)
    for _ in 0..<2 {
      graph.zeroGradients()
      _ = try graph.forward(pictures, count: batch, training: true)
      graph.backward([Float](repeating: 0.1, count: batch * graph.classes))
    }
    let numbers = graph.parameters.reduce(0) { $0 + $1.count }
    let fixed = 30_000_000 + 7 * 4 * numbers
    let taken = graph.tape.machine.arena.total
    let estimate = graph.estimatedBytes(count: batch) - fixed
    #expect(estimate >= taken, "\(estimate) for \(taken)")
    #expect(estimate < 2 * taken, "\(estimate) for \(taken)")
  }
}
