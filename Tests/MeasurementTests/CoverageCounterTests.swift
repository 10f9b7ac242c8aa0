// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Calibration
import Datasets
import Diagnostics
import Measurement
import ONNXModel
import TestSupport
import Testing

@Suite("CoverageCounter", .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
struct CoverageCounterTests {
  let space = TemporarySpace()

  private func scales(_ model: Model) throws -> ScaleTable {
    func scale(_ low: Double, _ high: Double) -> TensorScale {
      TensorScale(
        min: Float(low), max: Float(high), count: 1, threshold: [low, high], scale: 1,
        zeroPoint: 0, method: "test", clipped: 0)
    }
    return ScaleTable(
      model: try ContentDigest.of(model.encode()).hex, method: "test",
      tensors: ["x": scale(-1, 2), "y": scale(-20, 30)])
  }

  private func count(_ samples: [Sample], threads: Int = 1) throws -> CoverageTable {
    let model = Fixtures.classifier([10, 0, 0, 10])
    return try CoverageCounter.count(
      model: model, scales: scales(model), samples: samples, preprocessing: Fixtures.plain(),
      threads: threads)
  }

  @Test("shares and lost energy are those worked out by hand; a value on the bound is inside")
  func byHand() throws {
    let samples = Fixtures.samples(space, [[-2, 3], [2, -1], [0, 0], [1, 1]], shape: [2])
    let table = try count(samples)
    let x = try #require(table.tensors["x"])
    #expect(x.belowShare == 0.125 && x.aboveShare == 0.125)
    #expect(x.min == -2 && x.max == 3)
    // Distances 1 and 1; Σx² = 4 + 9 + 4 + 1 + 1 + 1.
    #expect(x.energyLost == 0.1)
    #expect(x.verdict == .insufficient)
    #expect(!x.advice.isEmpty)
    // y = 10·x reaches its bounds −20 and 30 exactly.
    let y = try #require(table.tensors["y"])
    #expect(y.belowShare == 0 && y.aboveShare == 0 && y.energyLost == 0)
    #expect(y.verdict == .covered)
    #expect(table.samples == 4 && table.verdict == .insufficient)
  }

  @Test("threads do not change a bit", arguments: [2, 4])
  func threads(number: Int) throws {
    let samples = Fixtures.samples(space, Fixtures.items(41, of: 2), shape: [2])
    #expect(try count(samples, threads: number) == count(samples))
  }
}
