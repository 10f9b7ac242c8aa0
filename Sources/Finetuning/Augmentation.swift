// SPDX-License-Identifier: Apache-2.0
// Finetuning: the same picture, a little different in every epoch.

/// Changes that leave a picture's class alone. Off unless asked for.
public struct Augmentation: Sendable, Equatable, Codable {
  /// Mirrors every second picture left to right.
  public var flip: Bool
  /// Pads this many pixels on all sides and crops the old size at random; 0 for none.
  ///
  /// The padding is 0 of the network's input, which after normalization is about the mean color.
  public var padding: Int

  /// No change.
  public static let none = Augmentation(flip: false, padding: 0)

  /// Makes a choice.
  public init(flip: Bool, padding: Int) {
    precondition(padding >= 0, "the reader of options checks this first")
    self.flip = flip
    self.padding = padding
  }

  /// Whether anything changes.
  public var isOn: Bool { flip || padding > 0 }

  /// The picture of one sample as an epoch sees it.
  ///
  /// - Parameters:
  ///   - picture: `[C, H, W]`, or `[H, W, C]` when `isInterleaved`.
  ///   - index: the sample's number in the list of training samples.
  func apply(
    to picture: [Float], shape: PictureShape, random: CounterRandom, epoch: Int, index: Int
  ) -> [Float] {
    guard isOn else { return picture }
    let mirrored =
      flip && random.number(below: 2, .augmentation, epoch: epoch, index: index, draw: 0) == 1
    let span = 2 * padding + 1
    let down =
      random.number(below: span, .augmentation, epoch: epoch, index: index, draw: 1) - padding
    let right =
      random.number(below: span, .augmentation, epoch: epoch, index: index, draw: 2) - padding
    guard mirrored || down != 0 || right != 0 else { return picture }
    var result = [Float](repeating: 0, count: picture.count)
    for row in 0..<shape.height {
      let sourceRow = row + down
      guard sourceRow >= 0, sourceRow < shape.height else { continue }
      for column in 0..<shape.width {
        let shifted = column + right
        guard shifted >= 0, shifted < shape.width else { continue }
        let sourceColumn = mirrored ? shape.width - 1 - shifted : shifted
        for channel in 0..<shape.channels {
          result[shape.position(row, column, channel)] =
            picture[shape.position(sourceRow, sourceColumn, channel)]
        }
      }
    }
    return result
  }
}

/// How a picture lies in memory.
struct PictureShape: Sendable, Equatable {
  var height: Int
  var width: Int
  var channels: Int
  var isInterleaved: Bool

  /// The shape of a tensor of one sample; nil when it is no picture.
  init?(_ shape: [Int], isInterleaved: Bool) {
    guard shape.count == 4, shape[0] == 1 else { return nil }
    self.isInterleaved = isInterleaved
    height = isInterleaved ? shape[1] : shape[2]
    width = isInterleaved ? shape[2] : shape[3]
    channels = isInterleaved ? shape[3] : shape[1]
  }

  func position(_ row: Int, _ column: Int, _ channel: Int) -> Int {
    isInterleaved
      ? (row * width + column) * channels + channel : (channel * height + row) * width + column
  }
}
