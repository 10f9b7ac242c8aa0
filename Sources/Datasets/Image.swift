// SPDX-License-Identifier: Apache-2.0
// Datasets: a picture in memory.

/// A picture of bytes: rows from the top, channels side by side (`[H, W, C]`), no padding.
///
/// - Invariant: `pixels.count == width * height * channels`.
public struct Image: Sendable, Equatable {
  /// Columns, at least 1.
  public let width: Int
  /// Rows, at least 1.
  public let height: Int
  /// 1 (grey) or 3 (red, green, blue).
  public let channels: Int
  /// The samples, each 0...255.
  public let pixels: [UInt8]

  /// The most pixels that a picture may have, decoded or resized: 2^26, about 67 million.
  ///
  /// A file of a few bytes can claim any size, so a limit must stand before memory is taken.
  public static let maximumPixels = 1 << 26

  /// Makes a picture from its samples.
  ///
  /// - Precondition: the extents are at least 1, `channels` is 1 or 3, `pixels` fill the picture.
  public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) {
    precondition(width > 0 && height > 0, "a picture has at least one pixel")
    precondition(channels == 1 || channels == 3, "a picture is grey or has three colors")
    precondition(pixels.count == width * height * channels, "pixels must fill the picture")
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
  }
}
