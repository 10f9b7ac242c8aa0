// SPDX-License-Identifier: Apache-2.0

import Calibration
import Datasets
import Diagnostics
import Measurement
import ONNXModel
import Synchronization
import Tensors
import TestSupport
import Testing

@Suite("Observer", .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
struct ObserverTests {
  let space = TemporarySpace()

  private func observe(
    _ samples: [Sample], tensors: [String] = ["x", "r", "f", "z"], threads: Int = 1
  ) throws -> Observations {
    try Observer.observe(
      model: Fixtures.network().encode(), tensors: tensors, samples: samples,
      preprocessing: Fixtures.plain(), threads: threads
    ).observations
  }

  @Test("histograms hold the values worked out by hand, the model's input among them")
  func values() throws {
    let samples = Fixtures.samples(space, [[-1, 0, 0.5, 2], [1, 1, 1, 1]], shape: [1, 2, 2])
    let found = try observe(samples, tensors: ["r", "x"])
    var input = Histogram()
    input.add([-1, 0, 0.5, 2, 1, 1, 1, 1])
    // Relu of 127·x, then of 1 − x.
    var relu = Histogram()
    relu.add([0, 0, 63.5, 254, 2, 1, 0.5, 0, 127, 127, 127, 127, 0, 0, 0, 0])
    #expect(found.samples == 2)
    #expect(found.tensors == ["x": input, "r": relu])
  }

  @Test("threads do not change a byte", arguments: [2, 4])
  func threads(count: Int) throws {
    let samples = Fixtures.samples(space, Fixtures.items(37, of: 4), shape: [1, 2, 2])
    #expect(try observe(samples, threads: count) == observe(samples))
  }

  @Test("the order of the samples does not change a byte")
  func order() throws {
    let samples = Fixtures.samples(space, Fixtures.items(20, of: 4), shape: [1, 2, 2])
    #expect(try observe(samples.reversed(), threads: 2) == observe(samples))
  }

  @Test("shards merge to what one pass over all gives")
  func shards() throws {
    let samples = Fixtures.samples(space, Fixtures.items(20, of: 4), shape: [1, 2, 2])
    var merged = try observe(Array(samples[13...]))
    try merged.merge(observe(Array(samples[..<13])))
    #expect(try merged == observe(samples))
  }

  @Test("one more sample adds one to the count of runs, and progress is told of each")
  func progress() throws {
    let samples = Fixtures.samples(space, Fixtures.items(5, of: 4), shape: [1, 2, 2])
    let seen = Mutex<[Int]>([])
    _ = try Observer.observe(
      model: Fixtures.network().encode(), tensors: ["z"], samples: samples,
      preprocessing: Fixtures.plain(), threads: 2,
      progress: { done, total in seen.withLock { $0.append(done * 100 + total) } })
    #expect(seen.withLock { $0 } == [105, 205, 305, 405, 505])
  }

  @Test("NaN is refused with the tensor and the earliest sample", arguments: [1, 4])
  func notANumber(threads: Int) throws {
    let model = Model(
      graph: Graph(
        name: "log", nodes: [Node("Log", name: "log", inputs: ["x"], outputs: ["y"])],
        inputs: [ValueInfo("x", .float32, shape: [1, 2])],
        outputs: [ValueInfo("y", .float32, shape: [1, 2])]),
      opset: 13)
    let items: [[Float]] = [[1, 2], [3, 4], [1, -1], [1, 1], [-1, 0], [1, 0]]
    let samples = Fixtures.samples(space, items, shape: [2])
    let error = try #require(throws: QuenchError.self) {
      try Observer.observe(
        model: model.encode(), tensors: ["y"], samples: samples,
        preprocessing: Fixtures.plain(), threads: threads)
    }
    #expect(error.kind == .data)
    #expect(error.message == "tensor \"y\" holds NaN for sample \"\(samples[2].name)\"")
    let infinite = try #require(throws: QuenchError.self) {
      try Observer.observe(
        model: model.encode(), tensors: ["y"], samples: [samples[0], samples[5]],
        preprocessing: Fixtures.plain(), threads: threads)
    }
    #expect(infinite.message.contains("holds an infinity for sample \"\(samples[5].name)\""))
  }

  @Test("a tensor that the model does not compute is refused by name")
  func unknownTensor() throws {
    let samples = Fixtures.samples(space, Fixtures.items(1, of: 4), shape: [1, 2, 2])
    let error = try #require(throws: QuenchError.self) { try observe(samples, tensors: ["rr"]) }
    #expect(error.kind == .data)
    #expect(error.message.hasPrefix("the model computes no tensor \"rr\"; did you mean \"r\"?"))
  }

  @Test("a sample of another shape than the model's input is refused by name")
  func wrongShape() throws {
    let samples = Fixtures.samples(space, Fixtures.items(1, of: 6), shape: [1, 2, 3])
    let error = try #require(throws: QuenchError.self) { try observe(samples) }
    #expect(error.kind == .data)
    #expect(
      error.message.contains("shape [1, 1, 2, 3], but the model's input \"x\" is [1, 1, 2, 2]"))
  }

  @Test("a corrupt sample stops the pass, or is left out and named")
  func corrupt() throws {
    var samples = Fixtures.samples(space, Fixtures.items(3, of: 4), shape: [1, 2, 2])
    samples.insert(Sample(path: space.write("broken.jpg", "no picture")), at: 1)
    let error = try #require(throws: QuenchError.self) { try observe(samples) }
    #expect(error.kind == .data)
    let run = try Observer.observe(
      model: Fixtures.network().encode(), tensors: ["z"], samples: samples,
      preprocessing: Fixtures.plain(), policy: .skip, threads: 2)
    #expect(run.observations.samples == 3)
    #expect(run.skipped.map(\.sample) == [samples[1]])
  }

  @Test("no samples are an error, not an empty result")
  func empty() throws {
    #expect(throws: QuenchError.self) { try observe([]) }
  }
}
