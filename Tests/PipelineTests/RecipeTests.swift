// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Testing

@testable import Pipeline

@Suite("quench.yaml")
struct RecipeTests {
  static let smallest = """
    quench: 1
    models:
      net:
        model: net.onnx
        data: {calibration: {images: photos}}
        target: {soc: Ascend310P3}
    """

  @Test("the smallest recipe gets the documented defaults")
  func defaults() throws {
    let recipe = try Recipe.decode(Self.smallest, path: "quench.yaml")
    let model = try #require(recipe.models.first)
    #expect(recipe.out == "build")
    #expect(model.calibrate.method == "mse")
    #expect(model.calibrate.activations == "asymmetric")
    #expect(model.precision.maxFP16Share == 0.04)
    #expect(model.precision.sensitivity == 0.001)
    #expect(model.evaluate.maxDrop == nil)
    #expect(model.target.compiler == "auto")
  }

  @Test("defaults lie under every model, key by key")
  func mergedDefaults() throws {
    let recipe = try Recipe.decode(
      """
      quench: 1
      defaults:
        target: {soc: Ascend310P3, compiler: host}
        calibrate: {method: kl, weights: perChannel}
      models:
        a: {model: a.onnx, data: {calibration: {images: x}}, calibrate: {method: mse}}
        b: {model: b.onnx, data: {calibration: {images: x}}}
      """, path: "quench.yaml")
    #expect(recipe.models.map(\.calibrate.method) == ["mse", "kl"])
    #expect(recipe.models.map(\.calibrate.weights) == ["perChannel", "perChannel"])
    #expect(recipe.models.map(\.target.compiler) == ["host", "host"])
  }

  @Test("a YAML merge key takes another model's settings")
  func mergeKey() throws {
    let recipe = try Recipe.decode(
      """
      quench: 1
      models:
        a: &a
          model: a.onnx
          data: {calibration: {images: x}}
          target: {soc: Ascend310P3}
          precision: {maxFP16Share: 0.5, sensitivity: 2}
        b:
          <<: *a
          precision: {maxFP16Share: 0}
      """, path: "quench.yaml")
    #expect(recipe.models.map(\.precision.maxFP16Share) == [0.5, 0])
    #expect(recipe.models.map(\.precision.sensitivity) == [2, 2])
  }

  @Test(
    "what a recipe may not say is refused with line, column and the nearest name",
    arguments: [
      ("    calibrat: {method: mse}", 7, "unknown key \"calibrat\"", "did you mean \"calibrate\""),
      ("    calibrate: {method: msee}", 7, "\"msee\" is no value", "did you mean \"mse\""),
      ("    calibrate: {percentile: 10}", 7, "in percent", ""),
      ("    inputs: {x: [2, 3]}", 7, "batch size of \"x\" must be 1", ""),
      ("    evaluate: {maxDrop: lots}", 7, "must be a number", ""),
      ("    finetune: {enabled: true, epoch: 3}", 7, "unknown key \"epoch\"", "mean \"epochs\""),
      ("    finetune: {learningRate: fast}", 7, "must be a number", ""),
      ("    finetune: {freezeWeightAt: 0.2}", 7, "unknown key", "mean \"freezeWeightsAt\""),
      ("    finetune: {freezeWeightsAt: 1.2}", 7, "must be a number from 0.0 to 1.0", ""),
      ("    finetune: {enabled: true, loss: mse}", 7, "\"mse\" is no value", ""),
      ("    finetune: {control: true}", 7, "follow itself", "loss: crossEntropy"),
      ("    finetune: {external: {inputs: [a]}}", 7, "command\" is missing", ""),
      ("    finetune: {external: {command: a}, epochs: 3}", 7, "our own training", ""),
      ("  bad name: {}", 7, "becomes a folder", ""),
      ("    precision: [", 8, "malformed YAML", ""),
      ("    overrides: {conv: {precison: fp16}}", 7, "unknown key \"precison\"", "precision"),
      ("    model: other.onnx", 7, "the key \"model\" stands twice", ""),
      ("    <<: 5", 7, "must name one mapping", ""),
      ("out: ../elsewhere", 7, "inside the project", ""),
      ("out: .quench/x", 7, "inside the project", ""),
      ("bundles: {net: {}}", 7, "called like the bundle", ""),
    ])
  func refusals(line: String, number: Int, message: String, hint: String) throws {
    let error = try #require(throws: QuenchError.self) {
      try Recipe.decode(Self.smallest + "\n" + line, path: "quench.yaml")
    }
    #expect(error.kind == .data)
    #expect("\(error)".contains(message), "\(error)")
    #expect("\(error)".contains(hint), "\(error)")
    guard case .line(_, let at, _, _)? = error.place else {
      Issue.record("no line: \(error)")
      return
    }
    #expect(abs(at - number) <= 1, "\(error)")
  }

  @Test("a source is images, a list or arrays, and only one of them")
  func sources() throws {
    #expect(throws: QuenchError.self) {
      try Recipe.decode(
        Self.smallest.replacing("images: photos", with: "images: photos, list: x.csv"),
        path: "quench.yaml")
    }
  }

  @Test("a bundle of a model that is not listed is refused")
  func bundles() throws {
    let error = try #require(throws: QuenchError.self) {
      try Recipe.decode(
        Self.smallest + "\nbundles: {release: {models: [nett]}}", path: "quench.yaml")
    }
    #expect(error.message.contains("did you mean \"net\""))
  }
}
