// SPDX-License-Identifier: Apache-2.0
// The user's own training command in the pipeline, with the real binary.

import Artifacts
import Foundation
import ONNXModel
import Tensors
import TestSupport
import Testing

@Suite(
  "A training command of the project's own",
  .enabled(if: Project.hasBinary, "the binary quench is not built"),
  .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
struct ExternalTrainingTests {
  /// A labelled project whose network is wrongly sure of one class.
  static func project(
    _ command: String, inputs: String = "trained.onnx", bias: [Float] = [4, 0, -4]
  ) throws -> Project {
    let project = try FinetuneTests.project(
      FinetuneTests.keys.replacing(
        "epochs: 4, batch: 4, learningRate: 0.02, heldBack: 0.3",
        with: """
          heldBack: 0.4, data: {images: images/evaluation, labels: folders}, external:
                    {command: "\(command)", inputs: [\(inputs)]}
          """))
    for index in 0..<40 {
      project.addImage("evaluation/\(index % 3)/more\(index).png", seed: 2000 + index)
    }
    try project.space.write("tiny.onnx", network(bias).encode())
    // As wrong in classes, but less sure of them.
    try project.space.write("trained.onnx", network([1.5, 0, -1.5]).encode())
    return project
  }

  static func network(_ bias: [Float]) throws -> Model {
    var model = try Project.network()
    model.graph.setInitializer(Initializer("b2", Tensor(floats: bias, shape: [3])))
    return model
  }

  static let copy = "cat trained.onnx > $QUENCH_OUTPUT"

  @Test("its result is judged on samples that it was not given, and kept where it gains")
  func gain() throws {
    let project = try Self.project(
      "cp $QUENCH_SAMPLES seen.txt && cp $QUENCH_MODEL start.onnx && " + Self.copy)
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.errors)\(run.output)")
    let report = try #require(project.space.text("build/tiny/finetune/report.json"))
    #expect(report.contains("\"kind\" : \"external\""))
    #expect(report.contains("\"keepsTuned\" : true"), "\(report)")
    #expect(run.output.contains(/training +QAT is kept: .*\(loss -[\d.]+ ± [\d.]+, top-1[^)]+\)/))
    #expect(
      project.space.read("start.onnx") == project.space.read("build/tiny/corrected.onnx"))
    let seen = try #require(project.space.text("seen.txt")).split(separator: "\n")
    let all = try #require(project.space.text(".quench/settings/tiny/finetune.samples"))
      .split(separator: "\n")
    #expect(Set(seen).isSubset(of: all))
    #expect(report.contains("\"heldBackSamples\" : \(all.count - seen.count)"))
    #expect(report.contains("\"trainedSamples\" : \(seen.count)"))
    #expect(all.count - seen.count > 5)
    #expect(try project.quench("build").output.contains("nothing to do"))
    let page = try #require(project.space.text("build/tiny/report.html"))
    #expect(page.contains("QAT is kept") && page.contains("held-back samples, which never trained"))

    // A held-back picture judges anew and trains nothing; another one trains.
    let judge = try #require(all.first { !seen.contains($0) }).prefix { $0 != "\t" }
    project.space.write(
      String(judge), PNG.noise(width: 8, height: 8, channels: 1, seed: 99))
    let judged = try project.quench("build")
    #expect(judged.ran.contains("adopt") && !judged.ran.contains("train"))
    try project.space.write("trained.onnx", Self.network([1.4, 0, -1.5]).encode())
    let again = try project.quench("build")
    #expect(again.ran.first == "train")
    #expect(!again.ran.contains("observe"))
  }

  @Test("no gain keeps PTQ, byte for byte, and says so")
  func noGain() throws {
    let project = try Self.project(Self.copy, bias: [0, 0, 0])
    try project.space.write("trained.onnx", Self.network([9, 0, -9]).encode())
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.errors)\(run.output)")
    let report = try #require(project.space.text("build/tiny/finetune/report.json"))
    #expect(report.contains("\"keepsTuned\" : false"))
    #expect((run.output + run.errors).contains("PTQ is kept: "))
    for (name, from) in [
      ("tuned.onnx", "corrected.onnx"), ("scales.json", "scales.json"),
      ("calibration.cfg", "calibration.cfg"),
    ] {
      #expect(
        project.space.read("build/tiny/finetune/\(name)")
          == project.space.read("build/tiny/\(from)"))
    }
    #expect(
      project.space.text("build/tiny/report.html")?.contains("PTQ is kept: ") == true)
  }

  @Test("scales that it writes reach calibration.cfg and the quantized network")
  func scales() throws {
    let project = try Self.project(
      Self.copy + " && cat mine.json > $QUENCH_TUNED_SCALES", inputs: "trained.onnx, mine.json")
    // Not scales at all: a clear error, with the file.
    project.space.write("mine.json", "{}")
    let broken = try project.quench("build")
    #expect(broken.status == 65)
    #expect((broken.output + broken.errors).contains("external.scales.json"))

    var text = try #require(project.space.text("build/tiny/scales.json"))
    let first = try #require(text.firstMatch(of: /"input" : \{[^}]*"scale" : ([\d.e-]+)/))
    text.replaceSubrange(first.1.startIndex..<first.1.endIndex, with: "0.0123")
    project.space.write("mine.json", text)
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.errors)\(run.output)")
    #expect(
      project.space.text("build/tiny/finetune/calibration.cfg")?.contains(":0.0123:") == true)
    #expect(project.space.text("build/tiny/calibration.cfg")?.contains(":0.0123:") == false)
    #expect(project.space.text("build/tiny/record.txt")?.contains("0.0123") == true)
  }

  @Test(
    "what is no trained network is told in one sentence, and nothing is handed on",
    arguments: [
      ("true", Int32(1), "external.onnx"), ("exit 3", 1, "exit code 3"),
      ("echo no model > $QUENCH_OUTPUT", 65, "external.onnx"),
      ("cat other.onnx > $QUENCH_OUTPUT", 65, "no layer \"conv\""),
      ("cat nan.onnx > $QUENCH_OUTPUT", 65, "holds NaN"),
      ("cat wide.onnx > $QUENCH_OUTPUT", 65, "has shape [1, 4], not [1, 3]"),
    ])
  func refusals(command: String, status: Int32, message: String) throws {
    let project = try Self.project(command, inputs: "other.onnx, nan.onnx, wide.onnx")
    var other = try Self.network([0, 0, 0])
    other.graph.nodes[0].name = "first"
    try project.space.write("other.onnx", other.encode())
    try project.space.write("nan.onnx", Self.network([0, .nan, 0]).encode())
    var wide = try Project.network()
    wide.graph.setInitializer(
      Initializer("w2", Tensor(floats: [Float](repeating: 0.1, count: 16), shape: [4, 4])))
    wide.graph.setInitializer(
      Initializer("b2", Tensor(floats: [Float](repeating: 0, count: 4), shape: [4])))
    wide.graph.outputs = [ValueInfo("output", .float32, shape: [1, 4])]
    try project.space.write("wide.onnx", wide.encode())
    let run = try project.quench("build")
    #expect(run.status == status, "\(run.errors)")
    #expect((run.output + run.errors).contains(message), "\(run.output)\(run.errors)")
    #expect(project.space.read("build/tiny/finetune/tuned.onnx") == nil)
    // What an earlier run of the command left behind is not taken for its result.
    if command == "true" {
      project.space.write("build/tiny/finetune/external.onnx", "old")
      let again = try project.quench("build")
      #expect(again.status != 0)
      #expect((again.output + again.errors).contains("external.onnx"))
    }
  }
}
