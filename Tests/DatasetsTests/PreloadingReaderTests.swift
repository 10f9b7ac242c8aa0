// SPDX-License-Identifier: Apache-2.0

import Datasets
import Diagnostics
import Tensors
import TestSupport
import Testing

@Suite("Loading ahead")
struct PreloadingReaderTests {
  private let space = TemporarySpace()
  private let steps: Preprocessing

  init() throws { steps = try Preprocessing([]) }

  /// `count` images, the ones at `damaged` cut short.
  private func images(_ count: Int, damaged: Set<Int> = []) throws -> [Sample] {
    let color = try Golden.bytes("color.jpg")
    let grey = try Golden.bytes("grey.jpg")
    return (0..<count).map { index in
      var bytes = index % 2 == 0 ? color : grey
      if damaged.contains(index) { bytes.removeLast(60) }
      return Sample(path: space.write("\(index).jpg", bytes), label: index)
    }
  }

  @Test("samples come whole and in order, whatever the number of threads", arguments: [1, 2, 5])
  func order(threads: Int) throws {
    let samples = try images(40)
    let expected = [
      try SampleLoader.load(samples[0], steps), try SampleLoader.load(samples[1], steps),
    ]
    let reader = try PreloadingReader(samples: samples, preprocessing: steps, threads: threads)
    var seen = 0
    while let (sample, tensor) = try reader.next() {
      #expect(sample.label == seen)
      #expect(tensor == expected[seen % 2])
      seen += 1
    }
    #expect(seen == 40 && reader.skipped.isEmpty)
    #expect(try reader.next() == nil)
  }

  @Test("a damaged image stops the reader with its name")
  func fail() throws {
    let samples = try images(9, damaged: [4, 6])
    let reader = try PreloadingReader(samples: samples, preprocessing: steps, threads: 3)
    for _ in 0..<4 { #expect(try reader.next() != nil) }
    for _ in 0..<2 {
      let error = #expect(throws: QuenchError.self) { try reader.next() }
      #expect(error?.kind == .data)
      #expect(error?.place == .file(samples[4].path))
      #expect(error?.message.contains(samples[4].path) == true)
    }
  }

  @Test("skipped images are counted and named, in order")
  func skip() throws {
    let samples = try images(9, damaged: [0, 4, 8])
    let reader = try PreloadingReader(
      samples: samples, preprocessing: steps, threads: 2, policy: .skip)
    var labels: [Int?] = []
    while let (sample, _) = try reader.next() { labels.append(sample.label) }
    #expect(labels == [1, 2, 3, 5, 6, 7])
    #expect(reader.skipped.map(\.sample) == [samples[0], samples[4], samples[8]])
  }

  @Test("skipping everything is an error")
  func skipAll() throws {
    let samples = try images(3, damaged: [0, 1, 2])
    let reader = try PreloadingReader(samples: samples, preprocessing: steps, policy: .skip)
    let error = #expect(throws: QuenchError.self) { try reader.next() }
    #expect(error?.message.hasPrefix("none of the 3 samples could be used") == true)
  }

  @Test("a missing file is no damage: it is not skipped")
  func missing() throws {
    let samples = [Sample(path: space.path("gone.jpg"))]
    let reader = try PreloadingReader(samples: samples, preprocessing: steps, policy: .skip)
    let error = #expect(throws: QuenchError.self) { try reader.next() }
    #expect(error?.kind == .noInput)
  }

  @Test("a reader that is dropped early, or has nothing to read, ends")
  func dropped() throws {
    let samples = try images(30)
    for taken in 0..<4 {
      let reader = try PreloadingReader(samples: samples, preprocessing: steps, threads: 4)
      for _ in 0..<taken { _ = try reader.next() }
    }
    #expect(try PreloadingReader(samples: [], preprocessing: steps).next() == nil)
  }
}
