// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Calibration
import Compilation
import Datasets
import Diagnostics
import Measurement
import ONNXModel
import Quantization
import Tensors
import TestSupport
import Testing

@Suite("Evaluation", .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
struct EvaluationTests {
  let space = TemporarySpace()

  private func evaluate(
    _ reference: Model, _ candidate: Model, _ samples: [Sample], threads: Int = 1,
    metric: String = "top1"
  ) throws -> EvaluationReport {
    try reference.write(to: space.path("float.onnx"))
    try candidate.write(to: space.path("candidate.onnx"))
    return try Evaluation.evaluate(
      reference: space.path("float.onnx"), candidate: space.path("candidate.onnx"),
      samples: samples, preprocessing: Fixtures.plain(), metric: metric, threads: threads)
  }

  /// The float model hands the scores through; the candidate doubles the second class.
  private func example(_ labels: [Int]?) -> (Model, Model, [Sample]) {
    let items: [[Float]] = [[3, 1, 0], [3, 2, 0], [0, 1, 4], [0, 3, 4], [2, 2, 1]]
    return (
      Fixtures.classifier([1, 0, 0, 0, 1, 0, 0, 0, 1]),
      Fixtures.classifier([1, 0, 0, 0, 2, 0, 0, 0, 1]),
      Fixtures.samples(space, items, shape: [3], labels: labels)
    )
  }

  @Test("accuracy, agreement and paired counts are those worked out by hand")
  func counts() throws {
    // Float classes 0 0 2 2 0 (the last a tie, the smaller class wins); candidate 0 1 2 1 1.
    let (float, candidate, samples) = example([0, 1, 2, 2, 0])
    let report = try evaluate(float, candidate, samples)
    #expect(report.samples == 5 && report.labelled == 5 && report.skipped == 0)
    #expect(report.fp32Top1?.value == 0.8)
    #expect(report.int8Top1?.value == 0.6)
    #expect(report.fp32Top5?.value == 1 && report.int8Top5?.value == 1)
    #expect(report.better == 1 && report.worse == 2)
    #expect(report.drop == 20)
    // √(3 − 1/5) / 5 = 0.33466 of the samples.
    #expect(abs((report.dropError ?? 0) - 33.4664) < 1e-3)
    #expect(report.agreement?.value == 0.4)
    // √(0.8 · 0.2 / 5)
    #expect(abs((report.fp32Top1?.standardError ?? 0) - 0.178885) < 1e-6)
  }

  @Test("noise is measured before the Softmax, with and without the common offset")
  func noise() throws {
    let (float, candidate, samples) = example(nil)
    let report = try evaluate(float, candidate, samples)
    #expect(report.outputs.map(\.name) == ["p"])
    #expect(report.outputs.map(\.compared) == ["y"])
    // Errors 1, 2, 1, 3, 2: Σe² = 19. Σy² = 10 + 13 + 17 + 25 + 9 = 74: 10·log10(74/19).
    #expect(abs((report.sqnrDecibel?.value ?? 0) - 5.904782) < 1e-5)
    // Centred: Σe²·2/3 = 12.6667; Σy² − (Σy)²/3 a sample: 74 − (16+25+25+49+25)/3 = 27.3333.
    #expect(abs((report.centeredSqnrDecibel?.value ?? 0) - 3.340302) < 1e-5)
    // Σyŷ = 11 + 17 + 18 + 34 + 13 = 93; Σŷ² = 13 + 25 + 20 + 52 + 21 = 131.
    #expect(abs((report.cosine ?? 0) - 93 / (74.0 * 131).squareRoot()) < 1e-12)
    #expect(report.fp32Top1 == nil && report.drop == nil && report.labelled == 0)
    #expect(report.agreement?.value == 0.4)
  }

  @Test("the same model has no error at all, which JSON can hold")
  func same() throws {
    let (float, _, samples) = example([0, 0, 2, 2, 0])
    let report = try evaluate(float, float, samples)
    #expect(report.sqnrDecibel?.value == .infinity)
    #expect(report.cosine == 1 && report.drop == 0 && report.sizeRatio == 1)
    let path = space.path("evaluation.json")
    try ArtifactJSON.write(report, to: path)
    #expect(try ArtifactJSON.read(EvaluationReport.self, from: path) == report)
  }

  @Test("threads do not change a byte", arguments: [2, 4])
  func threads(number: Int) throws {
    let float = Fixtures.classifier([1, 0.5, -0.3, 1])
    let candidate = Fixtures.classifier([1.01, 0.49, -0.31, 1.02])
    let items = Fixtures.items(60, of: 2)
    let samples = Fixtures.samples(space, items, shape: [2], labels: items.indices.map { $0 % 2 })
    let one = try ArtifactJSON.encode(evaluate(float, candidate, samples))
    #expect(try ArtifactJSON.encode(evaluate(float, candidate, samples, threads: number)) == one)
  }

  @Test("a drop over the limit is a verdict; without labels the changed classes count")
  func gate() throws {
    let (float, candidate, samples) = example([0, 1, 2, 2, 0])
    let report = try evaluate(float, candidate, samples)
    try report.check(maxDrop: 20, path: "evaluation.json")
    let error = try #require(throws: QuenchError.self) {
      try report.check(maxDrop: 19.9, path: "evaluation.json")
    }
    #expect(error.kind == .verdict)
    #expect(error.message == "top1 drops by 20.00 points, more than the limit of 19.90")
    let (_, _, unlabelled) = example(nil)
    let blind = try evaluate(float, candidate, unlabelled)
    try blind.check(maxDrop: 60, path: "evaluation.json")
    let other = try #require(throws: QuenchError.self) {
      try blind.check(maxDrop: 59, path: "evaluation.json")
    }
    #expect(other.kind == .verdict)
    #expect(other.message.hasPrefix("the class changes for 60.00 % of the samples"))
  }

  @Test("the table for people is aligned and says what was simulated")
  func table() throws {
    let (float, candidate, samples) = example([0, 1, 2, 2, 0])
    let lines = try evaluate(float, candidate, samples).table.split(separator: "\n")
    #expect(lines[0] == "                  FP32             INT8  difference")
    #expect(
      lines[1]
        == "top-1  80.00 % ± 17.89  60.00 % ± 21.91  -20.00 points ± 33.47 (1 better, 2 worse)")
    #expect(lines.contains("samples     5, 5 with a label"))
    #expect(
      lines.contains("SQNR        5.9 dB; 3.3 dB without the offset common to all classes"))
    #expect(lines.last?.hasPrefix("The QDQ model was simulated in float arithmetic by") == true)
    #expect(lines.last?.hasSuffix("no NPU was involved.") == true)
  }

  @Test("beside PTQ the table says which network is handed on")
  func beside() throws {
    let (float, candidate, samples) = example([0, 1, 2, 2, 0])
    let ptq = try evaluate(float, candidate, samples)
    var kept = ptq
    try kept.show(beside: ptq)
    #expect(kept.table.contains(/FP32 +PTQ +PTQ, kept +difference/))
    var tuned = try evaluate(float, float, samples)
    try tuned.show(beside: ptq)
    #expect(tuned.table.contains(/FP32 +PTQ +QAT +difference/))
  }

  @Test("a label outside the classes is refused with its sample")
  func label() throws {
    let (float, candidate, samples) = example([0, 1, 2, 3, 0])
    let error = try #require(throws: QuenchError.self) { try evaluate(float, candidate, samples) }
    #expect(error.kind == .data)
    #expect(
      error.message.hasPrefix("the label 3 of sample \"\(samples[3].name)\" is none of the 3"))
  }

  @Test("a candidate with other outputs or another shape is refused")
  func misfit() throws {
    let (float, _, samples) = example(nil)
    var two = float
    two.graph.outputs.append(ValueInfo("y", .float32, shape: [1, 3]))
    #expect(throws: QuenchError.self) { try evaluate(float, two, samples) }
  }

  @Test("a model with several outputs is compared output by output, without accuracy")
  func severalOutputs() throws {
    var (float, candidate, samples) = example([0, 1, 2, 2, 0])
    for index in 0..<2 {
      var model = index == 0 ? float : candidate
      model.graph.outputs.append(ValueInfo("y", .float32, shape: [1, 3]))
      if index == 0 { float = model } else { candidate = model }
    }
    let report = try evaluate(float, candidate, samples)
    #expect(report.outputs.map(\.name) == ["p", "y"])
    #expect(report.fp32Top1 == nil && report.agreement == nil && report.sqnrDecibel == nil)
    #expect(abs(report.outputs[1].sqnrDecibel.value - 5.904782) < 1e-5)
    let error = try #require(throws: QuenchError.self) {
      try report.check(maxDrop: 1, path: "evaluation.json")
    }
    #expect(error.kind == .data)
  }

  @Test("an unknown metric is a usage error")
  func metric() throws {
    let (float, candidate, samples) = example(nil)
    let error = try #require(throws: QuenchError.self) {
      try evaluate(float, candidate, samples, metric: "f1")
    }
    #expect(error.kind == .usage)
  }

  @Test("observed, calibrated, quantised and compiled, a network stays near its float form")
  func road() throws {
    let float = Fixtures.network()
    let bytes = try float.encode()
    let samples = Fixtures.samples(space, Fixtures.items(30, of: 4), shape: [1, 2, 2])
    let list = try TensorList.make(for: float, digest: ContentDigest.of(bytes).hex)
    let seen = try Observer.observe(
      model: bytes, tensors: list.tensors, samples: samples, preprocessing: Fixtures.plain()
    ).observations
    var scales = ScaleTable(model: seen.model, method: "mse", tensors: [:])
    for (name, histogram) in seen.tensors {
      scales.tensors[name] = try Calibrators.scale(
        for: histogram, tensor: name, method: .mse, scheme: .asymmetric)
    }
    scales.weights = try WeightQuantizer.scales(for: list.layers, in: float, plan: .perChannel)
    let config = try CalibrationConfig.make(model: float, scales: scales, sensitivity: nil)
    let qdq = try QuantizeGraph.qdq(float, config: config, scales: scales)
    let report = try evaluate(float, qdq, samples)
    #expect(report.candidate == "qdq")
    #expect((report.sqnrDecibel?.value ?? 0) > 35)

    let om = try HostCompiler.compile(
      qdq: qdq, soc: SoCTable.soc(named: "Ascend310P3"), name: "network")
    try om.write(to: space.path("network.om"))
    let configPath = space.write("calibration.cfg", config.encode())
    let compiled = try Evaluation.evaluate(
      reference: space.path("float.onnx"), candidate: space.path("network.om"),
      config: configPath, samples: samples, preprocessing: Fixtures.plain())
    #expect(compiled.candidate == "om (host-built, simulated on the CPU)")
    #expect(compiled.outputs == report.outputs)
    #expect(compiled.int8Layers == 2 && compiled.fp16Layers == [])
    #expect(compiled.table.contains("The host-built OM was decoded and simulated"))
    // What the probe says of the layers alone fits what came out at the end.
    let sensitivity = try LayerProbe.assess(
      model: float, scales: scales, samples: samples, preprocessing: Fixtures.plain(),
      threshold: 0.01)
    #expect(sensitivity.layers.allSatisfy { $0.sqnrDecibel > 35 })
  }

  @Test(
    "an OM for a device is judged by its QDQ model, and only if that is named",
    .enabled(if: Fixtures.deviceOM != nil, "no OM of a device toolchain is here"))
  func deviceOM() throws {
    let (float, candidate, samples) = example([0, 1, 2, 2, 0])
    try float.write(to: space.path("float.onnx"))
    try candidate.write(to: space.path("qdq.onnx"))
    let path = try #require(Fixtures.deviceOM)
    func report(_ standIn: String?) throws -> EvaluationReport {
      try Evaluation.evaluate(
        reference: space.path("float.onnx"), candidate: path, standIn: standIn,
        samples: samples, preprocessing: Fixtures.plain())
    }
    let error = try #require(throws: QuenchError.self) { try report(nil) }
    #expect(error.kind == .unavailable)
    let found = try report(space.path("qdq.onnx"))
    #expect(found.candidate == "om (for a device; its QDQ model simulated on the CPU)")
    #expect(try found.candidateBytes == FileContent.read(path).count)
    #expect(found.table.contains("runs on its device only"))
  }
}
