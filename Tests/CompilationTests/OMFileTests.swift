// SPDX-License-Identifier: Apache-2.0
// CompilationTests: the container, on real files and on ones made here.

import Compilation
import Diagnostics
import TestSupport
import Testing

@Suite("OM file")
struct OMFileTests {
  static let noSamples: Comment = "the real OM files are not there; set QUENCH_SHARED"

  @Test("real files decode", .enabled(if: Samples.areThere, noSamples))
  func real() throws {
    let weights = try OMSummary(
      OMFile.decode(Samples.bytes("hiai_ir_conv_weights.om"), path: "a.om"))
    // Values read off the file with an independent protobuf decoder.
    #expect(weights.dialect == .hiai)
    #expect(weights.platformVersion == "3.51.z.0")
    #expect(weights.name == "ge_default")
    #expect(weights.models[0].partitions.map(\.sizeInBytes) == [2063, 18816])
    #expect(weights.models[0].constants.bytes == ["FLOAT16": 18816])
    #expect(
      weights.models[0].operators.map(\.type)
        == ["Data", "CastT", "Permute", "Convolution", "Permute", "NetOutput"])
    let input = try #require(weights.models[0].inputs.first)
    #expect(input.name == "Placeholder")
    #expect(input.type == "FLOAT")
    #expect(input.shape == [1, 3, 224, 224])
    #expect(!weights.isHostBuilt)
    #expect(weights.soc == nil)

    let oldest = try OMSummary(OMFile.decode(Samples.bytes("hiai_v100_softmax.om"), path: "a.om"))
    #expect(oldest.name == "domi_default_20201215162746")
    #expect(oldest.models[0].partitions.map(\.sizeInBytes) == [1299, 512, 0])
    #expect(oldest.models[0].operators.map(\.type).contains("TransData"))

