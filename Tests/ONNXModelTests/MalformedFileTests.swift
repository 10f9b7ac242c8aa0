// SPDX-License-Identifier: Apache-2.0

import ONNXModel
import Tensors
import Testing

/// Files that are cut or flipped anywhere give an error or a model, never a crash.
@Suite("Malformed files")
struct MalformedFileTests {
  /// Reads, infers and folds; what comes out does not matter as long as something does.
  private func survive(_ bytes: [UInt8]) {
    guard let model = try? Model.decode(bytes, path: "m.onnx") else { return }
    _ = try? Folding.fold(model, inputs: [:]).encode()
  }

  private func corpus() throws -> [[UInt8]] {
    let chain = model(
      [
        Node("Shape", name: "s", inputs: ["x"], outputs: ["s"]),
        Node(
          "Slice", name: "c", inputs: ["s", "one", "four", "zero", "one"], outputs: ["t"]),
        Node("Gather", name: "g", inputs: ["s", "zero"], outputs: ["u"]),
        Node(
          "Concat", name: "k", inputs: ["u", "t"], outputs: ["v"],
          attributes: [Attribute("axis", .int(0))]),
        Node("Expand", name: "e", inputs: ["x", "v"], outputs: ["w"]),
        Node("Reshape", name: "r", inputs: ["w", "v"], outputs: ["q"]),
        Node(
          "MaxPool", name: "p", inputs: ["q"], outputs: ["m"],
          attributes: [
            Attribute("kernel_shape", .ints([2, 2])), Attribute("pads", .ints([0, 0, 1, 1])),
          ]),
        Node(
          "Resize", name: "z", inputs: ["m", "", "scales"], outputs: ["y"],
          attributes: [Attribute("mode", .string("nearest"))]),
      ], input: [1, 2, 4, 4],
      constants: [
        ("one", ints([1])), ("four", ints([4])), ("zero", ints([0])),
        ("scales", floats([1, 1, 2, 2])),
      ])
    let old = model(
      [
        Node(
          "Pad", name: "p", inputs: ["x"], outputs: ["a"],
          attributes: [Attribute("pads", .ints([0, 0, 1, 1, 0, 0, 1, 1]))]),
        Node(
          "Split", name: "s", inputs: ["a"], outputs: ["b", "c"],
          attributes: [Attribute("axis", .int(1)), Attribute("split", .ints([1, 1]))]),
        Node(
          "Transpose", name: "t", inputs: ["b"], outputs: ["d"],
          attributes: [Attribute("perm", .ints([0, 2, 3, 1]))]),
        Node("Softmax", name: "f", inputs: ["d"], outputs: ["y"]),
      ], input: [1, 2, 4, 4], opset: 9)
    return try [normalizedConvolution(), chain, old].map { try $0.encode() } + [ModelTests.strange]
  }

  @Test("a file cut at any byte never crashes")
  func truncation() throws {
    for bytes in try corpus() {
      for count in bytes.indices { survive(Array(bytes[..<count])) }
    }
  }

  @Test("a file with any byte flipped never crashes")
  func flips() throws {
    for bytes in try corpus() {
      for index in bytes.indices {
        for mask in [0x01, 0x80, 0xFF, 0x10] as [UInt8] {
          var flipped = bytes
          flipped[index] ^= mask
          survive(flipped)
        }
      }
    }
  }

  @Test("a file with bytes replaced at random never crashes")
  func noise() throws {
    // A fixed sequence (the "minimal standard" generator), so that a failure comes again.
    var state: UInt64 = 20_240_917
    func next(_ bound: Int) -> Int {
      state = state * 48_271 % 2_147_483_647
      return Int(state) % bound
    }
    for bytes in try corpus() {
      for _ in 0..<400 {
        var noisy = bytes
        for _ in 0..<(1 + next(6)) { noisy[next(noisy.count)] = UInt8(next(256)) }
        survive(noisy)
      }
    }
  }

  @Test("attributes with the largest and smallest integers never crash")
  func extremes() throws {
    for bytes in try corpus().dropLast() {
      var model = try Model.decode(bytes, path: "m.onnx")
      let plain = model
      for node in plain.graph.nodes.indices {
        for attribute in plain.graph.nodes[node].attributes {
          for value in [.min, .max, -1, 0, 1 << 31, 1 << 62] as [Int64] {
            model = plain
            switch attribute.value {
            case .int: model.graph.nodes[node].set(attribute.name, .int(value))
            case .ints(let list):
              model.graph.nodes[node].set(attribute.name, .ints(list.map { _ in value }))
            default: continue
            }
            survive(try model.encode())
          }
        }
      }
      for index in plain.graph.initializers.indices {
        guard let old = try? plain.graph.initializers[index].tensor(), old.elementType == .int64
        else { continue }
        for value in [.min, .max, -1, 0, 1 << 31, 1 << 62] as [Int64] {
          model = plain
          model.graph.initializers[index] = Initializer(
            plain.graph.initializers[index].name, ints(Array(repeating: value, count: old.count)))
          survive(try model.encode())
        }
      }
    }
  }
}
