// SPDX-License-Identifier: Apache-2.0
// Calibration: the bytes of a `.qobs` file.
//
//   "QOBS", uint32 version
//   string model digest, string preprocessing digest, varint samples, varint number of tensors
//   per tensor, ascending by the bytes of its name:
//     string name
//     uint32 bits of min, uint32 bits of max
//     varint count of finite values, zeros, NaNs, +infinities, -infinities
//     if count > zeros: int16 exponent of the bin width, side of positive, side of negative values
//   uint32 CRC-32 (IEEE 802.3) of everything before it
//
//   side   = varint number of bins up to the last that is not empty, then that many counts as
//            varints; a 0 is followed by a varint: how many more zeros come directly after it
//   string = varint length in bytes, UTF-8
//   varint = 7 bits a byte, lowest first, the high bit says that more follow; shortest form only
// Fixed-size numbers are little endian.

internal import CKernels
public import Diagnostics

extension Observations {
  /// Raised when old readers would misread new files.
  static let version: UInt32 = 1
  static let magic = Array("QOBS".utf8)
  /// More tensors than any model has; bounds what a crafted file can make a reader allocate.
  static let mostTensors: UInt64 = 65_536

  /// The file's bytes; equal observations give equal bytes.
  public func encode() -> [UInt8] {
    var writer = ByteWriter()
    writer.bytes = Observations.magic
    writer.fixed(Observations.version)
    writer.string(model)
    writer.string(preprocessing)
    writer.varint(UInt64(samples))
    writer.varint(UInt64(tensors.count))
    for (name, histogram) in inOrder {
      writer.string(name)
      writer.histogram(histogram)
    }
    writer.fixed(Observations.checksum(writer.bytes[...]))
    return writer.bytes
  }

  /// Reads a file's bytes; `path` is for messages.
  ///
  /// - Throws: `.data` for anything but what `encode` writes, with what is wrong.
  public static func decode(_ bytes: [UInt8], path: String) throws(QuenchError) -> Observations {
    func malformed(_ reason: String) -> QuenchError {
      QuenchError(
        .data, "\(reason), so these observations cannot be used", at: .file(path),
        try: "quench observe again")
    }
    guard bytes.starts(with: magic), bytes.count >= 12 else {
      throw QuenchError(.data, "this is not a .qobs file", at: .file(path))
    }
    do throws(Malformed) {
      var reader = ByteReader(bytes[4...])
      let version = try reader.fixed(UInt32.self)
      guard version <= Observations.version else {
        throw Malformed(
          "version \(version) is newer than \(Observations.version), the newest this quench reads")
      }
      let body = bytes.count - 4
      var trailer = ByteReader(bytes[body...])
      guard version > 0, try trailer.fixed(UInt32.self) == checksum(bytes[..<body]) else {
        throw Malformed("the checksum does not match: the file is damaged or cut off")
      }
      reader.remaining = bytes[8..<body]
      let observations = try decodeBody(&reader)
      guard reader.remaining.isEmpty else { throw Malformed("bytes follow the last tensor") }
      return observations
    } catch {
      throw malformed(error.reason)
    }
  }

  private static func decodeBody(_ reader: inout ByteReader) throws(Malformed) -> Observations {
    var observations = Observations(
      model: try reader.string(), preprocessing: try reader.string())
    guard let samples = Int(exactly: try reader.varint()) else {
      throw Malformed("the number of samples is malformed")
    }
    observations.samples = samples
    let count = try reader.varint()
    guard count <= mostTensors else { throw Malformed("the number of tensors is malformed") }
    var last: String?
    for _ in 0..<count {
      let name = try reader.string()
      if let last, !last.utf8.lexicographicallyPrecedes(name.utf8) {
        throw Malformed("the tensors are not in order")
      }
      guard observations.tensors.updateValue(try reader.histogram(), forKey: name) == nil else {
        throw Malformed("tensor \"\(name)\" is there twice")
      }
      last = name
    }
    return observations
  }

  private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.withUnsafeBytes { ck_crc32(0, $0.baseAddress, $0.count) }
  }
}

/// Why bytes cannot be read, as a clause.
private struct Malformed: Error {
  let reason: String
  init(_ reason: String) { self.reason = reason }
}

