// SPDX-License-Identifier: Apache-2.0
// Calibrates, trains and exports a network, and runs what comes out in ONNX Runtime.

import Calibration
import Diagnostics
import Glibc
import ONNXModel
import ONNXRuntime
import Quantization
import Tensors

@testable import Finetuning

extension SessionOptions {
  var isReproducible: Bool { optimizationLevel == Self.reproducible.optimizationLevel }
}

/// A network and samples for it.
struct ExportTrial {
  let model: Model
  /// Inputs to calibrate and to train with, and others to compare with.
  let training: [[Float]]
  var evaluation: [[Float]]

  /// ONNX Runtime's own defaults: integer kernels where its fusions find layers for them.
  static let asUsersRun = SessionOptions(optimizationLevel: 99)

  /// Optimizations off, and as users run where that is exact: on x86 without VNNI, ONNX Runtime's
  /// integer kernels add pairs of products in 16 bits, which saturate (its page on quantization).
  static let levels: [SessionOptions] = {
    if sumsProductsExactly { return [.reproducible, asUsersRun] }
    print("skipped: comparison with ONNX Runtime's integer kernels, whose sums saturate here")
    return [.reproducible]
  }()

  private static let sumsProductsExactly: Bool = {
    #if arch(x86_64)
      guard let file = fopen("/proc/cpuinfo", "r") else { return false }
      defer { fclose(file) }
      var line: UnsafeMutablePointer<CChar>?
      var room = 0
      defer { free(line) }
      while getline(&line, &room, file) > 0 {
        let text = line.map { String(cString: $0) } ?? ""
        guard text.hasPrefix("flags") else { continue }
        return text.contains("avx512_vnni") || text.contains("avx_vnni")
      }
      return false
    #else
      return true
    #endif
  }()

  private var input: ValueInfo { model.graph.freeInputs[0] }

  /// The logits: what a last Softmax reads.
  private func logits(of network: Model) -> (model: Model, name: String) {
    var network = network
    let output = network.graph.outputs[0].name
    guard let last = network.graph.nodes.last(where: { $0.outputs.first == output }),
      last.opType == "Softmax"
    else { return (network, output) }
    let shape = network.graph.outputs[0].fixedShape ?? []
    network.graph.outputs = [ValueInfo(last.inputs[0], .float32, shape: shape)]
    network.graph.removeDead()
    return (network, last.inputs[0])
  }

  /// What a network gives for one sample after the other.
  private func run(
    _ network: Model, _ samples: [[Float]], _ names: [String],
    options: SessionOptions = .reproducible, _ body: ([[Float]]) throws -> Void
  ) throws {
    let session = try Session(RuntimeLibrary.load(), model: network.encode(), options: options)
    let shape = input.fixedShape ?? []
    for sample in samples {
      let results = try session.run(
        [input.name: Tensor(floats: sample, shape: shape)], outputs: names)
      try body(results.map(\.floats))
    }
  }

  /// The logits of ONNX Runtime.
  func reference(
    _ network: Model, _ samples: [[Float]], options: SessionOptions = .reproducible
  ) throws -> [Float] {
    let (network, name) = logits(of: network)
    var all: [Float] = []
    try run(network, samples, [name], options: options) { all += $0[0] }
    return all
  }

  /// Scales from exact histograms over the training samples, with least squared error.
  func calibrated(_ plan: WeightPlan) throws -> ScaleTable {
    let layers = try OperatorRules.layers(of: model)
    var names: [String] = []
    for layer in layers where !names.contains(layer.input) && layer.input != input.name {
      names.append(layer.input)
    }
    let types = try ShapeInference.infer(model, inputs: [:])
    var watched = model
    watched.graph.outputs = names.map { ValueInfo($0, .float32, shape: types[$0]?.shape ?? []) }
    var histograms = [Histogram](repeating: Histogram(), count: names.count + 1)
    for sample in training { histograms[names.count].add(sample) }
    try run(watched, training, names) { results in
      for (index, values) in results.enumerated() { histograms[index].add(values) }
    }
    var tensors: [String: TensorScale] = [:]
    for (name, histogram) in zip(names + [input.name], histograms) {
      tensors[name] = try Calibrators.scale(
        for: histogram, tensor: name, method: .mse, scheme: .asymmetric)
    }
    return ScaleTable(
      model: "", method: "mse", tensors: tensors,
      weights: try WeightQuantizer.scales(for: layers, in: model, plan: plan))
  }

  /// Follows the float network for some steps: weights and biases first, then scales too.
  func train(
    _ graph: TrainableGraph, steps: Int, batch: Int, rate: Double, withScales: Bool = true
  ) throws {
    let teacher = try reference(model, training)
    let settings = GroupSettings(rule: .adam)
    var optimizer = Optimizer(weights: settings, scales: settings, parameters: graph.parameters)
    for step in 0..<steps {
      let indices = (0..<batch).map { (step * batch + $0) % training.count }
      let logits = try graph.forward(
        indices.flatMap { training[$0] }, count: batch, training: true)
      let wanted = indices.flatMap {
        teacher[($0 * graph.classes)..<(($0 + 1) * graph.classes)]
      }
      let result = BatchLoss.evaluate(
        .distillation(temperature: 1), logits: logits, classes: graph.classes, labels: [],
        teacher: wanted)
      graph.zeroGradients()
      graph.backward(result.gradient)
      optimizer.step(.weights, of: graph.parameters, rate: rate)
      if withScales, step >= steps / 2 {
        optimizer.step(.scales, of: graph.parameters, rate: 10 * rate)
      }
    }
  }

