// SPDX-License-Identifier: Apache-2.0

import Datasets
import Tensors
import Testing

@Suite(
  "520 real pictures", .enabled(if: Golden.pictures != nil, "the labelled pictures are not here"))
struct LabelledPicturesTests {
  private static func steps(_ filter: String) throws -> Preprocessing {
    let json = """
      [{"resize": {"shortSide": 256, "filter": "\(filter)"}}, {"centerCrop": [224, 224]},
       {"normalize": {"scale": 0.00392156863, "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225]}}, {"layout": "NCHW"}]
      """
    return try Preprocessing(json: Array(json.utf8), path: "preprocess.json")
  }

  @Test("all decode to Pillow's bytes")
  func decodeAll() throws {
    let root = try #require(Golden.pictures)
    let golden = try Golden.table("pictures.txt")[0]
    let listing = try DatasetListing.samples(of: DataSource(list: "\(root)/labels.csv"))
    var grey = 0
    var pixels = 0
    var sum: UInt64 = 0
    for sample in listing.samples {
      let image = try ImageDecoding.read(sample.path)
      grey += image.channels == 1 ? 1 : 0
      pixels += image.width * image.height
      sum &+= image.checksum
    }
    #expect(
      ["all", "\(listing.samples.count)", "\(grey)", "\(pixels)", "\(sum)"] == golden)
  }

  @Test("the published preprocessing gives NumPy's numbers")
  func preprocessing() throws {
    let root = try #require(Golden.pictures)
    for fields in try Golden.table("pictures.txt").dropFirst() {
      let tensor = try SampleLoader.load(
        Sample(path: "\(root)/\(fields[0])"), Self.steps(fields[1]))
      #expect(tensor.shape == [1, 3, 224, 224])
      let floats = tensor.floats
      let sum = floats.reduce(0) { $0 + Double($1) }
      // The order of summation differs from NumPy's.
      #expect(abs(sum - (try #require(Double(fields[2])))) < 1e-6, "\(fields[0])")
      let bits = (0..<12).map { "\(floats[$0 * 12345].bitPattern)" }
      #expect(bits == Array(fields[3...]), "\(fields[0])")
    }
  }

  @Test("the rows of a split are its pictures")
  func split() throws {
    let root = try #require(Golden.pictures)
    let source = try DataSource(
      list: "\(root)/labels.csv", where: ["split": "calibration"], labelOffset: 1, limit: 100)
    let listing = try DatasetListing.samples(of: source)
    #expect(listing.samples.count == 100)
    #expect(listing.samples.allSatisfy { (1...1000).contains($0.label ?? -1) })
  }
}
