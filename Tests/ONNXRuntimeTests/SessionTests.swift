// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import ONNXRuntime
import Synchronization
import Tensors
import TestSupport
import Testing

@Suite("Session", .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
struct SessionTests {
  let library: RuntimeLibrary

  init() throws { library = try RuntimeLibrary.load() }

  @Test("outputs come in the order asked for, with the values worked out by hand")
  func outputs() throws {
    let session = try Session(library, model: TinyModels.scaled(by: 2))
    let x = Tensor(floats: [-1, 0.5, 3], shape: [1, 3])
    let results = try session.run(["x": x], outputs: ["z", "y"])
    #expect(results.map(\.floats) == [[0, 1, 6], [-2, 1, 6]])
    #expect(results.map(\.shape) == [[1, 3], [1, 3]])
  }

  @Test("the signature names inputs and outputs, with nil for open extents")
  func signature() throws {
    let session = try Session(library, model: TinyModels.scaled(by: 1))
    #expect(session.inputs.map(\.name) == ["x"])
    #expect(session.inputs[0].shape == [1, 3])
    #expect(session.outputs.map(\.name) == ["y", "z"])
    let open = try Session(library, model: TinyModels.sum())
    #expect(open.inputs.map(\.shape) == [[nil], [nil]])
    #expect(open.inputs.map(\.elementType) == [.float32, .float32])
  }

  @Test("borrowed outputs are the same elements, without a copy")
  func borrowed() throws {
    let session = try Session(library, model: TinyModels.sum())
    let a = Tensor(floats: [1, 2, 3, 4], shape: [4])
    let sums = try session.run(["a": a, "b": a], outputs: ["y"]) { lent throws(QuenchError) in
      try lent.withFloats(0) { values in Array(values) }
    }
    #expect(sums == [2, 4, 6, 8])
  }

  @Test("an empty tensor passes through")
  func empty() throws {
    let session = try Session(library, model: TinyModels.sum())
    let none = Tensor(floats: [], shape: [0])
    let results = try session.run(["a": none, "b": none], outputs: ["y"])
    #expect(results[0].count == 0)
  }

  @Test("bytes that are no model are refused as malformed data", arguments: [[], [1, 2, 3, 255]])
  func garbage(bytes: [UInt8]) throws {
    let error = try #require(throws: QuenchError.self) {
      try Session(library, model: bytes, label: "\"net.onnx\"")
    }
    #expect(error.kind == .data)
    #expect(error.message.hasPrefix("loading \"net.onnx\" failed: "))
    #expect(!error.message.hasSuffix("."))
  }

  @Test("a tensor of the wrong shape is refused with what was expected")
  func wrongShape() throws {
    let session = try Session(library, model: TinyModels.scaled(by: 2))
    let error = try #require(throws: QuenchError.self) {
      try session.run(["x": Tensor(floats: [1, 2], shape: [1, 2])], outputs: ["y"])
    }
    #expect(error.kind == .data)
    #expect(error.message.contains("Expected: 3"))
    // The session is still good.
    let x = Tensor(floats: [1, 2, 3], shape: [1, 3])
    #expect(try session.run(["x": x], outputs: ["y"])[0].floats == [2, 4, 6])
  }

  @Test("a tensor of the wrong type is refused")
  func wrongType() throws {
    let session = try Session(library, model: TinyModels.scaled(by: 2))
    let error = try #require(throws: QuenchError.self) {
      try session.run(["x": Tensor(int64s: [1, 2, 3], shape: [1, 3])], outputs: ["y"])
    }
    #expect(error.kind == .data)
  }

  @Test("unknown outputs, unknown inputs and missing inputs are refused by name")
  func names() throws {
    let session = try Session(library, model: TinyModels.scaled(by: 2))
    let x = Tensor(floats: [1, 2, 3], shape: [1, 3])
    func message(_ inputs: [String: Tensor], _ outputs: [String]) -> String {
      do {
        _ = try session.run(inputs, outputs: outputs)
        return "nothing thrown"
      } catch {
        return error.kind == .data ? error.message : "\(error.kind)"
      }
    }
    #expect(message(["x": x], ["w"]) == "the model has no output \"w\"; did you mean \"y\"?")
    #expect(message([:], ["y"]) == "the model needs an input \"x\", which is missing")
    #expect(message(["x": x, "extra": x], ["y"]) == "the model has no input \"extra\"")
    #expect(message(["x": x], ["x"]).hasPrefix("the model has no output \"x\""))
  }

  @Test("an error in the borrower's code reaches the caller unchanged")
  func bodyThrows() throws {
    let session = try Session(library, model: TinyModels.scaled(by: 2))
    let x = Tensor(floats: [1, 2, 3], shape: [1, 3])
    let error = try #require(throws: QuenchError.self) {
      try session.run(["x": x], outputs: ["y"]) { _ throws(QuenchError) -> Void in
        throw QuenchError(.verdict, "no")
      }
    }
    #expect(error.kind == .verdict)
  }

  @Test("several threads on one session get the values of one thread")
  func threads() throws {
    let session = try Session(library, model: TinyModels.scaled(by: 0.1))
    let wrong = Mutex(0)
    DispatchlessThreads.run(4) { thread in
      for step in 0..<200 {
        let value = Float(thread * 1000 + step)
        let x = Tensor(floats: [value, -value, 1], shape: [1, 3])
        let y = try? session.run(["x": x], outputs: ["y"])[0].floats
        if y != [0.1 * value, 0.1 * -value, 0.1] { wrong.withLock { $0 += 1 } }
      }
    }
    #expect(wrong.withLock { $0 } == 0)
  }
}

/// Plain threads, because model runs block.
private enum DispatchlessThreads {
  private final class Task: Sendable {
    let index: Int
    let body: @Sendable (Int) -> Void
    init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
      self.index = index
      self.body = body
    }
  }

  static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    var threads: [pthread_t] = []
    for index in 0..<count {
      var thread = pthread_t()
      let task = Unmanaged.passRetained(Task(index, body)).toOpaque()
      let failed = pthread_create(
        &thread, nil,
        { pointer in
          guard let pointer else { return nil }
          let task = Unmanaged<Task>.fromOpaque(pointer).takeRetainedValue()
          task.body(task.index)
          return nil
        }, task)
      precondition(failed == 0, "a thread must start")
      threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
  }
}
