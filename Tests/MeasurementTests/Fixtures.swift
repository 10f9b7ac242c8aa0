// SPDX-License-Identifier: Apache-2.0
// Tiny networks and arrays made in code.

import Datasets
import Glibc
import ONNXModel
import ONNXRuntime
import Tensors
import TestSupport

/// Whether ONNX Runtime can be loaded here.
let runtimeIsThere = RuntimeLibrary.find().map { access($0, R_OK) == 0 } ?? false

enum Fixtures {
  /// Writes a float32 `.npy` file, whose items are the samples, and lists them.
  ///
  /// - Parameter shape: of one item.
  static func samples(
    _ space: TemporarySpace, _ items: [[Float]], shape: [Int], labels: [Int]? = nil
  ) -> [Sample] {
    let extents = ([items.count] + shape).map(String.init).joined(separator: ", ")
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(extents),), }"
    while (10 + header.utf8.count + 1) % 64 != 0 { header += " " }
    header += "\n"
    var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0]
    bytes += [UInt8(header.utf8.count & 255), UInt8(header.utf8.count >> 8)]
    bytes += Array(header.utf8)
    for item in items { bytes += item.withUnsafeBytes { Array($0) } }
    let path = space.write("samples.npy", bytes)
    return items.indices.map { Sample(path: path, index: $0, label: labels?[$0]) }
  }

  /// A small OM file of a real toolchain among the shared test data, if that is here.
  static let deviceOM: String? = {
    let root = getenv("QUENCH_SHARED").map { String(cString: $0) } ?? "../shared"
    let path = "\(root)/data/om/hiai_v100_softmax.om"
    return access(path, R_OK) == 0 ? path : nil
  }()

  /// Takes arrays as they are.
  static func plain() throws -> Preprocessing { try Preprocessing([]) }

  /// `x [1, n] → Gemm (weight [n, n] as given, no bias) → y`, then `p = Softmax(y)` if wanted.
  static func classifier(_ weight: [Float], softmax: Bool = true) -> Model {
    let n = Int(Double(weight.count).squareRoot())
    var nodes = [Node("Gemm", name: "fc", inputs: ["x", "w"], outputs: ["y"])]
    if softmax { nodes.append(Node("Softmax", name: "soft", inputs: ["y"], outputs: ["p"])) }
    return Model(
      graph: Graph(
        name: "classifier", nodes: nodes,
        initializers: [Initializer("w", Tensor(floats: weight, shape: [n, n]))],
        inputs: [ValueInfo("x", .float32, shape: [1, n])],
        outputs: [ValueInfo(softmax ? "p" : "y", .float32, shape: [1, n])],
        values: [ValueInfo("y", .float32, shape: [1, n])]),
      opset: 13)
  }

  /// `x [1, 1, 2, 2] → Conv 1×1 (2 channels: 127·x, −x + 1) → Relu → Flatten → MatMul + Add → z`.
  static func network() -> Model {
    let matrix = (0..<24).map { Float($0 % 7) - 3 }
    return Model(
      graph: Graph(
        name: "network",
        nodes: [
          Node("Conv", name: "conv", inputs: ["x", "w", "b"], outputs: ["c"]),
          Node("Relu", name: "relu", inputs: ["c"], outputs: ["r"]),
          Node("Flatten", name: "flat", inputs: ["r"], outputs: ["f"]),
          Node("MatMul", name: "fc", inputs: ["f", "m"], outputs: ["p"]),
          Node("Add", name: "bias", inputs: ["p", "v"], outputs: ["z"]),
        ],
        initializers: [
          Initializer("w", Tensor(floats: [127, -1], shape: [2, 1, 1, 1])),
          Initializer("b", Tensor(floats: [0, 1], shape: [2])),
          Initializer("m", Tensor(floats: matrix, shape: [8, 3])),
          Initializer("v", Tensor(floats: [1, 2, 3], shape: [3])),
        ],
        inputs: [ValueInfo("x", .float32, shape: [1, 1, 2, 2])],
        outputs: [ValueInfo("z", .float32, shape: [1, 3])],
        values: [
          ValueInfo("c", .float32, shape: [1, 2, 2, 2]),
          ValueInfo("r", .float32, shape: [1, 2, 2, 2]),
          ValueInfo("f", .float32, shape: [1, 8]), ValueInfo("p", .float32, shape: [1, 3]),
        ]),
      opset: 13)
  }

  /// Items that differ, without chance: a simple congruential sequence in −2…2.
  static func items(_ count: Int, of size: Int) -> [[Float]] {
    var state: UInt32 = 1
    return (0..<count).map { _ in
      (0..<size).map { _ in
        state = state &* 1_664_525 &+ 1_013_904_223
        return Float(state >> 8) / Float(1 << 22) - 2
      }
    }
  }
}
