// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Testing

@Suite("JSON written straight")
struct JSONTextTests {
  private struct Line: Codable {
    var text: String?
    var whole: Int?
    var number: Double?
  }

  private func read(_ bytes: [UInt8]) throws -> Line {
    try ArtifactJSON.decodePlain(Line.self, from: bytes, path: "line.json")
  }

  @Test("members stand in the order given, without those that are nil")
  func order() {
    var bytes: [UInt8] = []
    bytes.append(json: [
      "z": .integer(-7), "none": nil, "a": .text("x"), "half": .number(0.5),
      "not": .number(.infinity),
    ])
    bytes.append(json: [:])
    #expect(String(decoding: bytes, as: UTF8.self) == #"{"z":-7,"a":"x","half":0.5,"not":null}{}"#)
  }

  @Test("every text of one character below U+0100 is read again, and stays on one line")
  func characters() throws {
    for code in UInt8.min...UInt8.max {
      let text = "<\(Character(Unicode.Scalar(code)))>"
      var bytes: [UInt8] = []
      bytes.append(json: ["text": .text(text)])
      #expect(try read(bytes).text == text, "U+\(code)")
      #expect(bytes.allSatisfy { $0 >= 0x20 }, "U+\(code)")
    }
  }

  @Test(
    "quotes, separators of lines, letters of any script and bytes that were no text",
    arguments: [
      "say \"\\n\" and \\\"", "\u{2028}\u{2029}\u{FEFF}", "量化 🙂 e\u{301}", "\r\n\t\u{8}\u{C}\u{7F}",
      "</script>",
      String(decoding: [0x61, 0xFC, 0x80, 0xED, 0xA0, 0x80] as [UInt8], as: UTF8.self),
    ])
  func texts(text: String) throws {
    var bytes: [UInt8] = []
    bytes.append(json: ["text": .text(text)])
    #expect(try Array(#require(try read(bytes).text).utf8) == Array(text.utf8))
    #expect(String(validating: bytes, as: UTF8.self) != nil)
  }

  @Test("numbers are read again with all their bits")
  func numbers() throws {
    for number in [
      0, -0.0, 1e-7, 1.0 / 3, .leastNonzeroMagnitude, -Double.greatestFiniteMagnitude, 1e21,
    ] {
      var bytes: [UInt8] = []
      bytes.append(json: ["number": .number(number), "whole": .integer(.min)])
      let line = try read(bytes)
      #expect(line.number?.bitPattern == number.bitPattern)
      #expect(line.whole == .min)
    }
  }
}
