// SPDX-License-Identifier: Apache-2.0
// Datasets: the headers of .npy and IDX files.

internal import Diagnostics
internal import Tensors

/// What an array holds and where its elements begin.
struct ArrayHeader: Sendable, Equatable {
  var elementType: ElementType
  var shape: [Int]
  /// Whether elements of several bytes begin with the highest.
  var isBigEndian: Bool
  /// Bytes before the first element.
  var length: Int

  /// Bytes of all elements; nil when the shape overflows.
  var contentSize: Int? {
    guard let count = Tensor.elementCount(of: shape) else { return nil }
    let (size, overflow) = count.multipliedReportingOverflow(by: elementType.size)
    return overflow ? nil : size
  }

  /// No header is longer: NumPy's are some 128 bytes, an IDX header at most 4 + 4 * 255.
  static let maximumLength = 1 << 16
}

// MARK: - NPY

extension ArrayHeader {
  static let npyMagic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]

  /// Reads the start of an `.npy` file, format versions 1 to 3.
  ///
  /// Source: NumPy documentation, "numpy.lib.format".
  /// - Throws: `.data` for malformed headers, Fortran order, and element types that Quench does
  ///   not compute with.
  init(npy bytes: [UInt8], path: String) throws(QuenchError) {
    func wrong(_ reason: String) -> QuenchError {
      QuenchError(.data, "the .npy header \(reason)", at: .file(path))
    }
    guard bytes.count >= 12, bytes.starts(with: ArrayHeader.npyMagic) else {
      throw wrong("is missing")
    }
    let major = bytes[6]
    guard (1...3).contains(major) else { throw wrong("has the unknown version \(major)") }
    let start = major == 1 ? 10 : 12
    var count = Int(bytes[8]) | Int(bytes[9]) << 8
    if major > 1 { count |= Int(bytes[10]) << 16 | Int(bytes[11]) << 24 }
    guard count <= ArrayHeader.maximumLength - start else {
      throw wrong("claims \(count) bytes, more than any real one has")
    }
    guard bytes.count >= start + count else { throw wrong("is cut short") }
    var text = LiteralReader(bytes[start..<start + count])
    guard let fields = text.dictionary() else { throw wrong("is malformed") }
    guard case .text(let descr)? = fields["descr"],
      case .truth(let fortran)? = fields["fortran_order"],
      case .numbers(let shape)? = fields["shape"]
    else { throw wrong("lacks a plain descr, fortran_order or shape") }
    guard !fortran else {
      throw QuenchError(
        .data, "the array is in Fortran order, which is not read", at: .file(path),
        try: "save numpy.ascontiguousarray(a)")
    }
    let types: [String: ElementType] = [
      "u1": .uint8, "i1": .int8, "b1": .bool, "u2": .uint16, "i2": .int16, "u4": .uint32,
      "i4": .int32, "u8": .uint64, "i8": .int64, "f2": .float16, "f4": .float32, "f8": .float64,
    ]
    guard let order = descr.first, "<>|=".contains(order),
      let type = types[String(descr.dropFirst())]
    else { throw wrong("has the element type \"\(descr)\", which is not read") }
    elementType = type
    isBigEndian = order == ">"
    self.shape = shape
    length = start + count
    guard contentSize != nil else { throw wrong("has an impossible shape") }
  }
}

/// Reads the Python literal of a NumPy header: a flat dictionary of strings, booleans and tuples.
private struct LiteralReader {
  enum Value {
    case text(String)
    case truth(Bool)
    case numbers([Int])
  }

  private let bytes: ArraySlice<UInt8>
  private var offset: Int

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    offset = bytes.startIndex
  }

  mutating func dictionary() -> [String: Value]? {
    guard take("{") else { return nil }
    var fields: [String: Value] = [:]
    while !take("}") {
      guard let key = quoted(), take(":"), let value = value() else { return nil }
      fields[key] = value
      if !take(",") {
        guard take("}") else { return nil }
        return fields
      }
    }
    return fields
  }

  private mutating func value() -> Value? {
    if let text = quoted() { return .text(text) }
    if takeWord("True") { return .truth(true) }
    if takeWord("False") { return .truth(false) }
    guard take("(") else { return nil }
    var numbers: [Int] = []
    while !take(")") {
      guard let number = number() else { return nil }
      numbers.append(number)
      if !take(",") {
        guard take(")") else { return nil }
        break
      }
    }
    return .numbers(numbers)
  }

  private mutating func skipSpace() {
    while offset < bytes.endIndex, bytes[offset] == 0x20 || bytes[offset] == 0x0A { offset += 1 }
  }

  private mutating func take(_ character: Character) -> Bool {
    skipSpace()
    guard offset < bytes.endIndex, bytes[offset] == character.asciiValue else { return false }
    offset += 1
    return true
  }

  private mutating func takeWord(_ word: String) -> Bool {
    skipSpace()
    guard bytes[offset...].starts(with: word.utf8) else { return false }
    offset += word.utf8.count
    return true
  }

  private mutating func quoted() -> String? {
    skipSpace()
    guard offset < bytes.endIndex,
      bytes[offset] == UInt8(ascii: "'") || bytes[offset] == UInt8(ascii: "\""),
      let end = bytes[(offset + 1)...].firstIndex(of: bytes[offset])
    else { return nil }
    defer { offset = end + 1 }
    return String(decoding: bytes[(offset + 1)..<end], as: UTF8.self)
  }

  private mutating func number() -> Int? {
    skipSpace()
    let digits = bytes[offset...].prefix { (48...57).contains($0) }
    offset = digits.endIndex
    return Int(String(decoding: digits, as: UTF8.self))
  }
}

// MARK: - IDX

extension ArrayHeader {
  /// Whether the bytes begin like an IDX file: two zeros, a known type, at least one extent.
  static func isIDX(_ bytes: [UInt8]) -> Bool {
    bytes.count >= 4 && bytes[0] == 0 && bytes[1] == 0 && idxTypes[bytes[2]] != nil && bytes[3] > 0
  }

  private static let idxTypes: [UInt8: ElementType] = [
    0x08: .uint8, 0x09: .int8, 0x0B: .int16, 0x0C: .int32, 0x0D: .float32, 0x0E: .float64,
  ]

  /// Reads the start of an IDX file.
  ///
  /// Source: "The MNIST database of handwritten digits", file formats.
  init(idx bytes: [UInt8], path: String) throws(QuenchError) {
    guard ArrayHeader.isIDX(bytes), let type = ArrayHeader.idxTypes[bytes[2]] else {
      throw QuenchError(.data, "the file is not IDX", at: .file(path))
    }
    length = 4 + 4 * Int(bytes[3])
    guard bytes.count >= length else {
      throw QuenchError(.data, "the IDX header is cut short", at: .file(path))
    }
    elementType = type
    isBigEndian = true
    shape = stride(from: 4, to: length, by: 4).map { start in
      bytes[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
    }
    guard contentSize != nil else {
      throw QuenchError(.data, "the IDX header has an impossible shape", at: .file(path))
    }
  }
}
