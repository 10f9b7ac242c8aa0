// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Pipeline

@Suite("The edges of a recipe")
struct GenerationTests {
  static func manifest(_ yaml: String) throws -> String {
    let recipe = try Recipe.decode(yaml, path: "quench.yaml")
    var edges = RecipeEdges(recipe: recipe, rules: .included(Layout.unpackedRules))
    for model in recipe.models {
      let entries = (0..<40).map {
        SampleListing.Entry(
          line: "photos/\($0).png", label: nil, file: "photos/\($0).png", position: 0.5)
      }
      let listing = SampleListing(entries: entries, dependencies: ["photos"])
      try edges.add(
        model, Layout(out: recipe.out, model: model),
        ModelSamples(
          shards: Shards.assign(entries.map(\.line), previous: [:]), calibration: listing,
          assess: listing.prefix(32), repair: listing,
          tuning: model.finetune == nil ? nil : listing, evaluation: listing, coverage: nil),
        runtime: ["lib.so"], compiler: [])
    }
    for bundle in recipe.bundles {
      try edges.add(bundle, BundleSettings(bundle, recipe, samples: [:], runtime: []))
    }
    try edges.finish()
    return edges.text
  }

  @Test("the method stands on the calibrate edge alone, so that no image is run again for it")
  func methodTouchesOneEdge() throws {
    let before = try Self.manifest(RecipeTests.smallest).split(separator: "\n")
    let after = try Self.manifest(RecipeTests.smallest + "\n    calibrate: {method: kl}")
      .split(separator: "\n")
    #expect(before.count == after.count)
    let changed = zip(before, after).filter { $0 != $1 }.map { String($0.1) }
    #expect(changed == ["  method = kl"])
  }

  @Test("each shard's edge reads its own images")
  func shards() throws {
    let text = try Self.manifest(RecipeTests.smallest)
    let edges = text.split(separator: "\n").filter { $0.contains(": observe ") }
    #expect(edges.count == 2)
    #expect(edges[0].contains("photos/31.png") && !edges[0].contains("photos/32.png"))
    #expect(edges[1].contains("photos/32.png") && edges[1].contains("lib.so"))
  }

  @Test("calibration.cfg is marked as one that people edit")
  func editable() throws {
    #expect(try Self.manifest(RecipeTests.smallest).contains("  keep_edits = 1\n"))
  }

  @Test("a bundle waits for the gate of each of its models")
  func bundle() throws {
    let text = try Self.manifest(RecipeTests.smallest + "\nbundles: {release: {}}")
    let edge = try #require(text.split(separator: "\n").first { $0.contains(": pack ") })
    #expect(edge.contains("build/net/gate.stamp"))
    #expect(text.hasSuffix("build/release.tar.zst\n"))
  }

  /// The build statements by first output: rule, inputs and variables as they stand.
  static func statements(_ yaml: String) throws -> [String: String] {
    let parts = try manifest(yaml).components(separatedBy: "\nbuild ").dropFirst()
    return Dictionary(
      uniqueKeysWithValues: parts.map { part in
        (String(part.prefix { $0 != " " && $0 != ":" }), part)
      })
  }