  /// How far two networks' logits lie apart.
  struct Difference: CustomStringConvertible {
    var samples: Int
    /// Samples whose first class differs.
    var otherClasses: Int
    /// In steps of 8 bits over the range of the logits, in which a quantized layer's output would be
    /// told apart.
    var largest = 0.0
    var mean = 0.0
    /// Samples of which no logit is more than a step away.
    var within = 0
    /// Samples of which no logit is a hundredth of a step away: all codes on the way are the same.
    var equal = 0

    init(_ mine: [Float], _ theirs: [Float], classes: Int) {
      samples = theirs.count / classes
      let first = BatchLoss.topClasses(mine, classes: classes)
      let second = BatchLoss.topClasses(theirs, classes: classes)
      otherClasses = zip(first, second).count { $0 != $1 }
      let step = Scale.affine(
        low: Double(theirs.min() ?? 0), high: Double(theirs.max() ?? 0)
      ).scale
      for sample in 0..<samples {
        var worst = 0.0
        for index in (sample * classes)..<((sample + 1) * classes) {
          let distance = Double(abs(mine[index] - theirs[index]) / step)
          worst = max(worst, distance)
          mean += distance / Double(mine.count)
        }
        largest = max(largest, worst)
        if worst < 0.01 { equal += 1 }
        if worst <= 1 { within += 1 }
      }
    }

    var description: String {
      "\(samples) samples: \(otherClasses) of another class, logits apart by at most \(largest) and "
        + "on average \(mean) code steps, \(within) samples within one, \(equal) with all codes the same"
    }
  }

  /// What a graph gives for the evaluation samples.
  ///
  /// - Parameter training: sums floats, as training does, instead of codes.
  func outputs(_ graph: TrainableGraph, training: Bool = false) throws -> [Float] {
    var all: [Float] = []
    for start in stride(from: 0, to: evaluation.count, by: 10) {
      let part = evaluation[start..<min(start + 10, evaluation.count)]
      all += try graph.forward(part.flatMap { $0 }, count: part.count, training: training)
    }
    return all
  }

  /// The export of a graph, run by ONNX Runtime.
  ///
  /// - Parameter codes: in the form that quench evaluates; else the QDQ model as it is.
  func exportedOutputs(
    _ graph: TrainableGraph, options: SessionOptions = .reproducible, codes: Bool = false
  ) throws -> [Float] {
    let exported = try graph.exported()
    guard let config = exported.config, let scales = exported.scales else { return [] }
    let qdq = try QuantizeGraph.qdq(exported.model, config: config, scales: scales)
    return try reference(codes ? qdq.summingCodes() : qdq, evaluation, options: options)
  }

  /// Each layer on the tape alone, reading what it reads in ONNX Runtime for one sample.
  ///
  /// - Returns: by layer the largest difference to its result there, as a share of the largest result.
  func layersAlone(_ graph: TrainableGraph) throws -> [(layer: String, share: Double)] {
    let exported = try graph.exported()
    guard let config = exported.config, let scales = exported.scales else { return [] }
    let layers = try OperatorRules.layers(of: exported.model)
    let types = try ShapeInference.infer(exported.model, inputs: [:])
    func shape(_ name: String) -> [Int] { types[name]?.shape ?? [] }
    var watched = try QuantizeGraph.qdq(exported.model, config: config, scales: scales)
    var names: [String] = []
    for name in layers.flatMap({ [$0.input, $0.output] })
    where name != input.name && !names.contains(name) {
      names.append(name)
    }
    watched.graph.outputs = names.map { ValueInfo($0, .float32, shape: shape($0)) }
    var values: [String: [Float]] = [input.name: evaluation[0]]
    try run(watched, [evaluation[0]], names) { results in
      for (name, result) in zip(names, results) { values[name] = result }
    }
    return try layers.map { layer in
      var alone = exported.model
      alone.graph.inputs = [ValueInfo(layer.input, .float32, shape: shape(layer.input))]
      alone.graph.outputs = [ValueInfo(layer.output, .float32, shape: shape(layer.output))]
      alone.graph.nodes = exported.model.graph.nodes.filter {
        $0.name == layer.name || $0.name == layer.biasNode
      }
      alone.graph.removeDead()
      let tape = try TrainableGraph(alone, config: nil, scales: scales)
      let mine = try tape.forward(values[layer.input] ?? [], count: 1, training: false)
      let theirs = values[layer.output] ?? []
      let largest = theirs.map(\.magnitude).max() ?? 0
      let worst = zip(mine, theirs).map { abs($0 - $1) }.max() ?? .infinity
      return (layer.name, Double(worst / max(largest, .leastNormalMagnitude)))
    }
  }

  /// The same export in float64, as good as exact.
  func exactOutputs(_ graph: TrainableGraph) throws -> [Float] {
    let exported = try graph.exported()
    let exact = try TrainableGraph(
      exported.model, config: exported.config, scales: exported.scales,
      options: .init(threads: 2), precision: .double)
    return try outputs(exact, training: true)
  }
}
