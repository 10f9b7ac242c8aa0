// SPDX-License-Identifier: Apache-2.0
// Fine-tuning from quench.yaml to the evaluation, with the real binary.

import Artifacts
import Foundation
import ONNXModel
import Tensors
import TestSupport
import Testing

@Suite(
  "Fine-tuning a project",
  .enabled(if: Project.hasBinary, "the binary quench is not built"),
  .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
struct FinetuneTests {
  /// One scale for all weights and a rate that shows: there is something to win back.
  static let keys = """
    calibrate: {weights: perTensor}
        evaluate: {maxDrop: 100}
        finetune: {enabled: true, epochs: 4, batch: 4, learningRate: 0.02, heldBack: 0.3}

    """

  static func project(_ keys: String = FinetuneTests.keys) throws -> Project {
    let project = try Project()
    project.space.write(
      "quench.yaml",
      Project.recipe.replacing("target: {soc", with: keys + "    target: {soc"))
    return project
  }

  static let outputs = ["tuned.onnx", "scales.json", "calibration.cfg", "report.json", "plot.svg"]

  static func bytes(_ project: Project, _ folder: String) -> [[UInt8]?] {
    outputs.map { project.space.read("\(folder)/\($0)") }
  }

  /// `quench finetune` by hand on the files of a build, into a folder of its own.
  static func arguments(_ folder: String) -> [String] {
    [
      "finetune", "--model", "build/tiny/corrected.onnx", "--teacher", "build/tiny/folded.onnx",
      "--config", "build/tiny/calibration.cfg", "--scales", "build/tiny/scales.json",
      "--preprocess", ".quench/settings/tiny/preprocess.json", "--samples",
      ".quench/settings/tiny/finetune.samples", "--settings", "settings.json", "--checkpoints",
      "\(folder)/checkpoints", "-o", "\(folder)/tuned.onnx", "--tuned-scales",
      "\(folder)/scales.json", "--tuned-config", "\(folder)/calibration.cfg", "--report",
      "\(folder)/report.json", "--plot", "\(folder)/plot.svg",
    ]
  }

  /// Four bits, so that there is much to win back and the tuned network is kept.
  static func settings(_ epochs: Int) -> String {
    """
    {"epochs": \(epochs), "batch": 4, "learningRate": 0.02, "scaleLearningRate": 0.05,
     "patience": 0, "unfreezeScalesAt": 0.5, "heldBack": 0.3, "weightBits": 4}
    """
  }

  @Test("a build trains, shows PTQ and QAT side by side, and has then nothing to do")
  func build() throws {
    let project = try Self.project()
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.errors)")
    #expect(run.ran.contains("finetune"))
    let report = try #require(project.space.text("build/tiny/finetune/report.json"))
    #expect(report.contains("\"format\" : \"quench.finetuning\""))
    #expect(report.contains("\"kind\" : \"quantized\""))
    let evaluation = try #require(project.space.text("build/tiny/evaluation.json"))
    #expect(evaluation.contains("\"ptq\" : {"))
    let kept = run.output.contains(/\ntraining +QAT is kept/) ? "QAT" : "PTQ, kept"
    #expect(run.output.contains(try Regex("FP32 +PTQ +\(kept) +difference")))
    #expect((run.output + run.errors).contains("epoch 4: loss"))
    #expect(run.output.contains(/\ntraining +(QAT|PTQ) is kept: the loss on the held-back/))
    #expect(try project.quench("build").output.contains("nothing to do"))

    // The page has the three side by side, what the guard said, and the picture.
    let page = try #require(project.space.text("build/tiny/report.html"))
    #expect(page.contains("<h2>Fine-tuning</h2>"))
    let verdict =
      /<p>(QAT|PTQ) is kept: .* \(loss [-+\d.e]+ (±|at best,) [\d.e-]+( before)?\)\.<\/p>/
    #expect(page.contains(verdict))
    #expect(page.contains(/<th>FP32<\/th><th>PTQ<\/th><th>QAT( \(not kept\))?<\/th><\/tr>/))
    #expect(page.contains("held-back samples, which never trained"))
    #expect(page.contains("<th>8 evaluation images</th>"))
    let picture = try #require(project.space.text("build/tiny/finetune/plot.svg"))
    #expect(page.contains(picture))
    #expect(!page.contains("href=") && !page.contains("src="))

    // The quantized network is the tuned one.
    let record = project.space.read("build/tiny/record.txt")
    let ptq = project.space.read("build/tiny/finetune/ptq.record.txt")
    #expect(report.contains("\"keepsTuned\" : true") == (record != ptq))
  }

  @Test("a wrong key, no gain from a rate of nothing, and memory that does not suffice are told")
  func wrongInput() throws {
    let none = try Self.project(
      Self.keys.replacing("learningRate: 0.02", with: "learningRate: 0, scaleLearningRate: 0"))
    let run = try none.quench("build")
    try #require(run.status == 0, "\(run.errors)")
    #expect((run.output + run.errors).contains("PTQ is kept"))
    #expect(
      none.space.read("build/tiny/finetune/tuned.onnx")
        == none.space.read("build/tiny/corrected.onnx"))
    #expect(
      none.space.read("build/tiny/record.txt")
        == none.space.read("build/tiny/finetune/ptq.record.txt"))

    let small = try Self.project(Self.keys.replacing("epochs: 4", with: "memoryLimit: 0.01"))
    let refused = try small.quench("build")
    #expect(refused.status == 1)
    #expect((refused.output + refused.errors).contains("MiB"))

    let labels = try Self.project(Self.keys.replacing("epochs: 4", with: "loss: crossEntropy"))
    let unlabelled = try labels.quench("build")
    #expect(unlabelled.status == 65)
    #expect((unlabelled.output + unlabelled.errors).contains("loss: distillation"))
  }

  @Test("the same bytes for any number of threads, any instruction set, and after SIGKILL")
  func reproducible() throws {
    let project = try Self.project()
    try #require(try project.quench("build").status == 0)
    project.space.write("settings.json", Self.settings(40))
    func folder(_ name: String) throws {
      try FileManager.default.createDirectory(
        atPath: project.space.path(name), withIntermediateDirectories: true)
    }
    func tune(_ name: String, _ more: [String], isa: String? = nil) throws -> [[UInt8]?] {
      try folder(name)
      let run = try project.run(
        Project.binary, Self.arguments(name) + more,
        environment: isa.map { ["QUENCH_TRAIN_ISA": $0] } ?? [:])
      try #require(run.status == 0, "\(run.errors)")
      return Self.bytes(project, name)
    }
    let whole = try tune("one", ["--threads", "1"])
    #expect(whole.allSatisfy { $0 != nil })
    // Weights and scales trained, or the test would prove less than it says.
    let report = try #require(project.space.text("one/report.json"))
    #expect(report.contains("\"keepsTuned\" : true"))
    #expect(report.contains("\"epoch\" : 40"))
    #expect(!report.contains("\"bestEpoch\" : 0"))
    #expect(try tune("two", ["--threads", "2"]) == whole)
    #expect(try tune("three", ["--threads", "3"], isa: "plain") == whole)

    for wait in [1, 2, 5] {
      let name = "killed\(wait)"
      try folder(name)
      let log = project.space.path("\(name).log")
      let child = try Child.start(
        Project.binary, Self.arguments(name), in: project.path, environment: project.environment(),
        output: log, errors: log)
      // Until the checkpoint is there: some epochs are done, and more follow.
      for _ in 0..<4000 where project.space.read("\(name)/checkpoints/latest.checkpoint") == nil {
        usleep(1000)
      }
      usleep(UInt32(wait) * 3000)
      kill(child, SIGKILL)
      _ = try Child.wait(child)
      #expect(try tune(name, ["--threads", "2"]) == whole)
    }
  }

  @Test("the FP32 control trains the float network with the same settings, and says so")
  func control() throws {
    let project = try Self.project(
      Self.keys.replacing(
        "epochs: 4",
        with: """
          data: {images: images/evaluation, labels: folders}, loss: both, control: true, epochs: 4
          """))
    // A network that is sure of one class, on noise of three: the labels correct that at once.
    var model = try Project.network()
    model.graph.setInitializer(Initializer("b2", Tensor(floats: [4, 0, -4], shape: [3])))
    try project.space.write("tiny.onnx", model.encode())
    for index in 0..<40 {
      project.addImage("evaluation/\(index % 3)/more\(index).png", seed: 2000 + index)
    }
    let build = try project.quench("build")
    try #require(build.status == 0, "\(build.errors)")
    let beside = try #require(project.space.text("build/tiny/finetune/control/report.json"))
    #expect(beside.contains("\"kind\" : \"float\""))
    #expect(project.space.text("build/tiny/finetune/report.json")?.contains("quantized") == true)
    let page = try #require(project.space.text("build/tiny/report.html"))
    #expect(page.contains("<th>FP32, trained"))
    // Labelled: the float network's own accuracy stands there too.
    #expect(page.contains(/<td>top-1 in %<\/td><td>[\d.]+<\/td><td>[\d.]+<\/td>/))
    // And what it reaches on the evaluation images.
    #expect(page.contains(/evaluation images<\/th><th>FP32<\/th>.*<th>FP32, (trained|its)/))
    #expect(try project.quench("build").output.contains("nothing to do"))

    func tune(_ name: String, _ settings: String, _ more: [String] = []) throws -> Run {
      project.space.write("settings.json", settings)
      try FileManager.default.createDirectory(
        atPath: project.space.path(name), withIntermediateDirectories: true)
      return try project.run(
        Project.binary, Self.arguments(name) + ["--control"] + more, environment: [:])
    }
    let labels = #"{"epochs": 30, "batch": 4, "learningRate": 0.02, "loss": "crossEntropy"}"#
    let run = try tune("control", labels)
    try #require(run.status == 0, "\(run.errors)")
    let report = try #require(project.space.text("control/report.json"))
    #expect(report.contains("\"kind\" : \"float\""))
    // No scales took part.
    #expect(report.contains("\"names\" : ["))
    #expect(!report.contains("(weight)"))
    #expect(report.contains("\"keepsTuned\" : true"))
    let trained = try Model.decode(#require(project.space.read("control/tuned.onnx")), path: "t")
    let float = try Model.read(project.space.path("build/tiny/folded.onnx"))
    #expect(
      try trained.graph.initializer("w1")?.tensor() != float.graph.initializer("w1")?.tensor())
    // The scales are PTQ's for the new weights.
    let scales = try #require(project.space.read("control/scales.json"))
    let digest = try ContentDigest.ofFile(project.space.path("control/tuned.onnx")).hex
    #expect(String(decoding: scales, as: UTF8.self).contains(digest))

    // It cannot follow itself.
    let unlabelled = try tune("none", #"{"loss": "distillation"}"#)
    #expect(unlabelled.status == 65)
    #expect(unlabelled.errors.contains("nothing to learn"))
    #expect(try tune("both", labels, ["--adopt", "tiny.onnx"]).status == 64)
  }

  @Test("more epochs continue from the checkpoint with the bytes of a run that was never shorter")
  func grown() throws {
    let project = try Self.project()
    try #require(try project.quench("build").status == 0)
    func tune(_ name: String, epochs: Int) throws -> Run {
      project.space.write("settings.json", Self.settings(epochs))
      try FileManager.default.createDirectory(
        atPath: project.space.path(name), withIntermediateDirectories: true)
      return try project.run(Project.binary, Self.arguments(name), environment: [:])
    }
    #expect(try tune("grown", epochs: 4).status == 0)
    let run = try tune("grown", epochs: 8)
    #expect(run.errors.contains("training continues from step"))
    #expect(try tune("fresh", epochs: 8).status == 0)
    #expect(Self.bytes(project, "grown") == Self.bytes(project, "fresh"))
  }

  /// The tiny network with a Sin behind its convolution.
  static func waved(above: Bool = true) throws -> Model {
    var model = try Project.network()
    let wave = Node("Sin", name: "wave", inputs: ["r"], outputs: ["s"])
    model.graph.nodes.insert(wave, at: 2)
    model.graph.nodes[3].inputs = ["s"]
    guard !above else { return model }
    model.graph.nodes[5].outputs = ["g"]
    model.graph.nodes.append(Node("Sin", name: "last", inputs: ["g"], outputs: ["output"]))
    return model
  }

  @Test("above an operator without a rule layers train, below it they run frozen, and it is said")
  func frozen() throws {
    let project = try Self.project()
    try project.space.write("tiny.onnx", Self.waved().encode())
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.errors)\(run.output)")
    let said = run.output + run.errors
    #expect(
      said.contains(
        "\"wave\" (Sin) cannot be trained through: fine-tuning has no rule for the operator Sin"))
    #expect(
      said.contains(
        "1 layer (\"fc\") train above \"wave\", 1 layer (\"conv\") below run frozen in ONNX Runtime"
      ))
    let report = try #require(project.space.text("build/tiny/finetune/report.json"))
    #expect(report.contains("\"node\" : \"wave\""))
    #expect(report.contains("\"below\" : \"wave\""))
    #expect(try project.quench("build").output.contains("nothing to do"))

    // By hand with few bits, so that the tuned network is kept.
    project.space.write("settings.json", Self.settings(20))
    try FileManager.default.createDirectory(
      atPath: project.space.path("few"), withIntermediateDirectories: true)
    let few = try project.run(Project.binary, Self.arguments("few"), environment: [:])
    try #require(few.status == 0, "\(few.errors)")
    #expect(project.space.text("few/report.json")?.contains("\"keepsTuned\" : true") == true)
    try FileManager.default.createDirectory(
      atPath: project.space.path("alone"), withIntermediateDirectories: true)
    let alone = try project.run(
      Project.binary, Self.arguments("alone") + ["--threads", "1"],
      environment: ["QUENCH_TRAIN_ISA": "plain"])
    #expect(alone.status == 0, "\(alone.errors)")
    #expect(Self.bytes(project, "alone") == Self.bytes(project, "few"))
    let before = try Model.read(project.space.path("build/tiny/corrected.onnx"))
    let after = try Model.read(project.space.path("few/tuned.onnx"))
    for constant in before.graph.initializers {
      let new = try #require(after.graph.initializer(constant.name)).tensor().floats
      let isTrained = before.graph.nodes.last?.inputs.contains(constant.name) ?? false
      #expect(try (new != constant.tensor().floats) == isTrained, "\(constant.name)")
    }
    #expect(before.graph.nodes.map(\.name) == after.graph.nodes.map(\.name))

    try project.space.write("tiny.onnx", Self.waved(above: false).encode())
    let refused = try project.quench("build")
    #expect(refused.status == 65)
    #expect(
      (refused.output + refused.errors).contains(
        "no layer can train: \"last\" lies above all of them"))
  }
}
