// SPDX-License-Identifier: Apache-2.0

import Datasets
import Diagnostics
import Tensors
import TestSupport
import Testing

@Suite("Loading samples")
struct SampleLoaderTests {
  private let none: Preprocessing

  init() throws { none = try Preprocessing([]) }

  private func error(_ sample: Sample, _ json: String = "[]") throws -> QuenchError? {
    let steps = try Preprocessing(json: Array(json.utf8), path: "p")
    do {
      _ = try SampleLoader.load(sample, steps)
      return nil
    } catch {
      return error
    }
  }

  /// `.npy` version 1 with this header text.
  private func npy(_ header: String, _ content: [UInt8]) -> [UInt8] {
    let text = Array((header + "\n").utf8)
    return [0x93] + Array("NUMPY".utf8)
      + [1, 0, UInt8(text.count & 255), UInt8(text.count >> 8)] + text + content
  }

  @Test("bytes of stored, deflated, IDX and gzipped arrays are the same pictures")
  func formats() throws {
    // make.py: noise of seed 11, shape [5, 4, 6, 3].
    let all = Image.noise(seed: 11, width: 6, height: 20, channels: 3)
    for index in [3, 0, 4] {
      let part = all.cropped(columns: 0..<6, rows: index * 4..<index * 4 + 4)
      let expected = try none.apply(to: part)
      for name in ["stored.npz", "packed.npz"] {
        let sample = Sample(path: Golden.path(name), member: "images", index: index)
        #expect(try SampleLoader.load(sample, none) == expected)
        let plain = Sample(path: Golden.path(name), index: index)
        #expect(try SampleLoader.load(plain, none) == expected)
      }
      let red = expected.floats.prefix(24)
      for name in ["items.idx", "items.idx.gz"] {
        let tensor = try SampleLoader.load(Sample(path: Golden.path(name), index: index), none)
        #expect(tensor.shape == [1, 3, 4, 6])
        #expect(tensor.floats == Array(red + red + red))
      }
    }
  }

  @Test("floats are taken as they are, without preprocessing")
  func floats() throws {
    let sample = Sample(path: Golden.path("floats.npy"), index: 2)
    let tensor = try SampleLoader.load(sample, none)
    #expect(tensor.elementType == .float32 && tensor.shape == [1, 2, 3])
    #expect(tensor.floats == [1.5, 1.625, 1.75, 1.875, 2, 2.125])
    #expect(
      try error(sample, #"[{"layout":"NCHW"}]"#)?.message
        == "the array has float64 elements, to which no preprocessing applies")
  }

  @Test("an item that is not there, or not a number, is named")
  func items() throws {
    let sample = Sample(path: Golden.path("floats.npy"), index: 4)
    let failure = try error(sample)
    #expect(failure?.message == "the array of shape [4, 2, 3] has no item 4")
    let space = TemporarySpace()
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"
    let path = space.write("nan.npy", npy(header, [0, 0, 0, 0, 0, 0, 0xC0, 0x7F]))
    let nan = try error(Sample(path: path, index: 0))
    #expect(nan?.message == "the value at position 1 is nan")
    #expect(nan?.place == .file("\(path)#0"))
  }

  @Test("planes of bytes are pictures too")
  func planes() throws {
    let space = TemporarySpace()
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3, 1, 2), }"
    let path = space.write("p.npy", npy(header, [1, 2, 3, 4, 5, 6]))
    let tensor = try SampleLoader.load(Sample(path: path, index: 0), none)
    #expect(tensor.shape == [1, 3, 1, 2] && tensor.floats == [1, 2, 3, 4, 5, 6])
  }

  @Test("a file that was replaced is read anew")
  func replaced() throws {
    let space = TemporarySpace()
    let header = "{'descr': '>f4', 'fortran_order': False, 'shape': (1, 1)}"
    let path = space.write("a.npy", npy(header, [0x3F, 0x80, 0, 0]))
    #expect(try SampleLoader.load(Sample(path: path, index: 0), none).floats == [1])
    space.write("a.npy", npy(header + " ", [0x40, 0, 0, 0]))
    #expect(try SampleLoader.load(Sample(path: path, index: 0), none).floats == [2])
  }

  @Test(
    "hostile and unusable headers are refused",
    arguments: [
      ("{'descr': '|u1', 'fortran_order': False, 'shape': (9000000000, 9000000000), }", "shape"),
      ("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000), }", "cut short"),
      ("{'descr': '|u1', 'fortran_order': True, 'shape': (1, 2), }", "Fortran"),
      ("{'descr': '|O', 'fortran_order': False, 'shape': (1, 2), }", "\"|O\""),
      ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 2), }", "malformed"),
      ("{'descr': '|u1', 'shape': (1, 2), }", "lacks"),
      ("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 2), }", "malformed"),
    ])
  func hostile(header: String, expected: String) throws {
    let space = TemporarySpace()
    let path = space.write("h.npy", npy(header, [1, 2]))
    let failure = try error(Sample(path: path, index: 0))
    #expect(failure?.kind == .data)
    #expect(failure?.message.contains(expected) == true, "\(failure?.message ?? "no error")")
  }

  @Test(
    "a shortened or damaged array file is an error, never a crash",
    arguments: ["stored.npz", "packed.npz", "floats.npy", "items.idx", "items.idx.gz"])
  func damage(name: String) throws {
    let bytes = try Golden.bytes(name)
    let space = TemporarySpace()
    for cut in stride(from: 0, to: bytes.count, by: 13) {
      let path = space.write("\(cut)-cut", Array(bytes.prefix(cut)))
      #expect(try error(Sample(path: path, index: 0))?.kind == .data, "\(name) cut at \(cut)")
    }
    for position in stride(from: 0, to: bytes.count, by: 3) {
      var damaged = bytes
      damaged[position] ^= 0xFF
      let path = space.write("\(position)-damaged", damaged)
      // Bytes of stored content may be anything; what is asked is a tensor or an error.
      if let failure = try error(Sample(path: path, index: 0)) { #expect(failure.kind == .data) }
    }
  }

  @Test("a damaged deflated array is told by its checksum")
  func checksum() throws {
    var bytes = try Golden.bytes("packed.npz")
    // CRC-32 of the first directory entry.
    let entry = try #require(
      bytes.indices.dropLast(4).first { Array(bytes[$0..<$0 + 4]) == [0x50, 0x4B, 1, 2] })
    bytes[entry + 16] ^= 1
    let space = TemporarySpace()
    let path = space.write("c.npz", bytes)
    #expect(
      try error(Sample(path: path, index: 0))?.message
        == "the array \"images\" is damaged: its checksum differs")
  }
}
