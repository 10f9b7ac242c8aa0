// SPDX-License-Identifier: Apache-2.0
// Compilation: the first 256 bytes of an OM file.

internal import Diagnostics

/// The header of an OM file, and which of its dialects the file speaks.
///
/// Layout: `ModelFileHeader` of CANN's framework types, and the fields that the Kirin (HiAI)
/// toolchain keeps at the same places.
public struct OMHeader: Sendable, Equatable {
  /// Bytes of the header.
  public static let size = 256
  /// `IMOD`, the first four bytes.
  static let magic: UInt32 = 0x444F_4D49

  /// Which toolchain's form of the container this is.
  public enum Dialect: String, Sendable, Codable {
    /// CANN 6 and later: 64-bit partition table.
    case cann2 = "CANN 2.0"
    /// CANN before 6: 32-bit partition table.
    case cann1 = "CANN 1.0"
    /// The Kirin toolchain: 32-bit partition table.
    case hiai = "HiAI"
  }

  /// The dialect.
  public var dialect: Dialect
  /// 0x20000000 for CANN 2.0, else 0x10000000.
  public var version: UInt32
  /// The signature area, zero in files that no one signed.
  public var checksum: [UInt8]
  /// Whether the payload is encrypted.
  public var isEncrypted: Bool
  /// 0 where a checksum is asked for. No known loader verifies one.
  public var checksumMode: UInt8
  /// The model type; its meaning depends on the dialect (`modelTypeName`).
  public var modelType: UInt8
  /// 0 offline, 1 online.
  public var generationMode: UInt8
  /// The model's name, at most 31 bytes.
  public var name: String
  /// Thousands of operations, as the writer says; 0 where it does not.
  public var operations: UInt32
  /// 32 bytes for the writer's own use, as text.
  public var userInfo: String
  /// Version of the intermediate representation, 0 or 2 in known files.
  public var irVersion: UInt32
  /// Number of models in the file; 1 outside CANN 2.0.
  public var modelCount: UInt32
  /// The writer's platform version, at most 19 bytes.
  public var platformVersion: String
  /// CANN: whether the loader compares the host's system and CPU.
  public var checksHost: Bool
  /// CANN: whether shapes are known only at run time.
  public var isDynamic: Bool
  /// Bytes 176 to 255 as read, so that what this type does not name is written back.
  var tail: [UInt8]

  /// The model type in words.
  public var modelTypeName: String {
    let names: [String] =
      switch dialect {
      case .cann1, .cann2: ["IR", "standard", "tiny", "flow", "lite", "bundle"]
      case .hiai:
        [
          "device model (v100)", "standard", "IGS", "hardware-independent IR",
          "HCS (compiled)", "ISPNN", "third party", "IR API", "UTINY", "multi-shape",
          "enumerated shapes", "single operator", "multi-shape single operator",
        ]
      }
    return Int(modelType) < names.count ? names[Int(modelType)] : "type \(modelType)"
  }
}

// MARK: - Reading and writing

