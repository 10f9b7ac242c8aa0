// SPDX-License-Identifier: Apache-2.0
// Datasets: bytes to the numbers a network was trained on.

internal import Diagnostics

/// `(x * scale - mean) / std`, each operation rounded to float32, in this order.
///
/// A scale that float32 cannot tell from 1/n, n a whole number, means division by n: so
/// 0.00392156863 gives exactly `x / 255`, as training code writes it, and not the product with a
/// rounded reciprocal, which differs in the last bit for a third of the bytes.
public struct Normalization: Sendable, Equatable {
  /// Factor of the byte, > 0 and finite.
  public let scale: Float
  /// One value for all channels, or one a channel, in the order of the tensor's channels.
  public let mean: [Float]
  /// One value for all channels, or one a channel; finite, not 0.
  public let std: [Float]

  /// Makes a normalisation; the defaults change nothing.
  ///
  /// - Precondition: the values are in the ranges that the properties name.
  public init(scale: Float = 1, mean: [Float] = [0], std: [Float] = [1]) {
    precondition(scale.isFinite && scale > 0, "the scale is positive")
    precondition(!mean.isEmpty && mean.allSatisfy(\.isFinite), "means are finite")
    precondition(!std.isEmpty && std.allSatisfy { $0.isFinite && $0 != 0 }, "std is not 0")
    self.scale = scale
    self.mean = mean
    self.std = std
  }

  /// The n of a scale 1/n, n in 2...65536; nil for other scales.
  public var divisor: Int? {
    let whole = (1 / scale).rounded()
    guard whole >= 2, whole <= 65536, 1 / whole == scale else { return nil }
    return Int(whole)
  }

  /// The number for a byte in one channel.
  public func value(of byte: UInt8, channel: Int) -> Float {
    let scaled = divisor.map { Float(byte) / Float($0) } ?? Float(byte) * scale
    return (scaled - mean[mean.count == 1 ? 0 : channel]) / std[std.count == 1 ? 0 : channel]
  }

  /// The numbers of all bytes: 256 for each channel in turn.
  func tables(channels: Int) -> [Float] {
    (0..<channels).flatMap { channel in
      (0...255).map { value(of: UInt8($0), channel: channel) }
    }
  }
}
