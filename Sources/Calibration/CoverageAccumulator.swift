// SPDX-License-Identifier: Apache-2.0
// Calibration: what a calibrated range loses of fresh values.

/// Counts what lies outside a tensor's calibrated range, by exact comparison, not from bins.
///
/// Counts do not depend on the order of the values; the energy sums do, in their last bits: let
/// each sample have its own accumulator and merge them in the order of the samples.
public struct CoverageAccumulator: Sendable, Equatable {
  /// The calibrated range.
  public let low: Double
  /// The calibrated range.
  public let high: Double
  /// Number of values, NaN included.
  public private(set) var count: UInt64 = 0
  /// Values below `low`.
  public private(set) var below: UInt64 = 0
  /// Values above `high`.
  public private(set) var above: UInt64 = 0
  /// Values that are not a number.
  public private(set) var nans: UInt64 = 0
  /// The smallest value, +∞ without values.
  public private(set) var min = Float.infinity
  /// The largest value, −∞ without values.
  public private(set) var max = -Float.infinity
  /// Σ of the squared distances to the range.
  public private(set) var lostEnergy = 0.0
  /// Σx².
  public private(set) var energy = 0.0

  /// A counter for a range.
  public init(low: Double, high: Double) {
    precondition(low <= high, "a range has its lower end first")
    self.low = low
    self.high = high
  }

  /// A counter for the range of a scale.
  public init(_ scale: TensorScale) {
    self.init(low: scale.threshold.first ?? 0, high: scale.threshold.last ?? 0)
  }

  /// Adds values.
  public mutating func add(_ values: UnsafeBufferPointer<Float>) {
    count += UInt64(values.count)
    var (pieceLost, pieceEnergy) = (0.0, 0.0)
    for value in values {
      let x = Double(value)
      pieceEnergy += x * x
      if x > high {
        above += 1
        pieceLost += (x - high) * (x - high)
      } else if x < low {
        below += 1
        pieceLost += (low - x) * (low - x)
      } else if x.isNaN {
        nans += 1
        continue
      }
      if value < min { min = value }
      if value > max { max = value }
    }
    lostEnergy += pieceLost
    energy += pieceEnergy
  }

  /// Adds values.
  public mutating func add(_ values: [Float]) {
    values.withUnsafeBufferPointer { add($0) }
  }

  /// Adds what another counter of the same range holds, as if its values came after.
  public mutating func merge(_ other: CoverageAccumulator) {
    precondition(low == other.low && high == other.high, "the ranges must be the same")
    count += other.count
    below += other.below
    above += other.above
    nans += other.nans
    min = Swift.min(min, other.min)
    max = Swift.max(max, other.max)
    lostEnergy += other.lostEnergy
    energy += other.energy
  }
}
