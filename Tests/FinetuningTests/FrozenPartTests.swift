// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Calibration
import Diagnostics
import ONNXModel
import ONNXRuntime
import Quantization
import Tensors
import Testing

@testable import Finetuning

private let runtimeIsThere = RuntimeLibrary.find() != nil

/// The frozen part in ONNX Runtime, sample by sample.
private final class RuntimePart: FrozenPart {
  let model: Model
  private let session: Session

  init(_ model: Model) throws(QuenchError) {
    self.model = model
    session = try Session(RuntimeLibrary.load(), model: model.encode())
  }

  func run(_ batch: [Float], count: Int) throws(QuenchError) -> [[Float]] {
    let input = model.graph.freeInputs[0]
    let size = batch.count / count
    var all = [[Float]](repeating: [], count: model.graph.outputs.count)
    for sample in 0..<count {
      let part = Array(batch[(sample * size)..<((sample + 1) * size)])
      let tensor = Tensor(floats: part, shape: input.fixedShape ?? [])
      let results = try session.run(
        [input.name: tensor], outputs: model.graph.outputs.map(\.name))
      for (index, result) in results.enumerated() { all[index] += result.floats }
    }
    return all
  }
}

/// Networks with an operator that the tape lacks.
private enum CutNetworks {
  static func conv(_ input: String, _ name: String, weight: String? = nil) -> Node {
    Node(
      "Conv", name: name, inputs: [input, weight ?? "\(name).w", "\(name).b"],
      outputs: ["\(name).y"], attributes: [ints("pads", [1, 1, 1, 1])])
  }

  static let weights = [
    ("a.w", [4, 2, 3, 3]), ("a.b", [4]), ("b.w", [4, 4, 3, 3]), ("b.b", [4]),
    ("fc.w", [100, 3]), ("fc.b", [3]),
  ]

  static func tail(_ input: String) -> [Node] {
    [
      conv(input, "b"), Node("Relu", name: "relu", inputs: ["b.y"], outputs: ["r"]),
      Node("Flatten", name: "flat", inputs: ["r"], outputs: ["f"]),
      Node("Gemm", name: "fc", inputs: ["f", "fc.w", "fc.b"], outputs: ["y"]),
    ]
  }

  static func network(
    _ name: String, weights: [(String, [Int])] = CutNetworks.weights, _ nodes: [Node]
  ) -> Model {
    TapeCase(name, input: [1, 2, 5, 5], output: [1, 3], weights: weights, nodes: nodes).model
  }

  /// gain, a | Sin | b, fc.
  static let chain = network(
    "chain",
    [conv("x", "a"), Node("Sin", name: "wave", inputs: ["a.y"], outputs: ["s"])] + tail("s"))

  /// The tape reads the obstacle's input too, and the model's.
  static let branches = network(
    "branches", weights: weights + [("side.w", [4, 2, 1, 1])],
    [
      conv("x", "a"), Node("Sin", name: "wave", inputs: ["a.y"], outputs: ["s"]),
      Node("Relu", name: "own", inputs: ["a.y"], outputs: ["o"]),
      Node("Conv", name: "side", inputs: ["input", "side.w"], outputs: ["side.y"]),
      Node("Add", name: "sum", inputs: ["s", "o"], outputs: ["t"]),
      Node("Add", name: "sum2", inputs: ["t", "side.y"], outputs: ["u"]),
    ] + tail("u"))

  /// Scales for every layer whose input lies in −3...3.
  static func scales(_ model: Model) throws -> ScaleTable {
    let layers = try OperatorRules.layers(of: model)
    var tensors: [String: TensorScale] = [:]
    for layer in layers {
      let scale = Scale.affine(low: -3, high: 3)
      tensors[layer.input] = TensorScale(
        min: -3, max: 3, count: 1, threshold: [-3, 3], scale: scale.scale,
        zeroPoint: scale.zeroPoint, method: "test", clipped: 0)
    }
    return ScaleTable(
      model: "", method: "test", tensors: tensors,
      weights: try WeightQuantizer.scales(for: layers, in: model, plan: .perChannel))
  }

  static func open(_ model: Model) throws(QuenchError) -> any FrozenPart { try RuntimePart(model) }
}

@Suite("Networks of which a part is frozen")
struct FrozenPartTests {
  @Test("the plan says what trains, what is frozen, below which operator, and why")
  func plan() throws {
    let plan = try TrainableGraph.check(CutNetworks.chain)
    #expect(plan.isTrainable)
    #expect(plan.trained == ["b", "fc"])
    #expect(plan.frozen.map(\.layer) == ["gain", "a"])
    #expect(plan.frozen.map(\.below) == ["wave", "wave"])
    #expect(plan.obstacles.map(\.node) == ["wave"])
    #expect(plan.obstacles[0].reason == "fine-tuning has no rule for the operator Sin")
    #expect(plan.cut == ["s"])
    #expect(try TrainableGraph.check(CutNetworks.branches).cut == ["a.y", "s"])
    #expect(try TrainableGraph.check(CutNetworks.branches).trained == ["side", "b", "fc"])
  }

