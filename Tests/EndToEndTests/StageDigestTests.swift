// SPDX-License-Identifier: Apache-2.0
// A stage's version stands for its code in the key of its edges: other bytes need another number.

import Artifacts
import Foundation
import ONNXModel
import Pipeline
import Tensors
import TestSupport
import Testing

@Suite(
  "The bytes that stages write",
  .enabled(if: Project.hasBinary, "the binary quench is not built"),
  .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
struct StageDigestTests {
  static let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appending(path: "Golden/stages.txt")

  /// A project whose float arithmetic is exact, so that neither CPU nor summation order shows: pixels
  /// in steps of 1/128, weights in steps of 1/16.
  static func exactProject() throws -> Project {
    let project = try Project()
    var model = try Project.network()
    for name in ["w1", "b1", "w2", "b2"] {
      let tensor = try #require(model.graph.initializer(name)).tensor()
      let coarse = tensor.floats.map { ($0 * 16).rounded() / 16 }
      model.graph.setInitializer(Initializer(name, Tensor(floats: coarse, shape: tensor.shape)))
    }
    try project.space.write("tiny.onnx", model.encode())
    project.space.write(
      "quench.yaml",
      Project.recipe.replacing("0.00392156863", with: "0.00390625").replacing(
        "target: {soc", with: "evaluate: {maxDrop: 100}\n    target: {soc"))
    return project
  }

  /// Stage by stage the file that stands for its work.
  ///
  /// What comes out of quantized arithmetic in floats (assess, correct, evaluate) may differ between
  /// CPUs in the last bits: there numbers are compared to four digits.
  static let artefacts: [(verb: String, file: String, isExact: Bool)] = [
    ("fold", "build/tiny/folded.onnx", true),
    ("observe", ".quench/observations/tiny/0001.qobs", true),
    ("merge", "build/tiny/observations.qobs", true), ("calibrate", "build/tiny/scales.json", true),
    ("assess", "build/tiny/sensitivity.json", false),
    ("coverage", "build/tiny/coverage.json", false),
    ("config", "build/tiny/calibration.cfg", true), ("correct", "build/tiny/corrected.onnx", false),
    ("quantize", "build/tiny/record.txt", true), ("evaluate", "build/tiny/evaluation.json", false),
    ("gate", "build/tiny/gate.stamp", true), ("report", "build/tiny/report.html", false),
  ]

  @Test("changed bytes with an unchanged version fail here")
  func digests() throws {
    let project = try Self.exactProject()
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.errors)")
    var lines: [String] = []
    for (verb, file, isExact) in Self.artefacts {
      let path = project.space.path(file)
      let version = try #require(StageVersion.all[verb])
      lines.append("\(verb) \(version) \(try Self.digest(path, isExact: isExact))")
    }
    // The OM's and the bundle's bytes depend on corrected biases: their structure is compared.
    let om = try project.quench("inspect", "--operators", "build/tiny/tiny.om")
    lines.append("compile \(StageVersion.all["compile"] ?? 0) \(try Self.text(om.output))")
    let unpacked = try project.quench("unpack", "build/release.tar.zst", "out")
    try #require(unpacked.status == 0)
    let names = try FileManager.default.subpathsOfDirectory(atPath: project.space.path("out"))
      .sorted().joined(separator: "\n")
    lines.append("pack \(StageVersion.all["pack"] ?? 0) \(try Self.text(names))")

    lines.append(
      "finetune \(StageVersion.all["finetune"] ?? 0) \(try Self.tuned(project))")

    let text = lines.joined(separator: "\n") + "\n"
    if ProcessInfo.processInfo.environment["QUENCH_RECORD"] != nil {
      try text.write(to: Self.golden, atomically: true, encoding: .utf8)
      Issue.record("recorded \(Self.golden.path): look at it, then run without QUENCH_RECORD")
      return
    }
    let expected = try String(contentsOf: Self.golden, encoding: .utf8)
    for (now, before) in zip(lines, expected.split(separator: "\n").map(String.init)) {
      #expect(
        now == before,
        """
        other bytes: raise this stage's number in StageVersion.swift (of finetune, also \
        NetworkTuning.arithmetic, so that no older checkpoint is continued), then QUENCH_RECORD=1
        """)
    }
    #expect(lines.count == expected.split(separator: "\n").count)
  }

  /// Trains the folded network, whose bytes are exact, and weights and scales with it. Training has
  /// kernels of its own, so these bytes are the same on every processor.
  private static func tuned(_ project: Project) throws -> String {
    project.space.write("settings.json", FinetuneTests.settings(40))
    try FileManager.default.createDirectory(
      atPath: project.space.path("tuned"), withIntermediateDirectories: true)
    let arguments = FinetuneTests.arguments("tuned").map { word in
      switch word {
      case "build/tiny/corrected.onnx": "build/tiny/folded.onnx"
      case ".quench/settings/tiny/finetune.samples": ".quench/shards/tiny/0001.samples"
      default: word
      }
    }
    let run = try project.run(Project.binary, arguments, environment: [:])
    try #require(run.status == 0, "\(run.errors)")
    let report = try #require(project.space.text("tuned/report.json"))
    #expect(report.contains("\"keepsTuned\" : true"))
    let files = FinetuneTests.outputs.map { project.space.path("tuned/\($0)") }
    let digests = try files.map { try ContentDigest.ofFile($0).hex }
    return try ContentDigest.of(Array(digests.joined().utf8)).hex
  }

  private static func text(_ text: String) throws -> String {
    try ContentDigest.of(Array(rounded(text).utf8)).hex
  }

  private static func digest(_ path: String, isExact: Bool) throws -> String {
    if isExact { return try ContentDigest.ofFile(path).hex }
    if path.hasSuffix(".onnx") {
      let graph = try Model.read(path).graph
      var words = graph.nodes.map { "\($0.opType) \($0.inputs) \($0.outputs)" }
      for initializer in graph.initializers where initializer.elementType == .float32 {
        words += try initializer.tensor().floats.map { rounded("\($0)") }
      }
      return try text(words.joined(separator: "\n"))
    }
    return try text(String(decoding: FileContent.read(path), as: UTF8.self))
  }

  /// Numbers to four digits, digests left out (they are of files compared themselves).
  private static func rounded(_ text: String) -> String {
    text.replacing(/[0-9a-f]{64}/, with: "digest").replacing(/-?\d+\.\d+(e-?\d+)?/) { match in
      Double(match.output.0).map { String(format: "%.3e", $0) } ?? ""
    }
  }
}