    let compiled = try OMSummary(
      OMFile.decode(Samples.bytes("hiai_hcs_npucl_softmax.om"), path: "a.om"))
    #expect(compiled.modelType == "HCS (compiled)")
    #expect(
      compiled.models[0].partitions.map(\.type) == ["MODEL_DEF", "WEIGHTS_DATA", "TASK_INFO"])
  }

  @Test("image preprocessing on the device is shown", .enabled(if: Samples.areThere, noSamples))
  func aipp() throws {
    let summary = try OMSummary(OMFile.decode(Samples.bytes("hiai_ir_aipp.om"), path: "a.om"))
    #expect(summary.models[0].operators.count + summary.models[0].constants.count == 32)
    #expect(summary.models[0].aipp?["aipp_mode"] == "2")
    #expect(summary.text().contains("aipp_mode=2"))
  }

  @Test(
    "a real file is written back to the same bytes", .enabled(if: Samples.areThere, noSamples),
    arguments: Samples.names)
  func roundTrip(name: String) throws {
    let bytes = try Samples.bytes(name)
    #expect(try OMFile.decode(bytes, path: name).encode() == bytes)
  }

  @Test(
    "every truncation is an error that names the file",
    .enabled(if: Samples.areThere, noSamples), arguments: Samples.names)
  func truncated(name: String) throws {
    let bytes = try Samples.bytes(name)
    for length in 0..<bytes.count {
      do throws(QuenchError) {
        _ = try OMFile.decode(Array(bytes[..<length]), path: name)
        Issue.record("\(length) of \(bytes.count) bytes were taken for a file")
      } catch {
        if error.kind != .data || error.place != .file(name) { Issue.record("\(length): \(error)") }
      }
    }
  }

  @Test(
    "a flipped byte in header, table or graph is an error or still a file, never a crash",
    .enabled(if: Samples.areThere, noSamples), arguments: Samples.names)
  func flipped(name: String) throws {
    let bytes = try Samples.bytes(name)
    for position in stride(from: 0, to: min(bytes.count, 1500), by: 3) {
      var broken = bytes
      broken[position] ^= 0xff
      if let file = try? OMFile.decode(broken, path: name) { _ = try? OMSummary(file) }
    }
  }

  @Test("a CANN 2.0 file of several models is read model by model")
  func cann2() throws {
    // Built from the published layout: header, then table and partitions twice. MODEL_DEF is the
    // protobuf message { name: "m" }.
    let definition: [UInt8] = [0x0a, 1, UInt8(ascii: "m")]
    var model: [UInt8] = little(2, 4) + little(0, 4)
    model += little(0, 4) + little(0, 4) + little(0, 8) + little(3, 8)
    model += little(1, 4) + little(0, 4) + little(3, 8) + little(2, 8)
    model += definition + [7, 9]
    let bytes = header(payload: 2 * model.count, models: 2) + model + model
    let file = try OMFile.decode(bytes, path: "a.om")
    #expect(file.header.dialect == .cann2)
    #expect(file.models.count == 2)
    #expect(file.partition(.weights, model: 1)?.bytes == [7, 9])
    #expect(try file.encode() == bytes)
    let three = header(payload: 2 * model.count, models: 3) + model + model
    #expect(throws: QuenchError.self) { try OMFile.decode(three, path: "a.om") }
  }

  @Test("shortened attribute names are spelled out")
  func compressed() throws {
    // Model attributes: the two name lists; the operator's attribute \0\2 is index 1 of them,
    // its value index 0 of the values.
    func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
      [number << 3 | 2, UInt8(bytes.count)] + bytes
    }
    func entry(_ tag: UInt8, _ key: [UInt8], _ value: [UInt8]) -> [UInt8] {
      field(tag, field(1, key) + field(2, value))
    }
    func texts(_ values: [String]) -> [UInt8] {
      field(1, values.flatMap { field(2, Array($0.utf8)) })
    }
    let op = field(
      6,
      field(1, Array("n".utf8)) + field(2, Array("Conv2D".utf8)) + entry(10, [0, 2], [3 << 3, 0]))
    var definition = field(7, op)
    definition += entry(11, Array("om_compress_version".utf8), [3 << 3, 1])
    definition += entry(
      11, Array("attr_name_enum".utf8), texts(["other", "_ge_attr_op_kernel_lib_name"]))
    definition += entry(11, Array("attr_value_enum".utf8), texts(["AIcoreEngine"]))
    definition += entry(11, Array("attrs_use_string_value".utf8), field(1, field(3, [0, 1])))
    var payload = little(1, 4) + little(0, 4) + little(0, 4) + little(0, 4) + little(0, 8)
    payload += little(definition.count, 8) + definition
    let file = try OMFile.decode(header(payload: payload.count, models: 1) + payload, path: "a.om")
    #expect(try OMSummary(file).models[0].operators.first?.engine == "AIcoreEngine")
  }

  @Test("lengths beyond the file are refused")
  func lengths() throws {
    for size in [4, 1 << 40, -1] {
      var payload = little(1, 4) + little(0, 4) + little(0, 4) + little(0, 4) + little(0, 8)
      payload += little(size, 8) + [0x0a, 1, 0x6d]
      let bytes = header(payload: payload.count, models: 1) + payload
      let error = #expect(throws: QuenchError.self) { try OMFile.decode(bytes, path: "a.om") }
      #expect(error?.kind == .data)
    }
  }

  @Test("what is no OM file is told so")
  func foreign() throws {
    let error = #expect(throws: QuenchError.self) {
      try OMFile.decode(Array("PK\u{3}\u{4}".utf8), path: "a.om2")
    }
    #expect(error?.message.contains("zip archive") == true)
    #expect(throws: QuenchError.self) { try OMFile.decode([], path: "a.om") }
  }

  private func little(_ value: Int, _ width: Int) -> [UInt8] {
    (0..<width).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private func header(payload: Int, models: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 256)
    func put(_ offset: Int, _ value: [UInt8]) {
      bytes.replaceSubrange(offset..<offset + value.count, with: value)
    }
    put(0, Array("IMOD".utf8))
    put(4, little(256, 4))
    put(8, little(0x2000_0000, 4))
    put(84, Array("net".utf8))
    put(152, little(2, 4))
    put(156, little(models, 4))
    put(184, little(payload, 8))
    return bytes
  }
}
