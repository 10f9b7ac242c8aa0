// SPDX-License-Identifier: Apache-2.0
// Datasets: arrays in .npy, .npz and IDX files, item by item.

internal import CImage
internal import Diagnostics
internal import Tensors

/// An array file. Uncompressed arrays are read item by item; compressed ones are inflated once.
///
/// Used by one thread at a time (`SampleLoader` holds a lock around it).
final class ArrayFile {
  let path: String
  let identity: FileIdentity
  /// Names of the arrays of an `.npz`, without ".npy", in the file's order; else empty.
  let names: [String]

  private let file: RandomAccessFile
  private let kind: Kind
  private var opened: [String: (header: ArrayHeader, store: Store)] = [:]

  private enum Kind {
    case npy
    case npz([ZipDirectory.Member])
    case idx
    case idxGzip
  }

  private enum Store {
    /// Elements begin at this offset of the file.
    case file(Int)
    /// Elements alone.
    case memory([UInt8])
  }

  /// A compressed array may fill this much memory: 4 GiB.
  private static let maximumInflated = 1 << 32

  /// Whether the content begins like one of the formats. Gzip counts: IDX comes in it.
  static func recognizes(_ bytes: [UInt8]) -> Bool {
    bytes.starts(with: ArrayHeader.npyMagic) || bytes.starts(with: ZipDirectory.magic)
      || bytes.starts(with: [0x1F, 0x8B]) || ArrayHeader.isIDX(bytes)
  }

  /// - Throws: `.noInput` when it cannot be opened; `.data` when it is of no known format.
  init(path: String) throws(QuenchError) {
    file = try RandomAccessFile(path)
    self.path = path
    identity = file.identity
    let start = try file.read(at: 0, count: min(8, file.size))
    if start.starts(with: ArrayHeader.npyMagic) {
      kind = .npy
      names = []
    } else if start.starts(with: ZipDirectory.magic) {
      let members = try ZipDirectory(file).members.filter { $0.name.hasSuffix(".npy") }
      kind = .npz(members)
      names = members.map { String($0.name.dropLast(4)) }
    } else if start.starts(with: [0x1F, 0x8B]) {
      kind = .idxGzip
      names = []
    } else if ArrayHeader.isIDX(start) {
      kind = .idx
      names = []
    } else {
      throw QuenchError(
        .data, "\"\(path)\" is no array file: its content is not .npy, .npz or IDX",
        at: .file(path))
    }
  }

  /// The array that is meant: nil for files of one array.
  ///
  /// - Throws: `.data` when there is no such array, or several and none called "images".
  func member(named wanted: String?) throws(QuenchError) -> String? {
    guard case .npz = kind else {
      guard let wanted else { return nil }
      throw QuenchError(
        .data, "\"\(path)\" holds one array without a name, not \"\(wanted)\"", at: .file(path))
    }
    if let wanted {
      if names.contains(wanted) { return wanted }
      throw QuenchError(
        .data, "\"\(path)\" has no array \"\(wanted)\"" + NearestName.hint(wanted, among: names),
        at: .file(path), try: "its arrays are: \(names.joined(separator: ", "))")
    }
    if names.count == 1 { return names[0] }
    if names.contains("images") { return "images" }
    throw QuenchError(
      .data, "\"\(path)\" has several arrays, and none is called \"images\"", at: .file(path),
      try: "name one of: \(names.joined(separator: ", "))")
  }

  func header(of name: String?) throws(QuenchError) -> ArrayHeader {
    try array(name, headerOnly: true).header
  }

  /// One item: the elements at this position of the first extent, in the machine's byte order.
  func item(_ index: Int, of name: String?) throws(QuenchError) -> Tensor {
    let (header, store) = try array(name, headerOnly: false)
    guard let count = header.shape.first, (0..<count).contains(index),
      let total = header.contentSize
    else {
      throw QuenchError(
        .data, "the array of shape \(header.shape) has no item \(index)", at: .file(path))
    }
    let size = total / count
    return try Tensor(
      header.elementType, shape: Array(header.shape.dropFirst()),
      bytes: try elements(header, store, at: index * size, count: size))
  }

  /// All elements of an array of integers with one extent (or with more extents of 1).
  func integers(of name: String?) throws(QuenchError) -> [Int] {
    let (header, store) = try array(name, headerOnly: false)
    guard let first = header.shape.first, Tensor.elementCount(of: header.shape) == first else {
      throw QuenchError(
        .data, "labels of shape \(header.shape) are not one a sample", at: .file(path))
    }
    let bytes = try elements(header, store, at: 0, count: header.contentSize ?? 0)
    let tensor = try Tensor(header.elementType, shape: [first], bytes: bytes)
    switch header.elementType {
    case .uint8, .bool: return tensor.bytes.map { Int($0) }
    case .int8: return tensor.values(as: Int8.self).map { Int($0) }
    case .int16: return tensor.values(as: Int16.self).map { Int($0) }
    case .uint16: return tensor.values(as: UInt16.self).map { Int($0) }
    case .int32: return tensor.values(as: Int32.self).map { Int($0) }
    case .uint32: return tensor.values(as: UInt32.self).map { Int($0) }
    case .int64: return tensor.values(as: Int64.self).map { Int($0) }
    case .uint64: return tensor.values(as: UInt64.self).map { Int(clamping: $0) }
    case .float16, .float32, .float64:
      throw QuenchError(.data, "the labels are not integers", at: .file(path))
    }
  }
}

