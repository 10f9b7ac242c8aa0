// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import ONNXRuntime
import TestSupport
import Testing

@Suite("RuntimeLibrary")
struct RuntimeLibraryTests {
  @Test("a file that is not there is unavailable, with what to do")
  func missing() throws {
    let error = try #require(throws: QuenchError.self) {
      try RuntimeLibrary.load(path: "/nowhere/libonnxruntime.so.1.28.0")
    }
    #expect(error.kind == .unavailable)
    #expect(error.message.hasPrefix("ONNX Runtime cannot be loaded: "))
    #expect(error.remedy?.contains("QUENCH_ONNXRUNTIME=") == true)
  }

  @Test("a file that is no library is unavailable")
  func notALibrary() throws {
    let space = TemporarySpace()
    let path = space.write("libonnxruntime.so.1.28.0", "not a library")
    let error = try #require(throws: QuenchError.self) { try RuntimeLibrary.load(path: path) }
    #expect(error.kind == .unavailable)
  }

  @Test("another library is told apart")
  func otherLibrary() throws {
    let error = try #require(throws: QuenchError.self) {
      try RuntimeLibrary.load(path: "libm.so.6")
    }
    #expect(error.kind == .unavailable)
    #expect(error.message == "\"libm.so.6\" is not the ONNX Runtime library")
  }

  @Test(
    "the library is opened once and says its version",
    .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
  func load() throws {
    let first = try RuntimeLibrary.load()
    let second = try RuntimeLibrary.load()
    #expect(first === second)
    #expect(first.path == RuntimeLibrary.find())
    #expect(first.version.hasPrefix("1."))
  }

  @Test(
    "telemetry is switched off before the library is loaded",
    .enabled(if: runtimeIsThere, "ONNX Runtime was not found"))
  func telemetry() throws {
    _ = try RuntimeLibrary.load()
    #expect(getenv("ORT_DISABLE_TELEMETRY").map { String(cString: $0) } == "1")
  }
}
