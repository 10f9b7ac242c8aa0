// SPDX-License-Identifier: Apache-2.0

import Artifacts
import Diagnostics
import Testing

@testable import Calibration

/// The stored texts are version 1 of each format; they must stay readable for ever.
@Suite("tables")
struct TableTests {
  private func expectStored<T: JSONArtifact & Equatable>(_ table: T, _ text: String) throws {
    let stored = try ArtifactJSON.decode(T.self, from: Array(text.utf8), path: "stored.json")
    #expect(stored == table)
    #expect(String(decoding: try ArtifactJSON.encode(table), as: UTF8.self) == text)
  }

  @Test("scales.json of version 1 is read and written")
  func scales() throws {
    let table = ScaleTable(
      model: "ab12", method: "mse",
      tensors: [
        "/conv/out": TensorScale(
          min: -1.5, max: 3.7915032, count: 1_204_224, threshold: [-1.5, 3.7099609375],
          scale: 0.0204312, zeroPoint: -55, method: "mse", clipped: 0.0001220703125)
      ],
      weights: [
        "fc.weight": WeightScale(axis: nil, scales: [0.1]),
        "w": WeightScale(axis: 0, scales: [1.1754944e-38, 3.4028235e+38]),
      ])
    try expectStored(
      table,
      """
      {
        "format" : "quench.scales",
        "method" : "mse",
        "model" : "ab12",
        "tensors" : {
          "/conv/out" : {
            "clipped" : 0.0001220703125,
            "count" : 1204224,
            "max" : 3.7915032,
            "method" : "mse",
            "min" : -1.5,
            "scale" : 0.0204312,
            "threshold" : [
              -1.5,
              3.7099609375
            ],
            "type" : "int8",
            "zeroPoint" : -55
          }
        },
        "version" : 1,
        "weights" : {
          "fc.weight" : {
            "scales" : [
              0.1
            ],
            "type" : "int8"
          },
          "w" : {
            "axis" : 0,
            "scales" : [
              1.1754944e-38,
              3.4028235e+38
            ],
            "type" : "int8"
          }
        }
      }

      """)
  }

  @Test("sensitivity.json of version 1 is read and written, infinities too")
  func sensitivity() throws {
    let table = SensitivityTable(
      threshold: 0.001, samples: 32,
      layers: [
        LayerSensitivity(
          name: "conv1", type: "Conv", relativeError: 0.00012, sqnrDecibel: 39.25, fp16: false,
          reason: nil, macs: 1000),
        LayerSensitivity(
          name: "fc", type: "Gemm", relativeError: .infinity, sqnrDecibel: -.infinity, fp16: true,
          reason: "relative error inf is above 0.001", macs: 5),
      ])
    try expectStored(
      table,
      """
      {
        "format" : "quench.sensitivity",
        "layers" : [
          {
            "fp16" : false,
            "macs" : 1000,
            "name" : "conv1",
            "relativeError" : 0.00012,
            "sqnrDecibel" : 39.25,
            "type" : "Conv"
          },
          {
            "fp16" : true,
            "macs" : 5,
            "name" : "fc",
            "reason" : "relative error inf is above 0.001",
            "relativeError" : "inf",
            "sqnrDecibel" : "-inf",
            "type" : "Gemm"
          }
        ],
        "samples" : 32,
        "threshold" : 0.001,
        "version" : 1
      }

      """)
  }

  @Test("coverage.json of version 1 is read and written")
  func coverage() throws {
    let table = CoverageTable(
      samples: 8,
      tensors: [
        "x": TensorCoverage(
          belowShare: 0, aboveShare: 0.25, min: -1, max: 9.5, energyLost: 0.5,
          verdict: .insufficient, advice: "add images")
      ])
    try expectStored(
      table,
      """
      {
        "format" : "quench.coverage",
        "limit" : 0.001,
        "samples" : 8,
        "tensors" : {
          "x" : {
            "aboveShare" : 0.25,
            "advice" : "add images",
            "belowShare" : 0,
            "energyLost" : 0.5,
            "max" : 9.5,
            "min" : -1,
            "verdict" : "insufficient"
          }
        },
        "verdict" : "insufficient",
        "version" : 1
      }

      """)
  }

  @Test("float32 numbers are written shortest and read back to the same bits")
  func floats() throws {
    var draws = Draws(seed: 3)
    var floats: [Float] = [
      0.1, 0.0234, 1, 16_777_216, .leastNonzeroMagnitude, .leastNormalMagnitude,
      .greatestFiniteMagnitude, 8_388_609, 1e10, 9.999999e-5,
    ]
    for _ in 0..<20_000 {
      let bits = UInt32(draws.next()) << 8 | UInt32(draws.next(below: 256))
      let float = Float(bitPattern: bits & 0x7FFF_FFFF)
      if float.isFinite { floats.append(float) }
    }
    let bytes = try ArtifactJSON.encodePlain(floats)
    let back = try ArtifactJSON.decodePlain([Float].self, from: bytes, path: "x")
    #expect(back == floats)
    let words = String(decoding: bytes, as: UTF8.self).split { " \n[],".contains($0) }
    #expect(words.count == floats.count)
    for (word, float) in zip(words, floats) {
      // Swift's description is the shortest decimal that reads back.
      let shortest = "\(float)"
      #expect(word == shortest || "\(word).0" == shortest)
    }
  }

  @Test("scales of one method do not depend on the order of the dictionary")
  func order() throws {
    var draws = Draws(seed: 21)
    let names = (0..<200).map { _ in "t\(draws.next())" }
    let scale = TensorScale(
      min: 0, max: 1, count: 1, threshold: [0, 1], scale: 1, zeroPoint: -128, method: "mse",
      clipped: 0)
    let forwards = Dictionary(uniqueKeysWithValues: names.map { ($0, scale) })
    var backwards: [String: TensorScale] = [:]
    for name in names.reversed() { backwards[name] = scale }
    let tables = [forwards, backwards].map { ScaleTable(model: "", method: "mse", tensors: $0) }
    #expect(try ArtifactJSON.encode(tables[0]) == ArtifactJSON.encode(tables[1]))
  }

  @Test("a layer stays FP16 when its error is above the threshold, with the reason")
  func judging() {
    var error = ErrorAccumulator()
    error.add(reference: [1, -1, 1, -1], candidate: [1, -1, 1, -0.9])
    let layer = LayerSensitivity(
      name: "n", type: "Conv", output: error, threshold: 0.001, macs: 7)
    #expect(layer.fp16)
    #expect(layer.reason?.hasSuffix("is above 0.001") == true)
    let fine = LayerSensitivity(
      name: "n", type: "Conv", output: error, threshold: 0.01, macs: 7)
    #expect(!fine.fp16)
    #expect(fine.reason == nil)
    #expect(SensitivityTable(threshold: 0, samples: 1, layers: [layer, fine]).fp16Layers == ["n"])
  }
}
