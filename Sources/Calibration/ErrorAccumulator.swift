// SPDX-License-Identifier: Apache-2.0
// Calibration: how far a tensor is from its reference.

/// Relative error, signal-to-noise ratio and cosine of a tensor against its reference, over any
/// number of pieces, in doubles.
///
/// Sums run in the order of the values, so equal pieces in equal order give equal bits; to use
/// threads, let each sample have its own accumulator and merge them in the order of the samples.
public struct ErrorAccumulator: Sendable, Equatable {
  /// Number of values.
  public private(set) var count = 0
  /// Σ(x − x̂)².
  public private(set) var squaredError = 0.0
  /// Σx².
  public private(set) var squaredReference = 0.0
  /// Σx̂².
  public private(set) var squaredCandidate = 0.0
  /// Σx·x̂.
  public private(set) var product = 0.0
  private var mean = 0.0
  private var squaredDeviation = 0.0

  /// An accumulator of nothing.
  public init() {}

  /// Adds a piece: the reference x and the candidate x̂, equally long.
  public mutating func add(
    reference: UnsafeBufferPointer<Float>, candidate: UnsafeBufferPointer<Float>
  ) {
    precondition(reference.count == candidate.count, "each value needs its counterpart")
    guard !reference.isEmpty else { return }
    var piece = ErrorAccumulator()
    piece.count = reference.count
    var sum = 0.0
    for index in reference.indices {
      let x = Double(reference[index])
      let y = Double(candidate[index])
      let error = x - y
      sum += x
      piece.squaredError += error * error
      piece.squaredReference += x * x
      piece.squaredCandidate += y * y
      piece.product += x * y
    }
    // A second pass about the mean: Σx² − n·mean² cancels when the mean is large.
    piece.mean = sum / Double(reference.count)
    for value in reference {
      let deviation = Double(value) - piece.mean
      piece.squaredDeviation += deviation * deviation
    }
    merge(piece)
  }

  /// Adds a piece.
  public mutating func add(reference: [Float], candidate: [Float]) {
    reference.withUnsafeBufferPointer { reference in
      candidate.withUnsafeBufferPointer { add(reference: reference, candidate: $0) }
    }
  }

  /// Adds what another accumulator holds, as if its pieces came after.
  ///
  /// Source of the pairwise variance: Chan, Golub, LeVeque, "Updating formulae and a pairwise
  /// algorithm for computing sample variances" (1979).
  public mutating func merge(_ other: ErrorAccumulator) {
    guard other.count > 0 else { return }
    guard count > 0 else {
      self = other
      return
    }
    let (mine, theirs) = (Double(count), Double(other.count))
    let difference = other.mean - mean
    squaredDeviation +=
      other.squaredDeviation + difference * difference * (mine * theirs / (mine + theirs))
    mean += difference * (theirs / (mine + theirs))
    count += other.count
    squaredError += other.squaredError
    squaredReference += other.squaredReference
    squaredCandidate += other.squaredCandidate
    product += other.product
  }

  /// Σ(x − x̂)² / Σ(x − mean)²: 0 without error, ∞ when a constant reference is missed.
  public var relativeError: Double {
    squaredError == 0 ? 0 : squaredDeviation == 0 ? .infinity : squaredError / squaredDeviation
  }

  /// Σ(x − x̂)² / Σx²: 0 without error, ∞ when an all-zero reference is missed.
  public var normalizedSquaredError: Double {
    squaredError == 0 ? 0 : squaredReference == 0 ? .infinity : squaredError / squaredReference
  }

  /// 10·log₁₀(Σx² / Σ(x − x̂)²) in decibel: ∞ without error, −∞ when an all-zero reference is
  /// missed.
  public var sqnrDecibel: Double {
    guard squaredError > 0 else { return .infinity }
    guard squaredReference > 0 else { return -.infinity }
    // log₁₀ r = ln r / ln 10, with the logarithm that is equal on all machines.
    return 10 * NaturalLogarithm.ln(squaredReference / squaredError) / 2.302585092994046
  }

  /// Σx·x̂ / √(Σx²·Σx̂²), −1…1; 1 when both are all zero, 0 when one is. Blind to a wrong scale, so
  /// never to be judged by alone.
  public var cosine: Double {
    if squaredReference == 0 || squaredCandidate == 0 {
      return squaredReference == squaredCandidate ? 1 : 0
    }
    // Squares of float32 values stay far from what a double's exponent holds, so their product
    // cannot overflow; one root of it is exact for equal tensors.
    return max(-1, min(1, product / (squaredReference * squaredCandidate).squareRoot()))
  }
}