  @Test("the page about quench.yaml names every operator with a rule")
  func documented() throws {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let page = try String(
      decoding: FileContent.read(
        "/\(root)/Sources/QuenchCLI/Documentation.docc/quench-yaml.md"), as: UTF8.self)
    let words = Set(page.split { !$0.isLetter }.map(String.init))
    for name in TapeBuilder.rules.keys.sorted() { #expect(words.contains(name), "\(name)") }
  }

  @Test("an obstacle that only shows above the first is found too")
  func twoObstacles() throws {
    let nodes = [
      CutNetworks.conv("x", "a"), Node("Sin", name: "wave", inputs: ["a.y"], outputs: ["s"]),
      CutNetworks.conv("s", "b"), Node("Cos", name: "turn", inputs: ["b.y"], outputs: ["r"]),
      Node("Flatten", name: "flat", inputs: ["r"], outputs: ["f"]),
      Node("Gemm", name: "fc", inputs: ["f", "fc.w", "fc.b"], outputs: ["y"]),
    ]
    let plan = try TrainableGraph.check(CutNetworks.network("two", nodes))
    #expect(plan.obstacles.map(\.node) == ["wave", "turn"])
    #expect(plan.trained == ["fc"])
    #expect(plan.frozen.map(\.layer) == ["gain", "a", "b"])
    #expect(plan.frozen.map(\.below) == ["wave", "wave", "turn"])
  }

  @Test("what reads integers of the frozen part belongs to it, with the reason")
  func integers() throws {
    let nodes = [
      CutNetworks.conv("x", "a"),
      Node(
        "ArgMax", name: "most", inputs: ["a.y"], outputs: ["m"],
        attributes: [Attribute("axis", .int(1)), Attribute("keepdims", .int(0))]),
      Node("Flatten", name: "row", inputs: ["a.y"], outputs: ["w"]),
      Node(
        "Gather", name: "pick", inputs: ["w", "m"], outputs: ["n"],
        attributes: [Attribute("axis", .int(1))]),
      Node("Add", name: "sum", inputs: ["a.y", "n"], outputs: ["s"]),
    ]
    let model = TapeCase(
      "integers", input: [1, 2, 5, 5], output: [1, 3], weights: CutNetworks.weights,
      nodes: nodes + CutNetworks.tail("s")
    ).model
    let plan = try TrainableGraph.check(model)
    #expect(plan.obstacles.map(\.node) == ["most", "pick"])
    #expect(
      plan.obstacles[1].reason
        == "it reads \"m\" of int64 from the frozen part, which hands over float32 only")
    #expect(plan.trained == ["b", "fc"])
    #expect(plan.cut == ["a.y", "n"])
  }

