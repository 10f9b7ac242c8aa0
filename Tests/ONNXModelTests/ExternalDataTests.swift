// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import ONNXModel
import Tensors
import TestSupport
import Testing

@Suite("ExternalData")
struct ExternalDataTests {
  private let space = TemporarySpace()

  /// A model with the one weight `w`, two floats, in another file.
  private func model(_ entries: [(String, String)]) -> [UInt8] {
    proto { model in
      model.varint(1, 8)
      model.message(7) { graph in
        graph.message(5) { tensor in
          tensor.varint(1, 2)
          tensor.varint(2, 1)
          tensor.text(8, "w")
          for (key, value) in entries {
            tensor.message(13) {
              $0.text(1, key)
              $0.text(2, value)
            }
          }
          tensor.varint(14, 1)
        }
      }
      model.message(8) { $0.varint(2, 13) }
    }
  }

  private func read(_ entries: [(String, String)]) throws -> [Float]? {
    try Model.read(space.write("models/m.onnx", model(entries))).graph.initializer("w")?
      .tensor().floats
  }

  private let data: [UInt8] = [9, 9, 9, 9, 0, 0, 0x80, 0x3F, 0, 0, 0, 0x40]

  @Test("weights are read from the file beside the model")
  func reading() throws {
    space.write("models/w.bin", data)
    #expect(try read([("location", "w.bin"), ("offset", "4")]) == [1, 2])
    #expect(try read([("location", "w.bin"), ("offset", "4"), ("length", "8")]) == [1, 2])
  }

  @Test("an offset beyond the first page is mapped right")
  func mapping() throws {
    space.write("models/w.bin", [UInt8](repeating: 9, count: 9996) + data)
    #expect(try read([("location", "w.bin"), ("offset", "10000")]) == [1, 2])
  }

  @Test("writing takes the data in")
  func inlining() throws {
    space.write("models/w.bin", data)
    let path = space.write("models/m.onnx", model([("location", "w.bin"), ("offset", "4")]))
    let bytes = try Model.read(path).encode()
    let inlined = try Model.decode(bytes, path: "elsewhere/m.onnx")
    #expect(try inlined.graph.initializer("w")?.tensor().floats == [1, 2])
  }

  @Test("a missing file is no input and named")
  func missing() {
    let error = failure { _ = try read([("location", "w.bin")]) }
    #expect(error?.kind == .noInput)
    #expect(error?.message.contains("external data file \"w.bin\" is missing") == true)
    #expect(error?.place == .tensor("w"))
  }

  @Test(
    "a place that is no place in the file is refused",
    arguments: [
      [("location", "w.bin"), ("offset", "8")],
      [("location", "w.bin"), ("offset", "9223372036854775807")],
      [("location", "w.bin"), ("offset", "-4")],
      [("location", "w.bin"), ("offset", "four")],
      [("location", "w.bin"), ("length", "4")],
      [("offset", "0")],
    ])
  func badPlaces(_ entries: [(String, String)]) {
    space.write("models/w.bin", data)
    #expect(failure { _ = try read(entries) }?.kind == .data)
  }

  @Test("a path that leaves the model's directory is refused", arguments: [false, true])
  func outside(_ exists: Bool) {
    if exists { space.write("w.bin", data) }
    for location in ["../w.bin", "sub/../../w.bin", "/etc/passwd", space.path("w.bin")] {
      let error = failure { _ = try read([("location", location)]) }
      #expect(error?.kind == .data)
      #expect(error?.message.contains("lies outside the model's directory") == true)
    }
  }

  @Test("a symbolic link out of the model's directory is refused, one within is followed")
  func links() throws {
    space.write("secret.bin", data)
    space.write("models/w.bin", Array(data[4...]))
    space.write("models/sub/keep", "")
    #expect(symlink("../secret.bin", space.path("models/out.bin")) == 0)
    #expect(symlink("..", space.path("models/up")) == 0)
    #expect(symlink("w.bin", space.path("models/in.bin")) == 0)
    for location in ["out.bin", "up/secret.bin"] {
      let error = failure { _ = try read([("location", location)]) }
      #expect(error?.message.contains("lies outside the model's directory") == true)
    }
    #expect(try read([("location", "in.bin")]) == [1, 2])
  }

  @Test("a directory in place of the data is refused")
  func directory() {
    space.write("models/w.bin/file", "")
    #expect(failure { _ = try read([("location", "w.bin")]) }?.kind == .noInput)
  }
}