extension OMHeader {
  /// Reads a header; `fileSize` decides between the dialects.
  ///
  /// - Throws: `.data` when it is no OM header or the payload length is not the file's.
  static func decode(_ bytes: [UInt8]) throws(QuenchError) -> OMHeader {
    guard bytes.count >= 4, bytes.prefix(4).elementsEqual("IMOD".utf8) else {
      let archive = bytes.starts(with: "PK".utf8)
      throw QuenchError(
        .data,
        "this is not an OM file: it does not begin with \"IMOD\""
          + (archive ? " (it is a zip archive, as .om2 packages are, which are not read)" : ""))
    }
    var reader = ByteReader(bytes[...], subject: "the header of the OM file")
    try reader.skip(4)
    let headerSize = try reader.integer(UInt32.self)
    guard headerSize == UInt32(size) else {
      throw QuenchError(.data, "the OM header says that it has \(headerSize) bytes, not \(size)")
    }
    let version = try reader.integer(UInt32.self)
    let checksum = Array(try reader.take(64))
    let length32 = try reader.integer(UInt32.self)
    let flags = Array(try reader.take(4))
    let name = try reader.text(32)
    let operations = try reader.integer(UInt32.self)
    let userInfo = try reader.text(32)
    let irVersion = try reader.integer(UInt32.self)
    let field156 = Array(try reader.take(20))
    let tail = Array(try reader.take(80))

    var tailReader = ByteReader(tail[8...], subject: "the header of the OM file")
    let length64 = try tailReader.integer(UInt64.self)
    let payload = UInt64(bytes.count - size)
    let dialect: Dialect
    if length64 != 0, length64 == payload {
      dialect = .cann2
    } else if UInt64(length32) == payload {
      dialect = version == 0x1000_0000 && isPlatformText(field156) ? .hiai : .cann1
    } else {
      let said = length32 != 0 ? UInt64(length32) : length64
      throw QuenchError(
        .data,
        "the OM file is truncated or has bytes added: its header speaks of \(said) bytes "
          + "of payload, \(payload) are there")
    }
    var count = ByteReader(field156[...], subject: "the header of the OM file")
    let first = try count.integer(UInt32.self)
    // CANN keeps the model count before the platform version; HiAI starts the version there.
    let platform = dialect == .hiai ? field156 : Array(field156[4...]) + tail[0..<4]
    return OMHeader(
      dialect: dialect, version: version, checksum: checksum, isEncrypted: flags[0] != 0,
      checksumMode: flags[1], modelType: flags[2], generationMode: flags[3], name: name,
      operations: operations, userInfo: userInfo, irVersion: irVersion,
      modelCount: dialect == .cann2 ? max(1, first) : 1,
      platformVersion: String(decoding: platform.prefix { $0 != 0 }, as: UTF8.self),
      checksHost: dialect != .hiai && tail[16] != 0, isDynamic: dialect != .hiai && tail[17] != 0,
      tail: tail)
  }

  /// The 256 bytes in front of a payload of this many bytes.
  ///
  /// - Throws: `.data` when the payload is too long for a 32-bit dialect.
  func encode(payload: Int) throws(QuenchError) -> [UInt8] {
    guard dialect == .cann2 || payload <= Int(UInt32.max) else {
      throw QuenchError(.data, "\(payload) bytes are more than a 32-bit OM file can hold")
    }
    var bytes: [UInt8] = []
    bytes.append(integer: OMHeader.magic)
    bytes.append(integer: UInt32(OMHeader.size))
    bytes.append(integer: version)
    bytes += checksum
    bytes.append(integer: dialect == .cann2 ? 0 : UInt32(payload))
    bytes += [isEncrypted ? 1 : 0, checksumMode, modelType, generationMode]
    bytes.append(text: name, width: 32)
    bytes.append(integer: operations)
    bytes.append(text: userInfo, width: 32)
    bytes.append(integer: irVersion)
    var tail = self.tail
    if dialect == .hiai {
      bytes.append(text: platformVersion, width: 20)
    } else {
      bytes.append(integer: dialect == .cann2 ? modelCount : 0)
      var platform: [UInt8] = []
      platform.append(text: platformVersion, width: 20)
      bytes += platform[..<16]
      tail.replaceSubrange(0..<4, with: platform[16...])
      var length: [UInt8] = []
      length.append(integer: dialect == .cann2 ? UInt64(payload) : 0)
      tail.replaceSubrange(8..<16, with: length)
      tail[16] = checksHost ? 1 : 0
      tail[17] = isDynamic ? 1 : 0
    }
    return bytes + tail
  }

  /// A header of the CANN 2.0 dialect with one offline model.
  static func cann2(name: String, userInfo: String, platformVersion: String) -> OMHeader {
    OMHeader(
      dialect: .cann2, version: 0x2000_0000, checksum: [UInt8](repeating: 0, count: 64),
      isEncrypted: false, checksumMode: 0, modelType: 0, generationMode: 0, name: name,
      operations: 0, userInfo: userInfo, irVersion: 2, modelCount: 1,
      platformVersion: platformVersion, checksHost: false, isDynamic: false,
      tail: [UInt8](repeating: 0, count: 80))
  }

  /// HiAI keeps a version such as `3.51.z.0` (or nothing) where CANN 1.0 keeps a count of zero and
  /// then a version: printable from the first byte, or all zero.
  private static func isPlatformText(_ field: [UInt8]) -> Bool {
    let text = field.prefix { $0 != 0 }
    guard field.dropFirst(text.count).allSatisfy({ $0 == 0 }) else { return false }
    return text.allSatisfy { (0x20..<0x7f).contains($0) }
  }
}
