// SPDX-License-Identifier: Apache-2.0
// Finetuning: a run's state in a file, from which it continues as if it had never stopped.

internal import Artifacts
internal import Diagnostics

/// A checkpoint: what identifies the run, its state and its tensors.
///
/// The file: `QFTC`, version (UInt32), key (32 bytes), length of the JSON (UInt64), the JSON with
/// the state and the sizes of the tensors, the tensors as float32, SHA-256 of all before. Numbers
/// are little-endian. Files are replaced whole, so that a full disk or a kill leaves the old one.
struct Checkpoint: Sendable, Equatable {
  /// SHA-256 of all that decides the run except its number of epochs.
  var key: [UInt8]
  var state: TrainingState
  var tensors: TrainingTensors

  private static let magic = Array("QFTC".utf8)
  private static let version: UInt32 = 1
  private static let head = 4 + 4 + 32 + 8

  private struct Contents: Codable {
    var state: TrainingState
    /// Elements of each parameter, in order.
    var counts: [Int]
    /// Optimizer arrays of each parameter.
    var slots: [Int]
    var hasBest: Bool
    var losses: Int
    /// Codes of frozen elements of each parameter: none, or one an element; absent when nothing is
    /// ever frozen.
    var codes: [Int]?
  }
}

// MARK: - Bytes

extension Checkpoint {
  func encode() throws(QuenchError) -> [UInt8] {
    precondition(key.count == 32, "a key is a SHA-256")
    let contents = Contents(
      state: state, counts: tensors.values.map(\.count), slots: tensors.slots.map(\.count),
      hasBest: !tensors.best.isEmpty, losses: tensors.losses.count,
      codes: tensors.codes.isEmpty ? nil : tensors.codes.map(\.count))
    let json = try ArtifactJSON.encodePlain(contents)
    var bytes = Checkpoint.magic
    Checkpoint.append(Checkpoint.version, to: &bytes)
    bytes += key
    Checkpoint.append(UInt64(json.count), to: &bytes)
    bytes += json
    for values in tensors.values { Checkpoint.append(values, to: &bytes) }
    for slots in tensors.slots { for slot in slots { Checkpoint.append(slot, to: &bytes) } }
    for values in tensors.best { Checkpoint.append(values, to: &bytes) }
    Checkpoint.append(tensors.losses, to: &bytes)
    for codes in tensors.codes { Checkpoint.append(codes, to: &bytes) }
    bytes += try ContentDigest.of(bytes).bytes
    return bytes
  }

  /// Reads a checkpoint of these parameters.
  ///
  /// - Returns: nil for a file that is damaged, of another version, or of another run: it then
  ///   says nothing about this one, which starts anew.
  static func decode(_ bytes: [UInt8], key: [UInt8], counts: [Int]) throws(QuenchError)
    -> Checkpoint?
  {
    guard bytes.count >= head + 32, bytes.starts(with: magic),
      Array(bytes[8..<40]) == key
    else { return nil }
    let version = bytes[4..<8].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    guard version == Checkpoint.version else { return nil }
    let body = bytes.count - 32
    guard try ContentDigest.of(Array(bytes[..<body])).bytes == Array(bytes[body...]) else {
      return nil
    }
    let length = bytes[40..<48].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(body - head) else { return nil }
    let start = head + Int(length)
    // Not an error of the user's: what cannot be read is not continued from.
    guard
      let contents = try? ArtifactJSON.decodePlain(
        Contents.self, from: Array(bytes[head..<start]), path: "checkpoint"),
      contents.counts == counts, contents.slots.count == counts.count,
      contents.slots.allSatisfy({ (0...2).contains($0) }), contents.losses >= 0,
      zip(contents.codes ?? counts, counts).allSatisfy({ $0 == 0 || $0 == $1 }),
      contents.codes.map({ $0.count == counts.count }) ?? true
    else { return nil }
    var sizes = counts
    for (count, slots) in zip(counts, contents.slots) {
      sizes += Array(repeating: count, count: slots)
    }
    if contents.hasBest { sizes += counts }
    sizes.append(contents.losses)
    sizes += contents.codes ?? []
    let room = (body - start) / 4
    guard (body - start).isMultiple(of: 4), sizes.allSatisfy({ $0 <= room }),
      sizes.reduce(0, +) == room
    else { return nil }

    var position = start
    func next(_ count: Int) -> [Float] {
      defer { position += 4 * count }
      return bytes[position..<position + 4 * count].withUnsafeBytes { raw in
        (0..<count).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
      }
    }
    let values = counts.map(next)
    let slots = zip(counts, contents.slots).map { count, slots in
      (0..<slots).map { _ in next(count) }
    }
    let best = contents.hasBest ? counts.map(next) : []
    let losses = next(contents.losses)
    let codes = (contents.codes ?? []).map(next)
    return Checkpoint(
      key: key, state: contents.state,
      tensors: TrainingTensors(
        values: values, codes: codes, slots: slots, best: best, losses: losses))
  }

  private static func append<T: FixedWidthInteger>(_ value: T, to bytes: inout [UInt8]) {
    withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
  }

  private static func append(_ values: [Float], to bytes: inout [UInt8]) {
    values.withUnsafeBytes { bytes += $0 }
  }
}
