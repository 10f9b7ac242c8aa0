// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import ONNXModel
import ONNXRuntime
import Tensors
import Testing

@testable import Finetuning

private let runtimeIsThere = RuntimeLibrary.find() != nil

/// A tape in double, with its numbers set and read directly.
private struct DoubleTape {
  let graph: TrainableGraph
  let samples: Int
  let input: [Double]
  /// The loss is the sum of these times the results.
  let factors: [Double]

  init(_ model: Model, samples: Int) throws {
    graph = try TrainableGraph(
      model, config: nil, scales: nil, options: .init(), precision: .double)
    self.samples = samples
    input = TapeCase.numbers(graph.inputCount * samples, seed: 77, low: 0.25, high: 1)
      .enumerated().map { Double($1) * ($0 % 3 == 0 ? -1 : 1) }
    factors = TapeCase.numbers(graph.classes * samples, seed: 78).map { Double($0) }
  }

  func doubles(_ buffer: TapeBuffer) -> UnsafeMutablePointer<Double> {
    buffer.pointer.assumingMemoryBound(to: Double.self)
  }

  func loss(training: Bool = false) -> Double {
    let tape = graph.tape
    tape.reset()
    tape.machine.count = samples
    let buffer = tape.machine.makeBuffer(input.count)
    doubles(buffer).update(from: input, count: input.count)
    tape.inputs[0].data = buffer
    tape.forward(training: training)
    guard let result = tape.output.data else { return .nan }
    return factors.indices.reduce(0) { $0 + factors[$1] * doubles(result)[$1] }
  }

  func backward() {
    _ = loss(training: true)
    let tape = graph.tape
    for slot in tape.parameters {
      doubles(slot.gradient).update(repeating: 0, count: slot.parameter.count)
    }
    let buffer = tape.machine.makeBuffer(factors.count)
    doubles(buffer).update(from: factors, count: factors.count)
    tape.output.gradient = buffer
    tape.backward()
  }
}

@Suite("Gradients of the tape")
struct GradientTests {
  @Test("a rule's gradient is that of central differences, in double", arguments: TapeCase.all)
  func differences(_ example: TapeCase) throws {
    let tape = try DoubleTape(example.model, samples: 2)
    tape.backward()
    for slot in tape.graph.tape.parameters {
      let count = slot.parameter.count
      let analytic = (0..<count).map { tape.doubles(slot.gradient)[$0] }
      let scale = analytic.map(\.magnitude).max() ?? 0
      #expect(scale > 0, "\(slot.parameter.name) has no gradient")
      let values = tape.doubles(slot.data)
      // Every element of small parameters, some 40 of large ones.
      for index in stride(from: 0, to: count, by: max(1, count / 40)) {
        let old = values[index]
        let step = 1e-5
        values[index] = old + step
        let above = tape.loss()
        values[index] = old - step
        let below = tape.loss()
        values[index] = old
        let numeric = (above - below) / (2 * step)
        let error = abs(numeric - analytic[index]) / max(abs(numeric), scale * 1e-2)
        #expect(
          error < 1e-6,
          "\(slot.parameter.name)[\(index)]: \(analytic[index]), by differences \(numeric)")
      }
    }
  }

  @Test(
    "a rule gives the same bytes for each instruction set and any number of threads",
    arguments: TapeCase.all)
  func bytes(_ example: TapeCase) throws {
    func run(_ kernels: String, threads: Int) throws -> [[UInt32]] {
      let graph = try TrainableGraph(
        example.model, config: nil, scales: nil, options: .init(threads: threads),
        precision: .single(kernels: kernels))
      let batch = TapeCase.numbers(graph.inputCount * 3, seed: 31)
      let results = try graph.forward(batch, count: 3, training: true)
      graph.backward(TapeCase.numbers(results.count, seed: 32))
      return [results.map(\.bitPattern)] + graph.parameters.map { $0.gradient.map(\.bitPattern) }
    }
    let first = try run("plain", threads: 1)
    for kernels in KernelTests.names {
      for threads in [1, 3] {
        let other = try run(kernels, threads: threads)
        #expect(first == other, "\(kernels), \(threads) threads")
      }
    }
  }

  @Test(
    "a rule computes what ONNX Runtime computes, sample by sample",
    .enabled(if: runtimeIsThere, "ONNX Runtime was not found"), arguments: TapeCase.all)
  func forward(_ example: TapeCase) throws {
    let graph = try TrainableGraph(example.model, config: nil, scales: nil)
    let samples = 3
    let batch = TapeCase.numbers(graph.inputCount * samples, seed: 5)
    let results = try graph.forward(batch, count: samples, training: false)
    let session = try Session(RuntimeLibrary.load(), model: example.model.encode())
    let shape = try #require(example.model.graph.inputs[0].fixedShape)
    for sample in 0..<samples {
      let part = Array(batch[(sample * graph.inputCount)..<((sample + 1) * graph.inputCount)])
      let expected = try session.run(
        ["input": Tensor(floats: part, shape: shape)], outputs: ["y"])[0].floats
      for (index, value) in expected.enumerated() {
        let mine = results[sample * graph.classes + index]
        #expect(
          abs(mine - value) <= 2e-5 * max(1, abs(value)),
          "sample \(sample), \(index): \(mine), ONNX Runtime \(value)")
      }
    }
  }
}
