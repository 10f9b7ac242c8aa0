// SPDX-License-Identifier: Apache-2.0

import Datasets
import Diagnostics
import TestSupport
import Testing

@Suite("Samples and sample lists")
struct SampleTests {
  @Test(
    "a line is read and written the same",
    arguments: [
      ("a b/c.png", Sample(path: "a b/c.png")),
      ("c.png\t7", Sample(path: "c.png", label: 7)),
      ("t.npy#12\t-1", Sample(path: "t.npy", index: 12, label: -1)),
      ("t.npz#images:3", Sample(path: "t.npz", member: "images", index: 3)),
      ("t.npz#a:b:3\t0", Sample(path: "t.npz", member: "a:b", index: 3, label: 0)),
      ("c#1.png", Sample(path: "c#1.png")),
      ("c#d#4", Sample(path: "c#d", index: 4)),
    ])
  func roundTrip(line: String, sample: Sample) throws {
    #expect(try Sample.parse(line) == sample)
    #expect(sample.line == line)
  }

  @Test("a list is read back as it was written")
  func list() throws {
    let samples = [Sample(path: "a.png", label: 1), Sample(path: "ö x.npy", index: 0)]
    let bytes = SampleList.encode(samples)
    #expect(String(decoding: bytes, as: UTF8.self) == "a.png\t1\nö x.npy#0\n")
    #expect(try SampleList.decode(bytes, path: "s") == samples)
  }

  @Test("a wrong label is reported with its line")
  func wrongLabel() {
    let error = #expect(throws: QuenchError.self) {
      try SampleList.decode(Array("a.png\t1\nb.png\tcat\n".utf8), path: "e.samples")
    }
    #expect(error?.message == "the label \"cat\" is not an integer")
    #expect(error?.place?.description == "e.samples:2:1")
    #expect(throws: QuenchError.self) { try Sample.parse("\t1") }
  }
}