  @Test("nothing left to train, or no one to run the frozen part, is refused by name")
  func refused() throws {
    let nodes = [CutNetworks.conv("x", "a")] + CutNetworks.tail("a.y").dropLast()
    let model = CutNetworks.network(
      "top",
      nodes + [
        Node("Gemm", name: "fc", inputs: ["f", "fc.w", "fc.b"], outputs: ["g"]),
        Node("Sin", name: "wave", inputs: ["g"], outputs: ["y"]),
      ])
    var error = #expect(throws: QuenchError.self) {
      try TrainableGraph(model, config: nil, scales: nil, frozenPart: CutNetworks.open)
    }
    #expect(error?.kind == .data)
    #expect(error?.place == .node("wave"))
    #expect(
      error?.message == "no layer can train: \"wave\" lies above all of them: "
        + "fine-tuning has no rule for the operator Sin")
    error = #expect(throws: QuenchError.self) {
      try TrainableGraph(CutNetworks.chain, config: nil, scales: nil)
    }
    #expect(
      error?.message == "the model cannot train above \"wave\" without a runtime for what lies "
        + "below: fine-tuning has no rule for the operator Sin")
  }

  @Test(
    "logits are those of the whole model in ONNX Runtime, float and quantized",
    .enabled(if: runtimeIsThere, "ONNX Runtime was not found"),
    arguments: [CutNetworks.chain, CutNetworks.branches])
  func forward(_ model: Model) throws {
    let batch = TapeCase.numbers(3 * 50, seed: 9)
    func reference(_ model: Model) throws -> [Float] {
      let whole = try RuntimePart(model)
      return try whole.run(batch, count: 3)[0]
    }
    let float = try TrainableGraph(
      model, config: nil, scales: nil, frozenPart: CutNetworks.open)
    for (mine, theirs) in zip(
      try float.forward(batch, count: 3, training: false), try reference(model))
    {
      #expect(abs(mine - theirs) < 2e-5 * max(1, abs(theirs)), "\(mine), \(theirs)")
    }
    let scales = try CutNetworks.scales(model)
    let graph = try TrainableGraph(
      model, config: nil, scales: scales, frozenPart: CutNetworks.open)
    let qdq = try QuantizeGraph.qdq(model, config: #require(graph.config), scales: scales)
    let expected = try reference(qdq)
    let logits = try graph.forward(batch, count: 3, training: false)
    for (mine, theirs) in zip(logits, expected) {
      #expect(abs(mine - theirs) < 1e-3 * max(1, abs(theirs)), "\(mine), \(theirs)")
    }
    // The frozen part is quantized, too: the float one would give other logits.
    #expect(
      zip(expected, try reference(model)).contains { abs($0 - $1) > 1e-3 * max(1, abs($1)) })
  }

  @Test(
    "training changes the parameters above the operator and nothing else",
    .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
  func export() throws {
    let model = CutNetworks.chain
    let scales = try CutNetworks.scales(model)
    let graph = try TrainableGraph(
      model, config: nil, scales: scales, frozenPart: CutNetworks.open)
    #expect(
      Set(graph.parameters.map { "\($0.kind.rawValue) \($0.name)" }) == [
        "weight b.w", "bias b.b", "weightScale b.w", "activationScale s", "weight fc.w",
        "bias fc.b", "weightScale fc.w", "activationScale f",
      ])
    let settings = GroupSettings(rule: .momentum)
    var optimizer = Optimizer(weights: settings, scales: settings, parameters: graph.parameters)
    let batch = TapeCase.numbers(4 * 50, seed: 10)
    var losses: [Double] = []
    for _ in 0..<20 {
      let logits = try graph.forward(batch, count: 4, training: true)
      let result = BatchLoss.evaluate(
        .crossEntropy, logits: logits, classes: 3, labels: [0, 1, 2, 1], teacher: [])
      losses.append(result.mean)
      graph.zeroGradients()
      graph.backward(result.gradient)
      optimizer.step(.weights, of: graph.parameters, rate: 0.01)
      optimizer.step(.scales, of: graph.parameters, rate: 0.01)
    }
    #expect(losses[19] < 0.5 * losses[0])
    let exported = try graph.exported()
    #expect(exported.model.graph.nodes.map(\.name) == model.graph.nodes.map(\.name))
    for old in model.graph.initializers {
      let new = try #require(exported.model.graph.initializer(old.name))
      let isTrained = old.name.hasPrefix("b.") || old.name.hasPrefix("fc.")
      #expect(try (new.tensor().floats != old.tensor().floats) == isTrained, "\(old.name)")
    }
    #expect(exported.scales?.weights["a.w"] == scales.weights["a.w"])
    #expect(exported.scales?.tensors["x"] == scales.tensors["x"])
    #expect(exported.scales?.tensors["s"] != scales.tensors["s"])
    // Read back, it is the network that was trained.
    let before = try graph.forward(batch, count: 4, training: false)
    let again = try TrainableGraph(
      exported.model, config: exported.config, scales: exported.scales,
      frozenPart: CutNetworks.open)
    #expect(try again.forward(batch, count: 4, training: false) == before)
  }

  @Test(
    "what the frozen part reads too stays as it is",
    .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
  func shared() throws {
    // b reads a's output, as the obstacle's layer c does, and has c's weight.
    let nodes = [
      CutNetworks.conv("x", "a"), CutNetworks.conv("a.y", "c", weight: "b.w"),
      Node("Sin", name: "wave", inputs: ["c.y"], outputs: ["s"]),
      Node(
        "Conv", name: "b", inputs: ["a.y", "b.w", "b.b"], outputs: ["b.y"],
        attributes: [ints("pads", [1, 1, 1, 1])]),
      Node("Add", name: "sum", inputs: ["b.y", "s"], outputs: ["t"]),
      Node("Flatten", name: "flat", inputs: ["t"], outputs: ["f"]),
      Node("Gemm", name: "fc", inputs: ["f", "fc.w", "fc.b"], outputs: ["y"]),
    ]
    let model = CutNetworks.network("shared", weights: CutNetworks.weights + [("c.b", [4])], nodes)
    let scales = try CutNetworks.scales(model)
    let graph = try TrainableGraph(
      model, config: nil, scales: scales, options: .init(weightBits: 4),
      frozenPart: CutNetworks.open)
    #expect(
      Set(graph.parameters.map { "\($0.kind.rawValue) \($0.name)" }) == [
        "bias b.b", "weight fc.w", "bias fc.b", "weightScale fc.w", "activationScale f",
      ])
    let batch = TapeCase.numbers(2 * 50, seed: 11)
    let logits = try graph.forward(batch, count: 2, training: true)
    graph.backward(TapeCase.numbers(logits.count, seed: 12))
    #expect(graph.parameters.allSatisfy { $0.gradient.contains { $0 != 0 } })
    let exported = try graph.exported()
    let again = try TrainableGraph(
      exported.model, config: exported.config, scales: exported.scales,
      frozenPart: CutNetworks.open)
    #expect(try again.forward(batch, count: 2, training: true) == logits)
  }
}
