// SPDX-License-Identifier: Apache-2.0
// Compilation: the OM container: header, partition tables, partitions.

internal import Artifacts
public import Diagnostics
internal import FoundationEssentials
internal import SwiftProtobuf

/// An OM file: the container that `atc`, `omg` and the host compiler write.
///
/// Source of the layout: the writer and loader of CANN's graph engine (`om_file_helper`), and real
/// files of the Kirin toolchain.
public struct OMFile: Sendable {
  /// The 256-byte header.
  public var header: OMHeader
  /// The models in file order; the first is the root.
  public var models: [OMModel]

  /// One model of the file: a partition table and its partitions.
  public struct OMModel: Sendable {
    /// The partitions, in the order of the table.
    public var partitions: [Partition]
  }

  /// A stretch of bytes with a type.
  public struct Partition: Sendable, Equatable {
    /// The type's number (`PartitionType`, which depends on the dialect).
    public var type: UInt32
    /// The content.
    public var bytes: [UInt8]
  }

  /// Reads a file.
  ///
  /// - Throws: `.noInput` when it cannot be read, `.data` when it is malformed.
  public static func read(_ path: String) throws(QuenchError) -> OMFile {
    try decode(FileContent.read(path), path: path)
  }

  /// Reads an OM file from bytes; `path` is for messages.
  ///
  /// - Throws: `.data` when the header is foreign, a length does not fit, or the graph cannot be
  ///   decoded.
  public static func decode(_ bytes: [UInt8], path: String) throws(QuenchError) -> OMFile {
    do throws(QuenchError) {
      let header = try OMHeader.decode(bytes)
      guard !header.isEncrypted else {
        throw QuenchError(.data, "the OM file is encrypted, so its content cannot be read")
      }
      let file = OMFile(header: header, models: try decodeModels(bytes, header))
      for index in file.models.indices { _ = try file.definition(of: index) }
      return file
    } catch {
      throw error.located(at: .file(path))
    }
  }

  /// The file's bytes; equal files give equal bytes.
  ///
  /// - Throws: `.data` when a part is too long for the dialect.
  public func encode() throws(QuenchError) -> [UInt8] {
    var payload: [UInt8] = []
    for model in models {
      let partitions = model.partitions
      let wide = header.dialect == .cann2
      payload.append(integer: UInt32(partitions.count))
      if wide { payload.append(integer: UInt32(0)) }
      var offset = 0
      for partition in partitions {
        payload.append(integer: partition.type)
        if wide {
          payload.append(integer: UInt32(0))
          payload.append(integer: UInt64(offset))
          payload.append(integer: UInt64(partition.bytes.count))
        } else {
          guard offset + partition.bytes.count <= Int(UInt32.max) else {
            throw QuenchError(.data, "the partitions are too long for a 32-bit OM file")
          }
          payload.append(integer: UInt32(offset))
          payload.append(integer: UInt32(partition.bytes.count))
        }
        offset += partition.bytes.count
      }
      for partition in partitions { payload += partition.bytes }
    }
    return try header.encode(payload: payload.count) + payload
  }

  /// Writes the file, atomically.
  public func write(to path: String) throws(QuenchError) {
    try FileContent.replace(path, with: encode())
  }

  /// The first partition of a type in a model, nil when there is none.
  public func partition(_ type: PartitionType, model: Int = 0) -> Partition? {
    guard models.indices.contains(model) else { return nil }
    return models[model].partitions.first { $0.type == type.rawValue }
  }

  /// Bytes of the whole file.
  public var sizeInBytes: Int {
    let wide = header.dialect == .cann2
    return OMHeader.size
      + models.reduce(0) { total, model in
        total + (wide ? 8 : 4) + (wide ? 24 : 12) * model.partitions.count
          + model.partitions.reduce(0) { $0 + $1.bytes.count }
      }
  }
}

/// The partition types that are alike in all dialects, and CANN's.
public enum PartitionType: UInt32, Sendable {
  /// The graph, a protobuf message.
  case modelDefinition = 0
  /// Raw weights.
  case weights = 1
  /// What the device is to run.
  case taskInfo = 2
  /// CANN: names, shapes and types of inputs and outputs.
  case inputsAndOutputs = 8
}

// MARK: - Reading

extension OMFile {
  /// The graph of a model.
  ///
  /// - Throws: `.data` when the partition is missing or is no such message.
  func definition(of model: Int) throws(QuenchError) -> OMModelDef {
    guard let partition = partition(.modelDefinition, model: model) else {
      throw QuenchError(.data, "model \(model) of the OM file has no MODEL_DEF partition")
    }
    do {
      return try OMModelDef(serializedBytes: partition.bytes)
    } catch {
      throw QuenchError(
        .data, "the MODEL_DEF partition of the OM file is malformed", because: error)
    }
  }

  private static func decodeModels(
    _ bytes: [UInt8], _ header: OMHeader
  ) throws(QuenchError) -> [OMModel] {
    let wide = header.dialect == .cann2
    var reader = ByteReader(bytes[OMHeader.size...], subject: "the OM file")
    var models: [OMModel] = []
    repeat {
      let count = Int(try reader.integer(UInt32.self))
      // Sixteen is twice what the loader takes for any but flow models.
      guard (1...(header.modelType == 3 ? 4096 : 16)).contains(count) else {
        throw QuenchError(.data, "the partition table of the OM file has \(count) entries")
      }
      if wide { try reader.skip(4) }
      var entries: [(type: UInt32, offset: Int, size: Int)] = []
      for _ in 0..<count {
        let type = try reader.integer(UInt32.self)
        if wide {
          try reader.skip(4)
          entries.append((type, try reader.count(UInt64.self), try reader.count(UInt64.self)))
        } else {
          entries.append((type, try reader.count(UInt32.self), try reader.count(UInt32.self)))
        }
      }
      models.append(OMModel(partitions: try partitions(entries, in: &reader)))
    } while reader.remaining > 0 && models.count < Int(header.modelCount)
    guard reader.remaining == 0, models.count == Int(header.modelCount) else {
      throw QuenchError(
        .data,
        "the OM file should hold \(header.modelCount) models, but \(models.count) are there "
          + "and \(reader.remaining) bytes remain")
    }
    return models
  }

  /// Cuts the partitions out, by offset: they may be padded, never overlap, never lie outside.
  private static func partitions(
    _ entries: [(type: UInt32, offset: Int, size: Int)], in reader: inout ByteReader
  ) throws(QuenchError) -> [Partition] {
    let base = reader.position
    var partitions: [Partition] = []
    for entry in entries {
      let start = reader.position - base
      // An empty partition's offset says nothing.
      guard entry.size == 0 || (entry.offset >= start && entry.offset - start < 4096) else {
        throw QuenchError(
          .data,
          "partition \(entry.type) of the OM file begins at \(entry.offset), not after "
            + "the one before it, which ends at \(start)")
      }
      if entry.size > 0 { try reader.skip(entry.offset - start) }
      partitions.append(Partition(type: entry.type, bytes: Array(try reader.take(entry.size))))
    }
    return partitions
  }
}
