// SPDX-License-Identifier: Apache-2.0

import Datasets
import Testing

@Suite("Resizing")
struct ResizeTests {
  @Test("every filter gives Pillow's bytes for random sizes")
  func equalsPillow() throws {
    let cases = try Golden.table("resize.txt")
    #expect(cases.count >= 60)
    for fields in cases {
      let numbers = fields.enumerated().compactMap { $0 == 6 ? nil : UInt64($1) }
      let filter = try #require(ResizeFilter(rawValue: fields[6]))
      let seed = UInt32(numbers[0])
      var image = Image.noise(
        seed: seed, width: Int(numbers[1]), height: Int(numbers[2]), channels: Int(numbers[3]))
      if seed % 3 == 0 {
        image = Image(
          width: image.width, height: image.height, channels: image.channels,
          pixels: image.pixels.map { $0 > 127 ? 255 : 0 })
      }
      let resized = image.resized(
        width: Int(numbers[4]), height: Int(numbers[5]), filter: filter)
      #expect(resized.width == Int(numbers[4]) && resized.height == Int(numbers[5]))
      #expect(resized.pixels.prefix(6).map { UInt64($0) } == Array(numbers[7...]), "\(fields)")
      #expect(resized.checksum == numbers[6], "\(fields)")
    }
  }

  @Test("a region of the resized picture is cut from the whole", arguments: ResizeFilter.allCases)
  func region(filter: ResizeFilter) {
    let image = Image.noise(seed: 3, width: 40, height: 30, channels: 3)
    let whole = image.resized(width: 23, height: 30, filter: filter)
    let part = image.resized(
      width: 23, height: 30, filter: filter, columns: 4..<20, rows: 7..<25)
    #expect(part == whole.cropped(columns: 4..<20, rows: 7..<25))
  }

  @Test("an even picture stays even at any size", arguments: ResizeFilter.allCases)
  func constant(filter: ResizeFilter) {
    let image = Image(
      width: 17, height: 9, channels: 1, pixels: [UInt8](repeating: 201, count: 153))
    for (width, height) in [(1, 1), (5, 40), (17, 3), (100, 9)] {
      let resized = image.resized(width: width, height: height, filter: filter)
      #expect(resized.pixels.allSatisfy { $0 == 201 })
    }
  }
}
