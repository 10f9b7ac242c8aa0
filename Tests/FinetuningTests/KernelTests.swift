// SPDX-License-Identifier: Apache-2.0

import CKernels
import Calibration
import Glibc
import ONNXModel
import Quantization
import Tensors
import Testing

@testable import Finetuning

@Suite("Kernels of training")
struct KernelTests {
  static let names: [String] = ["plain", "avx2", "avx512"].filter { ck_train_named($0) != nil }

  @Test(
    "every operator gives the same bytes for each instruction set and number of threads",
    arguments: TapeCase.all)
  func bytes(_ example: TapeCase) throws {
    func run(_ kernels: String, _ threads: Int) throws -> [[UInt32]] {
      let graph = try TrainableGraph(
        example.model, config: nil, scales: nil, options: .init(threads: threads),
        precision: .single(kernels: kernels))
      let batch = TapeCase.numbers(5 * graph.inputCount, seed: 9)
      let logits = try graph.forward(batch, count: 5, training: true)
      graph.backward(TapeCase.numbers(5 * graph.classes, seed: 10))
      return [logits.map(\.bitPattern)] + graph.parameters.map { $0.gradient.map(\.bitPattern) }
    }
    let first = try run("plain", 1)
    for name in Self.names {
      for threads in [1, 2, 3] {
        let other = try run(name, threads)
        #expect(other == first, "\(name), \(threads) threads")
      }
    }
  }

  @Test("the meter counts every call of a kernel, and no more time than the threads have")
  func meter() throws {
    let example = try #require(TapeCase.convolutions.first)
    let graph = try TrainableGraph(
      example.model, config: nil, scales: nil, options: .init(threads: 2),
      precision: .single(kernels: nil))
    let batch = TapeCase.numbers(64 * graph.inputCount, seed: 9)
    let gradient = TapeCase.numbers(64 * graph.classes, seed: 10)
    let times = try graph.metered {
      for _ in 0..<3 {
        _ = try graph.forward(batch, count: 64, training: true)
        graph.backward(gradient)
      }
    }
    let forward = try #require(times.first { $0.name == "forward_task" })
    #expect(forward.calls == 3)
    #expect(times.allSatisfy { $0.wall > 0 && $0.busy <= 2.01 * $0.wall })
    #expect(times.contains { $0.name == "weights_task" && $0.calls == 3 })
    // Off again: nothing is counted twice.
    #expect(graph.metered {}.isEmpty)
  }

  @Test("exp, log and erf agree with the C library's to a few units in the last place")
  func functions() {
    for index in -4000...4000 {
      let x = Double(index) * 0.17
      #expect(abs(ck_train_exp(x) - exp(x)) <= 1e-15 * exp(x))
    }
    for index in 1...4000 {
      let x = exp(Double(index - 2000) * 0.05)
      #expect(abs(ck_train_log(x) - log(x)) <= 4e-16 * max(1, abs(log(x))))
    }
    #expect(ck_train_exp(-1000) == 0 && ck_train_exp(1000) == .infinity && ck_train_exp(.nan).isNaN)
  }

  @Test("NaN reaches the result through limits and windows, so that divergence is seen")
  func divergence() throws {
    let example = TapeCase(
      "limits", input: [1, 2, 4, 4], output: [1, 2, 2, 2],
      nodes: [
        Node("Relu", name: "r", inputs: ["x"], outputs: ["r"]),
        Node(
          "MaxPool", name: "p", inputs: ["r"], outputs: ["y"],
          attributes: [ints("kernel_shape", [2, 2]), ints("strides", [2, 2])]),
      ])
    let graph = try TrainableGraph(example.model, config: nil, scales: nil)
    var batch = [Float](repeating: 1, count: 32)
    batch[0] = .nan
    let result = try graph.forward(batch, count: 1, training: false)
    #expect(result[0].isNaN)
    #expect(graph.firstNonFinite() == "y")
    // In training the limits' result is still there, and comes first.
    _ = try graph.forward(batch, count: 1, training: true)
    #expect(graph.firstNonFinite() == "r")
    #expect(result.dropFirst().allSatisfy { $0.isFinite })
  }
}
