// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Diagnostics
import TestSupport
import Testing

private struct Sample: JSONArtifact, Equatable {
  static let format = "quench.sample"
  static let version = 2
  var name: String
  var numbers: [Double] = []
  var table: [String: Int] = [:]
  var note: String?
}

@Suite("JSON artefacts")
struct ArtifactJSONTests {
  private func decode(_ text: String) throws -> Sample {
    try ArtifactJSON.decode(Sample.self, from: Array(text.utf8), path: "s.json")
  }

  private func refusal(_ text: String) -> QuenchError? {
    #expect(throws: QuenchError.self) { try decode(text) }
  }

  @Test("an artefact is written with its format and version, keys in order, a newline at the end")
  func layout() throws {
    let sample = Sample(name: "a/b \"ü\"", numbers: [0.1, 1], table: ["b": 2, "a": 1])
    let text = String(decoding: try ArtifactJSON.encode(sample), as: UTF8.self)
    #expect(
      text == """
        {
          "format" : "quench.sample",
          "name" : "a/b \\"ü\\"",
          "numbers" : [
            0.1,
            1
          ],
          "table" : {
            "a" : 1,
            "b" : 2
          },
          "version" : 2
        }

        """)
    #expect(try decode(text) == sample)
  }

  @Test("keys are sorted the same way however the dictionary was filled")
  func keyOrder() throws {
    let keys = ["b", "A", "a", "B", "10", "9", "é", "e", "z", "/x", "_"]
    var backwards: [String: Int] = [:]
    for (index, key) in keys.enumerated().reversed() { backwards[key] = index }
    var forwards: [String: Int] = [:]
    for (index, key) in keys.enumerated() { forwards[key] = index }
    let texts = try [forwards, backwards].map {
      String(decoding: try ArtifactJSON.encodePlain($0), as: UTF8.self)
    }
    #expect(texts[0] == texts[1])
    let order = texts[0].split(separator: "\"").enumerated().filter { $0.offset % 2 == 1 }
      .map { String($0.element) }
    #expect(order == keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
  }

  @Test("doubles come back to the same bits")
  func doubles() throws {
    let numbers = [
      0.1, 1 / 3.0, .leastNonzeroMagnitude, .greatestFiniteMagnitude, -2.5, 1e22, 123_456_789.125,
    ]
    let bytes = try ArtifactJSON.encode(Sample(name: "", numbers: numbers))
    let back = try ArtifactJSON.decode(Sample.self, from: bytes, path: "")
    #expect(back.numbers == numbers)
  }

  @Test("a file goes through the disk")
  func disk() throws {
    let space = TemporarySpace()
    let sample = Sample(name: "x", note: "y")
    try ArtifactJSON.write(sample, to: space.path("s.json"))
    #expect(try ArtifactJSON.read(Sample.self, from: space.path("s.json")) == sample)
    let missing = #expect(throws: QuenchError.self) {
      try ArtifactJSON.read(Sample.self, from: space.path("no.json"))
    }
    #expect(missing?.kind == .noInput)
  }

  @Test("an older version is read, a newer or missing one refused")
  func versions() throws {
    let fields = "\"format\": \"quench.sample\", \"name\": \"n\", \"numbers\": [], \"table\": {}"
    #expect(try decode("{\(fields), \"version\": 1}").name == "n")
    let newer = refusal("{\(fields), \"version\": 3}")
    #expect(newer?.kind == .data)
    #expect(
      newer?.message == "quench.sample version 3 is newer than version 2, "
        + "the newest that this quench reads")
    #expect(newer?.place == .file("s.json"))
    for text in ["{\(fields)}", "{\(fields), \"version\": 0}", "{\(fields), \"version\": -1}"] {
      #expect(refusal(text)?.message == "the quench.sample version is missing or malformed")
    }
  }

  @Test("another format is refused by its name")
  func formats() {
    #expect(
      refusal("{\"format\": \"quench.scales\", \"version\": 1}")?.message
        == "this is not a quench.sample file (its format is \"quench.scales\")")
    #expect(
      refusal("{}")?.message == "this is not a quench.sample file (its format is \"missing\")")
  }

  @Test("what is wrong is named by its path")
  func messages() {
    let head = "\"format\": \"quench.sample\", \"version\": 2"
    #expect(refusal("{\(head), \"numbers\": []}")?.message == "the key \"name\" is missing")
    #expect(
      refusal("{\(head), \"name\": 3, \"numbers\": []}")?.message
        == "the value of \"name\" has the wrong type")
    #expect(
      refusal("{\(head), \"name\": \"\", \"numbers\": [1, \"x\"], \"table\": {}}")?.message
        == "the value of \"numbers[1]\" has the wrong type")
    #expect(
      refusal("{\(head), \"name\": \"\", \"numbers\": [], \"table\": {\"k\": []}}")?.message
        == "the value of \"table.k\" has the wrong type")
    #expect(
      refusal("[1]")?.message == "the JSON is not of the wanted kind, for example not an object")
  }

  @Test("malformed JSON is refused as such")
  func malformed() {
    let deep = String(repeating: "[", count: 100_000)
    for text in ["", "{", "{\"format\": }", "nonsense", "{\"a\": 1,}", deep, "\u{0}"] {
      let error = refusal(text)
      #expect(error?.kind == .data)
      #expect(error?.place == .file("s.json"))
    }
    let notUTF8 = #expect(throws: QuenchError.self) {
      try ArtifactJSON.decode(
        Sample.self, from: Array("{\"format\": \"".utf8) + [0xFF, 0xFE] + Array("\"}".utf8),
        path: "s.json")
    }
    #expect(notUTF8?.kind == .data)
  }

  @Test("any cut of a file is refused, never a crash")
  func truncation() throws {
    let bytes = try ArtifactJSON.encode(Sample(name: "n", numbers: [1.5], table: ["k": 1]))
    // The last two bytes are "}\n"; without the newline it is still whole.
    for length in 0..<(bytes.count - 1) {
      let error = #expect(throws: QuenchError.self) {
        try ArtifactJSON.decode(Sample.self, from: Array(bytes.prefix(length)), path: "x")
      }
      #expect(error?.kind == .data)
    }
  }

  @Test("numbers that JSON cannot hold are a bug of the stage that writes them")
  func notANumber() {
    for number in [Double.nan, .infinity] {
      let error = #expect(throws: QuenchError.self) {
        try ArtifactJSON.encode(Sample(name: "", numbers: [number]))
      }
      #expect(error?.kind == .bug)
    }
  }
}
