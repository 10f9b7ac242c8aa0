// SPDX-License-Identifier: Apache-2.0
// The real binary in a temporary project.

import Foundation
import ONNXModel
import Tensors
import TestSupport
import Testing

/// What a run of `quench` did.
struct Run {
  let status: Int32
  let output: String
  let errors: String

  /// The verbs of the edges that ran, in the order of their lines `[1/3] observe …`.
  var ran: [String] {
    output.split(separator: "\n").compactMap { line in
      line.prefixMatch(of: /\[\d+\/\d+\] (\w+)/).map { String($0.1) }
    }
  }
}

/// A project with a tiny network and noise for images.
final class Project: Sendable {
  let space = TemporarySpace()
  var path: String { space.path }

  /// The binary beside the test bundle.
  static let binary = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent().appending(path: "quench").path
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
  static let hasBinary = FileManager.default.isExecutableFile(atPath: binary)
  static let hasRuntime =
    ProcessInfo.processInfo.environment["QUENCH_ONNXRUNTIME"] != nil
    || FileManager.default.fileExists(atPath: "\(root)/.quench-deps")

  static let recipe = """
    quench: 1
    models:
      tiny:
        model: tiny.onnx
        inputs: {input: [1, 1, 8, 8]}
        data:
          calibration: {images: images/calibration}
          evaluation: {images: images/evaluation, labels: folders}
        preprocess:
          - channels: grey
          - normalize: {scale: 0.00392156863, mean: [0.5], std: [0.5]}
          - layout: NCHW
        target: {soc: Ascend310P3, compiler: host}
    bundles:
      release: {allowHostModels: true}

    """

  init(calibration: Int = 40, evaluation: Int = 8) throws {
    space.write("quench.yaml", Project.recipe)
    try space.write("tiny.onnx", Project.network().encode())
    for index in 0..<calibration {
      addImage("calibration/\(Project.digits(index)).png", seed: index)
    }
    for index in 0..<evaluation {
      addImage("evaluation/\(index % 3)/\(Project.digits(index)).png", seed: 1000 + index)
    }
  }

  static func digits(_ index: Int) -> String { String(format: "%04d", index) }

  func addImage(_ name: String, seed: Int) {
    space.write(
      "images/\(name)", PNG.noise(width: 8, height: 8, channels: 1, seed: UInt64(seed + 1)))
  }

  /// Conv 1→4, Relu, global average, Gemm 4→3; weights from a fixed generator.
  static func network(seed: UInt64 = 1) throws -> Model {
    var state = seed
    func weights(_ count: Int) -> [Float] {
      (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(Int64(state >> 40) - (1 << 23)) / Float(1 << 23)
      }
    }
    var graph = Graph(name: "tiny")
    graph.inputs = [ValueInfo("input", .float32, shape: [1, 1, 8, 8])]
    graph.outputs = [ValueInfo("output", .float32, shape: [1, 3])]
    graph.setInitializer(Initializer("w1", Tensor(floats: weights(36), shape: [4, 1, 3, 3])))
    graph.setInitializer(Initializer("b1", Tensor(floats: weights(4), shape: [4])))
    graph.setInitializer(Initializer("w2", Tensor(floats: weights(12), shape: [3, 4])))
    graph.setInitializer(Initializer("b2", Tensor(floats: weights(3), shape: [3])))
    graph.nodes = [
      Node("Conv", name: "conv", inputs: ["input", "w1", "b1"], outputs: ["c"]),
      Node("Relu", name: "relu", inputs: ["c"], outputs: ["r"]),
      Node("GlobalAveragePool", name: "pool", inputs: ["r"], outputs: ["p"]),
      Node("Flatten", name: "flatten", inputs: ["p"], outputs: ["f"]),
      Node(
        "Gemm", name: "fc", inputs: ["f", "w2", "b2"], outputs: ["output"],
        attributes: [Attribute("transB", .int(1))]),
    ]
    return Model(graph: graph, opset: 13)
  }

  /// Runs the binary in the project's directory.
  @discardableResult
  func quench(_ arguments: String..., environment: [String: String] = [:]) throws -> Run {
    try run(Project.binary, arguments, environment: environment)
  }

  /// This process's environment, with a library for the stages.
  func environment() -> [String: String] {
    var variables = ProcessInfo.processInfo.environment
    if variables["QUENCH_ONNXRUNTIME"] == nil {
      let folder = "\(Project.root)/.quench-deps"
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      if let name = names.sorted().first(where: { $0.hasPrefix("libonnxruntime.so") }) {
        variables["QUENCH_ONNXRUNTIME"] = "\(folder)/\(name)"
      }
    }
    return variables
  }

  /// Starts the binary and does not wait; what it says goes to `started.log`.
  ///
  /// No task: tests run on few threads, and one that waits for another's task may wait for ever.
  func start(_ arguments: String...) throws -> pid_t {
    let log = space.path("started.log")
    return try Child.start(
      Project.binary, arguments, in: path, environment: environment(), output: log, errors: log)
  }

  /// Runs any program in the project's directory.
  func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> Run {
    let variables = self.environment().merging(environment) { $1 }
    let out = space.path(".out-\(UUID().uuidString)")
    let err = space.path(".err-\(UUID().uuidString)")
    defer {
      try? FileManager.default.removeItem(atPath: out)
      try? FileManager.default.removeItem(atPath: err)
    }
    let status = try Child.run(
      program, arguments, in: path, environment: variables, output: out, errors: err)
    return Run(
      status: status,
      output: (try? String(contentsOfFile: out, encoding: .utf8)) ?? "",
      errors: (try? String(contentsOfFile: err, encoding: .utf8)) ?? "")
  }
}