// MARK: - Reading

extension ArrayFile {
  /// - Parameter headerOnly: a compressed array need not be inflated as a whole.
  private func array(
    _ name: String?, headerOnly: Bool
  ) throws(QuenchError) -> (header: ArrayHeader, store: Store) {
    let key = name ?? ""
    if let known = opened[key] { return known }
    switch kind {
    case .npy, .idx:
      let (header, start) = try storedHeader(at: 0, size: file.size)
      let entry = (header, Store.file(start))
      opened[key] = entry
      return entry
    case .npz(let members):
      guard let position = names.firstIndex(of: key) else {
        throw QuenchError(.data, "\"\(path)\" has no array \"\(key)\"", at: .file(path))
      }
      return try array(members[position], key, headerOnly)
    case .idxGzip:
      let bytes = try file.read(at: 0, count: file.size)
      return try inflated(bytes, CI_GZIP, key, headerOnly, size: nil, checksum: nil)
    }
  }

  private func array(
    _ member: ZipDirectory.Member, _ key: String, _ headerOnly: Bool
  ) throws(QuenchError) -> (header: ArrayHeader, store: Store) {
    let offset = try member.contentOffset(in: file)
    switch member.method {
    case 0:
      let (header, start) = try storedHeader(at: offset, size: member.size)
      let entry = (header, Store.file(start))
      opened[key] = entry
      return entry
    case 8:
      let bytes = try file.read(at: offset, count: member.compressedSize)
      return try inflated(
        bytes, CI_RAW_DEFLATE, key, headerOnly, size: member.size, checksum: member.checksum)
    default:
      throw QuenchError(
        .data, "the array \"\(key)\" is compressed by method \(member.method), which is not read",
        at: .file(path), try: "save it with numpy.savez or numpy.savez_compressed")
    }
  }

  /// The header of an uncompressed array, and where its elements begin in the file.
  private func storedHeader(
    at offset: Int, size: Int
  ) throws(QuenchError) -> (ArrayHeader, Int) {
    guard offset <= file.size else { throw cutShort() }
    let available = min(size, file.size - offset)
    let bytes = try file.read(
      at: offset, count: max(0, min(available, ArrayHeader.maximumLength)))
    let header = try parse(bytes)
    guard let content = header.contentSize, content <= available - header.length else {
      throw cutShort()
    }
    return (header, offset + header.length)
  }

  private func inflated(
    _ bytes: [UInt8], _ stream: Int, _ key: String, _ headerOnly: Bool, size: Int?,
    checksum: UInt32?
  ) throws(QuenchError) -> (header: ArrayHeader, store: Store) {
    let (start, _) = try inflate(bytes, stream, capacity: ArrayHeader.maximumLength)
    let header = try parse(start)
    // Deflate shrinks at most 1032 times, so what a header may claim is bounded by the file.
    let most = min(ArrayFile.maximumInflated, bytes.count.multipliedReportingOverflow(by: 1032).0)
    guard let content = header.contentSize, content <= most,
      size.map({ $0 == header.length + content }) ?? true
    else { throw cutShort() }
    if headerOnly { return (header, .memory([])) }
    // One byte more than wanted, so that the end of the stream is seen and its checksum compared.
    let (all, ended) = try inflate(bytes, stream, capacity: header.length + content + 1)
    guard ended, all.count == header.length + content else { throw cutShort() }
    if let checksum, ci_crc32(all, all.count) != checksum {
      throw QuenchError(
        .data, "the array \"\(key)\" is damaged: its checksum differs", at: .file(path))
    }
    let entry = (header, Store.memory(Array(all[header.length...])))
    opened[key] = entry
    return entry
  }

  private func inflate(
    _ bytes: [UInt8], _ stream: Int, capacity: Int
  ) throws(QuenchError) -> (bytes: [UInt8], ended: Bool) {
    var status: Int32 = 0
    let result = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, filled in
      var written = 0
      status = ci_inflate(
        bytes, bytes.count, Int32(stream), buffer.baseAddress, capacity, &written)
      filled = written
    }
    guard status >= 0 else {
      throw QuenchError(
        .data, "the compressed data of \"\(path)\" are damaged or cut short", at: .file(path))
    }
    return (result, status == 0)
  }

  private func parse(_ bytes: [UInt8]) throws(QuenchError) -> ArrayHeader {
    switch kind {
    case .npy, .npz: try ArrayHeader(npy: bytes, path: path)
    case .idx, .idxGzip: try ArrayHeader(idx: bytes, path: path)
    }
  }

  private func elements(
    _ header: ArrayHeader, _ store: Store, at offset: Int, count: Int
  ) throws(QuenchError) -> [UInt8] {
    var bytes: [UInt8]
    switch store {
    case .file(let start): bytes = try file.read(at: start + offset, count: count)
    case .memory(let all): bytes = Array(all[offset..<offset + count])
    }
    let size = header.elementType.size
    if header.isBigEndian, size > 1 {
      for start in stride(from: 0, to: bytes.count, by: size) {
        bytes[start..<start + size].reverse()
      }
    }
    return bytes
  }

  private func cutShort() -> QuenchError {
    QuenchError(
      .data, "\"\(path)\" is cut short: its header claims more than the file holds",
      at: .file(path))
  }
}