// MARK: - Writing

private struct ByteWriter {
  var bytes: [UInt8] = []

  mutating func fixed(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  mutating func string(_ text: String) {
    varint(UInt64(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }

  mutating func histogram(_ histogram: Histogram) {
    fixed(histogram.min.bitPattern)
    fixed(histogram.max.bitPattern)
    for counter in [
      histogram.count, histogram.zeros, histogram.nans, histogram.positiveInfinities,
      histogram.negativeInfinities,
    ] { varint(counter) }
    guard let exponent = histogram.exponent else { return }
    fixed(Int16(exponent))
    for side in [histogram.positive, histogram.negative] { self.side(side) }
  }

  private mutating func side(_ counts: [UInt64]) {
    let used = Histogram.trimmed(counts)
    varint(UInt64(used.count))
    var bin = 0
    while bin < used.count {
      varint(used[bin])
      if used[bin] == 0 {
        // The last bin is not empty, so the run ends before it.
        let end = used[bin...].firstIndex { $0 != 0 } ?? used.count
        varint(UInt64(end - bin - 1))
        bin = end
      } else {
        bin += 1
      }
    }
  }
}

// MARK: - Reading

private struct ByteReader {
  var remaining: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { remaining = bytes }

  mutating func fixed<T: FixedWidthInteger & UnsignedInteger>(
    _ type: T.Type
  ) throws(Malformed) -> T {
    var value: T = 0
    for index in 0..<MemoryLayout<T>.size { value |= T(try byte()) << (8 * index) }
    return value
  }

  mutating func varint() throws(Malformed) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      let byte = try byte()
      let group = UInt64(byte & 0x7F)
      guard shift < 63 || group <= 1, byte != 0 || shift == 0 else { break }
      value |= group << shift
      if byte & 0x80 == 0 { return value }
    }
    throw Malformed("a number is malformed")
  }

  mutating func string() throws(Malformed) -> String {
    let length = try varint()
    guard length <= UInt64(remaining.count) else { throw Malformed("the file is cut off") }
    guard let text = String(validating: remaining.prefix(Int(length)), as: UTF8.self) else {
      throw Malformed("a name is not UTF-8")
    }
    remaining = remaining.dropFirst(Int(length))
    return text
  }

  mutating func histogram() throws(Malformed) -> Histogram {
    var histogram = Histogram()
    histogram.min = Float(bitPattern: try fixed(UInt32.self))
    histogram.max = Float(bitPattern: try fixed(UInt32.self))
    histogram.count = try counter()
    histogram.zeros = try counter()
    histogram.nans = try counter()
    histogram.positiveInfinities = try counter()
    histogram.negativeInfinities = try counter()
    if histogram.count > histogram.zeros {
      let exponent = Int(Int16(bitPattern: try fixed(UInt16.self)))
      guard Histogram.exponents.contains(exponent) else {
        throw Malformed("a bin width is out of range")
      }
      histogram.exponent = exponent
      histogram.positive = try side()
      histogram.negative = try side()
    }
    if let broken = histogram.brokenInvariant() { throw Malformed(broken) }
    return histogram
  }

  private mutating func counter() throws(Malformed) -> UInt64 {
    let value = try varint()
    guard value <= Histogram.largestCount else { throw Malformed("a count is out of range") }
    return value
  }

  private mutating func side() throws(Malformed) -> [UInt64] {
    let used = try varint()
    guard used <= UInt64(Histogram.binsPerSide) else { throw Malformed("there are too many bins") }
    guard used > 0 else { return [] }
    let end = Int(used)
    var counts = [UInt64](repeating: 0, count: Histogram.binsPerSide)
    var bin = 0
    while bin < end {
      counts[bin] = try counter()
      if counts[bin] == 0 {
        let more = try varint()
        guard more < UInt64(end - bin) else { throw Malformed("a run of empty bins is too long") }
        bin += Int(more)
      }
      bin += 1
    }
    guard counts[end - 1] != 0 else { throw Malformed("the last bin is empty") }
    return counts
  }

  private mutating func byte() throws(Malformed) -> UInt8 {
    guard let byte = remaining.popFirst() else { throw Malformed("the file is cut off") }
    return byte
  }
}
