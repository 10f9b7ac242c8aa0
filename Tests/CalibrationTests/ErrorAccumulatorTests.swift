// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import Calibration

@Suite("error of a tensor")
struct ErrorAccumulatorTests {
  @Test("figures are those of a hand-made example")
  func byHand() {
    var error = ErrorAccumulator()
    error.add(reference: [1, 2, 3, 6], candidate: [1, 2, 4, 5])
    // Errors 0 0 -1 1; mean 3, deviations 4 + 1 + 0 + 9; squares 50 and 46, product 47.
    #expect(error.relativeError == 2.0 / 14)
    #expect(error.normalizedSquaredError == 2.0 / 50)
    #expect(abs(error.sqnrDecibel - 10 * log10(25)) < 1e-12)
    #expect(abs(error.cosine - 47 / (50.0 * 46).squareRoot()) < 1e-15)
  }

  @Test("pieces and merged accumulators agree with one pass")
  func pieces() {
    let reference = GoldenData.values("normal").map { $0 + 1000 }
    let candidate = reference.map { ($0 * 16).rounded() / 16 }
    var whole = ErrorAccumulator()
    whole.add(reference: reference, candidate: candidate)
    var merged = ErrorAccumulator()
    for (x, y) in zip(GoldenData.split(reference, into: 7), GoldenData.split(candidate, into: 7)) {
      var piece = ErrorAccumulator()
      piece.add(reference: x, candidate: y)
      merged.merge(piece)
    }
    #expect(merged.count == whole.count)
    // A mean of 1000 with variance 1: sums of squares without the mean would lose six digits.
    #expect(abs(merged.relativeError - whole.relativeError) < 1e-10 * whole.relativeError)
    #expect(abs(merged.sqnrDecibel - whole.sqnrDecibel) < 1e-10)
    let slow = reference.map(Double.init)
    let mean = slow.reduce(0, +) / Double(slow.count)
    let variance = slow.map { ($0 - mean) * ($0 - mean) }.reduce(0, +)
    #expect(abs(whole.relativeError - whole.squaredError / variance) < 1e-9)
  }

  @Test("zero denominators have defined answers")
  func degenerate() {
    var error = ErrorAccumulator()
    error.add(reference: [], candidate: [])
    #expect(error.count == 0)
    error.add(reference: [2, 2], candidate: [2, 2])
    #expect(error.relativeError == 0)
    #expect(error.sqnrDecibel == .infinity)
    #expect(error.cosine == 1)
    error.add(reference: [2], candidate: [3])
    #expect(error.relativeError == .infinity)
    var silent = ErrorAccumulator()
    silent.add(reference: [0, 0], candidate: [1, 0])
    #expect(silent.sqnrDecibel == -.infinity)
    #expect(silent.normalizedSquaredError == .infinity)
    #expect(silent.cosine == 0)
  }

  @Test("a wrong scale leaves the cosine at 1, which is why it is never judged alone")
  func blindCosine() {
    var error = ErrorAccumulator()
    error.add(reference: [1, -2, 3], candidate: [2, -4, 6])
    #expect(error.cosine == 1)
    #expect(error.normalizedSquaredError == 1)
  }
}
