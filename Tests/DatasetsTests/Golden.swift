// SPDX-License-Identifier: Apache-2.0
// DatasetsTests: golden files, and the sums that they hold.

import Artifacts
import Datasets
import Glibc

enum Golden {
  static let directory: String = {
    let file = #filePath
    return file.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" } + "/Golden"
  }()

  static func path(_ name: String) -> String { "\(directory)/\(name)" }

  static func bytes(_ name: String) throws -> [UInt8] { try FileContent.read(path(name)) }

  /// The lines of a text file, split at spaces.
  static func table(_ name: String) throws -> [[String]] {
    String(decoding: try bytes(name), as: UTF8.self).split(separator: "\n").map {
      $0.split(separator: " ").map(String.init)
    }
  }

  /// Where the labelled pictures are, if they are on this machine.
  static let pictures: String? = {
    let root =
      getenv("QUENCH_SHARED").map { String(cString: $0) }
      ?? directory.split(separator: "/").dropLast(4).reduce("") { "\($0)/\($1)" } + "/shared"
    return access("\(root)/data/labels.csv", R_OK) == 0 ? "\(root)/data" : nil
  }()
}

extension Image {
  /// Position-weighted sum of the samples modulo 2^64, as `make.py` computes it.
  var checksum: UInt64 {
    pixels.withUnsafeBufferPointer { pixels in
      var sum: UInt64 = 0
      var weight: UInt64 = 1
      for value in pixels {
        sum &+= weight &* UInt64(value)
        weight = weight == 65521 ? 1 : weight &+ 1
      }
      return sum
    }
  }

  /// The noise of `make.py`.
  static func noise(seed: UInt32, width: Int, height: Int, channels: Int) -> Image {
    var state = seed
    let pixels = (0..<width * height * channels).map { _ in
      state = state &* 1_664_525 &+ 1_013_904_223
      return UInt8(state >> 24)
    }
    return Image(width: width, height: height, channels: channels, pixels: pixels)
  }
}