  @Test("fine-tuning is off by default, and off it changes no statement")
  func tuningOff() throws {
    let plain = try Self.manifest(RecipeTests.smallest)
    #expect(!plain.contains("finetune/"))
    #expect(
      try Self.manifest(RecipeTests.smallest + "\n    finetune: {enabled: false, epochs: 5}")
        == plain)
  }

  @Test("fine-tuning stands between calibration.cfg and quantize, and PTQ is judged beside it")
  func tuning() throws {
    let edges = try Self.statements(RecipeTests.smallest + "\n    finetune: {enabled: true}")
    let tune = try #require(edges["build/net/finetune/tuned.onnx"])
    for input in [
      "photos/0.png", "build/net/corrected.onnx", "build/net/calibration.cfg",
      "build/net/scales.json", "build/net/folded.onnx", ".quench/settings/net/finetune.json",
      ".quench/settings/net/finetune.samples",
    ] {
      #expect(tune.prefix { $0 != "\n" }.contains(input), "\(input)")
    }
    #expect(tune.contains("checkpoints = .quench/finetune/net\n"))
    let quantize = try #require(edges["build/net/model.qdq.onnx"])
    #expect(
      quantize.contains(
        ": quantize build/net/finetune/tuned.onnx build/net/finetune/calibration.cfg "
          + "build/net/finetune/scales.json\n"))
    let ptq = try #require(edges["build/net/finetune/ptq.qdq.onnx"])
    #expect(
      ptq.contains(
        ": quantize build/net/corrected.onnx build/net/calibration.cfg build/net/scales.json\n"))
    let evaluation = try #require(edges["build/net/evaluation.json"])
    #expect(evaluation.contains("beside = --ptq build/net/finetune/ptq.evaluation.json\n"))
    #expect(edges["build/net/report.html"]?.contains("build/net/finetune/scales.json") == true)
    #expect(edges["build/net/net.om"]?.contains("build/net/finetune/calibration.cfg") == true)
  }

  @Test("the number of epochs stands in the settings alone, so that its edge keeps its command")
  func epochs() throws {
    let three = try Self.manifest(RecipeTests.smallest + "\n    finetune: {enabled: true}")
    let five = try Self.manifest(
      RecipeTests.smallest + "\n    finetune: {enabled: true, epochs: 5}")
    #expect(three == five)
    let recipe = try Recipe.decode(
      RecipeTests.smallest
        + "\n    finetune: {enabled: true, epochs: 5, learningRate: 1e-5, augment: {flip: true}}",
      path: "quench.yaml")
    #expect(
      recipe.models[0].finetune?.settings
        == .object(["epochs": .integer(5), "learningRate": .number(1e-5), "flip": .bool(true)]))
  }

  @Test("the float control is trained beside, into files of its own, and changes no other edge")
  func control() throws {
    let keys = "\n    finetune: {enabled: true, loss: both"
    let plain = try Self.statements(RecipeTests.smallest + keys + "}")
    let edges = try Self.statements(RecipeTests.smallest + keys + ", control: true}")
    let control = try #require(edges["build/net/finetune/control/tuned.onnx"])
    #expect(control.contains(": control "))
    #expect(control.contains("checkpoints = .quench/finetune/net/control\n"))
    #expect(control.contains("report = build/net/finetune/control/report.json\n"))
    // It is judged on the samples that the quantized network is judged on.
    let judged = try #require(edges["build/net/finetune/control/evaluation.json"])
    #expect(judged.contains("candidate = build/net/finetune/control/tuned.onnx\n"))
    let report = try #require(edges["build/net/report.html"])
    #expect(report.contains("--control-evaluation build/net/finetune/control/evaluation.json"))
    #expect(edges["build/net/finetune/tuned.onnx"] == plain["build/net/finetune/tuned.onnx"])
    #expect(edges["build/net/model.qdq.onnx"] == plain["build/net/model.qdq.onnx"])
  }

  @Test("a command of the user's own trains instead, with its files tracked")
  func external() throws {
    let edges = try Self.statements(
      RecipeTests.smallest
        + "\n    finetune: {enabled: true, external: {command: python3 'my train.py' $HOME, "
        + "inputs: [my train.py]}}")
    let train = try #require(edges["build/net/finetune/external.onnx"])
    #expect(train.contains("my$ train.py"))
    #expect(train.contains("training = 'python3 '\\''my train.py'\\'' $$HOME'\n"))
    let adopt = try #require(edges["build/net/finetune/tuned.onnx"])
    #expect(train.contains("| build/net/finetune/external.scales.json: train"))
    #expect(train.contains("samples = .quench/settings/net/external.samples\n"))
    #expect(adopt.contains(": adopt build/net/finetune/external.onnx "))
    // Judged on the samples that did not train.
    #expect(adopt.contains("samples = .quench/settings/net/finetune.samples\n"))
    #expect(adopt.contains("photos/0.png"))
  }
}
