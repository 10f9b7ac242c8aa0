// SPDX-License-Identifier: Apache-2.0
// Datasets: JPEG and PNG files to pictures.

internal import Artifacts
internal import CImage
public import Diagnostics

/// What to do with an alpha channel.
public enum AlphaRule: Sendable, Hashable {
  /// A picture with an alpha channel is an error: what lies behind it is not known.
  case refuse
  /// The colors are taken as they are stored, whatever the opacity.
  case drop
  /// The picture is laid over this color: `(c * a + over * (255 - a)) / 255`, rounded.
  case over(red: UInt8, green: UInt8, blue: UInt8)
}

/// Decodes image files by their content; the suffix of the name plays no part.
///
/// EXIF orientation and color profiles are ignored. JPEG is decoded with the accurate integer
/// transform and smooth chroma upsampling, as Pillow does; CMYK is refused. 16-bit PNG keeps the
/// upper byte.
public enum ImageDecoding {
  /// Reads and decodes a file.
  ///
  /// - Throws: `.noInput` when it cannot be read; `.data` naming the file when it is damaged,
  ///   cut short, of another format, larger than `Image.maximumPixels`, CMYK, or has an alpha
  ///   channel that `alpha` refuses.
  public static func read(
    _ path: String, alpha: AlphaRule = .refuse
  ) throws(QuenchError) -> Image {
    try decode(try FileContent.read(path), path: path, alpha: alpha)
  }

  /// Decodes a file in memory; `path` is for messages. Throws as `read` does.
  public static func decode(
    _ bytes: [UInt8], path: String, alpha: AlphaRule = .refuse
  ) throws(QuenchError) -> Image {
    if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
      return try decode(bytes, path, alpha, "JPEG", with: ci_decode_jpeg)
    }
    if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      return try decode(bytes, path, alpha, "PNG", with: ci_decode_png)
    }
    let found = bytes.isEmpty ? "it is empty" : "its content is not JPEG or PNG"
    throw QuenchError(.data, "\"\(path)\" is no image: \(found)", at: .file(path))
  }

  private typealias Decoder = (
    UnsafePointer<UInt8>?, Int, Int, UnsafeMutablePointer<ci_picture>?
  ) -> Int32

  private static func decode(
    _ bytes: [UInt8], _ path: String, _ alpha: AlphaRule, _ format: String, with decoder: Decoder
  ) throws(QuenchError) -> Image {
    var picture = ci_picture()
    let status = bytes.withUnsafeBufferPointer {
      decoder($0.baseAddress, $0.count, Image.maximumPixels, &picture)
    }
    guard status == 0, let pixels = picture.pixels else {
      let reason = withUnsafeBytes(of: &picture.message) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      throw QuenchError(
        .data, "the \(format) image \"\(path)\" cannot be decoded: \(reason)", at: .file(path))
    }
    defer { ci_free(picture.pixels) }
    let stored = UnsafeBufferPointer(
      start: pixels, count: picture.width * picture.height * picture.channels)
    if picture.channels % 2 == 1 {
      return Image(
        width: picture.width, height: picture.height, channels: picture.channels,
        pixels: Array(stored))
    }
    return try flatten(
      stored, width: picture.width, height: picture.height, channels: picture.channels, path, alpha)
  }
}

// MARK: - Alpha

extension ImageDecoding {
  private static func flatten(
    _ stored: UnsafeBufferPointer<UInt8>, width: Int, height: Int, channels: Int, _ path: String,
    _ alpha: AlphaRule
  ) throws(QuenchError) -> Image {
    let colors = channels - 1
    switch alpha {
    case .refuse:
      throw QuenchError(
        .data,
        "the image \"\(path)\" has an alpha channel, and the preprocessing has no step for it",
        at: .file(path),
        try: "put \"alpha: drop\" or \"alpha: {over: [255, 255, 255]}\" first in preprocess")
    case .drop:
      var pixels: [UInt8] = []
      pixels.reserveCapacity(width * height * colors)
      for start in stride(from: 0, to: stored.count, by: channels) {
        pixels.append(contentsOf: stored[start..<start + colors])
      }
      return Image(width: width, height: height, channels: colors, pixels: pixels)
    case .over(let red, let green, let blue):
      let behind = [red, green, blue]
      var pixels: [UInt8] = []
      pixels.reserveCapacity(width * height * 3)
      for start in stride(from: 0, to: stored.count, by: channels) {
        let opacity = Int(stored[start + colors])
        for channel in 0..<3 {
          let front = Int(stored[start + (colors == 3 ? channel : 0)])
          let sum = front * opacity + Int(behind[channel]) * (255 - opacity)
          pixels.append(UInt8((sum + 127) / 255))
        }
      }
      return Image(width: width, height: height, channels: 3, pixels: pixels)
    }
  }
}
