// SPDX-License-Identifier: Apache-2.0

import Glibc
import ONNXModel
import Testing

/// Real networks, where they are at hand.
@Suite("Shared models")
struct SharedModelsTests {
  static let directory: String = {
    let shared = getenv("QUENCH_SHARED").map { String(cString: $0) } ?? "../shared"
    return "\(shared)/data/models"
  }()
  static let isThere = access("\(directory)/mobilenet_v2.onnx", R_OK) == 0

  struct Network: CustomTestStringConvertible {
    var name: String
    /// Nodes before and after folding: what goes is the batch normalisation.
    var nodes: (Int, Int)
    var output: [Int]
    var testDescription: String { name }
  }

  static let networks = [
    Network(name: "cct_cifar10", nodes: (206, 206), output: [1, 10]),
    Network(name: "mobilenet_v1_025", nodes: (58, 58), output: [1, 1001]),
    Network(name: "mobilenet_v2", nodes: (100, 100), output: [1, 1000]),
    Network(name: "resnet20_cifar10", nodes: (73, 54), output: [1, 10]),
    Network(name: "resnet56_cifar10", nodes: (199, 144), output: [1, 10]),
  ]

  @Test(
    "each network folds, with a shape for every tensor",
    .enabled(if: isThere, "needs the models of QUENCH_SHARED or ../shared"), arguments: networks)
  func folding(_ network: Network) throws {
    let model = try Model.read("\(Self.directory)/\(network.name).onnx")
    let folded = try Folding.fold(model, inputs: [:])
    #expect((model.graph.nodes.count, folded.graph.nodes.count) == network.nodes)
    #expect(folded.graph.outputs.first?.fixedShape == network.output)
    let types = try ShapeInference.infer(folded, inputs: [:])
    let outputs = folded.graph.nodes.flatMap(\.outputs)
    #expect(outputs.allSatisfy { types[$0] != nil })
    #expect(folded.graph.values.count == outputs.count - 1)
    #expect(folded.graph.nodes.allSatisfy { $0.opType != "BatchNormalization" })
    let bytes = try folded.encode()
    #expect(try Folding.fold(model, inputs: [:]).encode() == bytes)
  }

  @Test(
    "each network comes back byte for byte",
    .enabled(if: isThere, "needs the models of QUENCH_SHARED or ../shared"), arguments: networks)
  func roundTrip(_ network: Network) throws {
    let path = "\(Self.directory)/\(network.name).onnx"
    let bytes = try #require(readFile(path))
    #expect(try Model.decode(bytes, path: path).encode() == bytes)
  }

  private func readFile(_ path: String) -> [UInt8]? {
    guard let file = fopen(path, "rb") else { return nil }
    defer { fclose(file) }
    fseek(file, 0, SEEK_END)
    var bytes = [UInt8](repeating: 0, count: ftell(file))
    rewind(file)
    return fread(&bytes, 1, bytes.count, file) == bytes.count ? bytes : nil
  }
}
