// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Pipeline

@Suite("The edges of a recipe")
struct GenerationTests {
  static func manifest(_ yaml: String) throws -> String {
    let recipe = try Recipe.decode(yaml, path: "quench.yaml")
    var edges = RecipeEdges(recipe: recipe, rules: .included(Layout.unpackedRules))
    for model in recipe.models {
      let entries = (0..<40).map {
        SampleListing.Entry(line: "photos/\($0).png", label: nil, file: "photos/\($0).png")
      }
      let listing = SampleListing(entries: entries, dependencies: ["photos"])
      try edges.add(
        model, Layout(out: recipe.out, model: model.name),
        ModelSamples(
          shards: Shards.assign(entries.map(\.line), previous: [:]), calibration: listing,
          assess: listing.prefix(32), repair: listing, evaluation: listing, coverage: nil),
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
}
