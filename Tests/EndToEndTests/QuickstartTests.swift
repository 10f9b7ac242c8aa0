// SPDX-License-Identifier: Apache-2.0
// Examples/quickstart as a newcomer runs it, against the summary that its folder promises.

import Foundation
import TestSupport
import Testing

@Suite(
  "The quickstart example",
  .enabled(if: Project.hasBinary, "the binary quench is not built"),
  .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"),
  .enabled(
    if: FileManager.default.fileExists(
      atPath: "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"),
    "the images are not here: apt-get install dataset-fashion-mnist"))
struct QuickstartTests {
  static let folder = URL(fileURLWithPath: "\(Project.root)/Examples/quickstart")
  static let expected = folder.appending(path: "expected/summary.txt")

  /// Lines whose text is the same on every machine; the other figures come out of ONNX Runtime,
  /// whose last bits depend on the processor.
  static let exact: Set<String> = ["fashion", "size", "layers", "samples", "The", "coverage"]

  @Test("its recipe gives the summary that it promises, and has then nothing to do")
  func summary() throws {
    let project = try Project(calibration: 0, evaluation: 0)
    for name in ["quench.yaml", "network.onnx", "labels.txt", "unpack.py"] {
      project.space.write(name, Array(try Data(contentsOf: Self.folder.appending(path: name))))
    }
    let unpacked = try project.run("/usr/bin/env", ["python3", "unpack.py", "images"])
    try #require(unpacked.status == 0, "\(unpacked.errors)")
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.output)\(run.errors)")

    // The bundle's line is left out: its size depends on the version of libzstd.
    let lines = run.output.split(separator: "\n").map(String.init)
    let start = try #require(lines.firstIndex(of: "fashion"), "\(run.output)")
    let end = try #require(lines.firstIndex { $0.hasPrefix("coverage") }, "\(run.output)")
    let table = Array(lines[start...end])
    if ProcessInfo.processInfo.environment["QUENCH_RECORD"] != nil {
      try Data((table.joined(separator: "\n") + "\n").utf8).write(to: Self.expected)
      Issue.record("recorded \(Self.expected.path): look at it, then run without QUENCH_RECORD")
    }
    let wanted = try String(contentsOf: Self.expected, encoding: .utf8).split(separator: "\n")
    try #require(table.count == wanted.count, "\(run.output)")
    for (line, promise) in zip(table, wanted) {
      let name = promise.prefix { $0 != " " }
      if line == promise { continue }
      #expect(!Self.exact.contains(String(name)), "\(line)\nin place of\n\(promise)")
      let (figures, promised) = (Self.figures(line), Self.figures(String(promise)))
      #expect(line.hasPrefix(name) && figures.count == promised.count)
      for (figure, promise) in zip(figures, promised) {
        // Three images of 1,000, or 0.3 dB.
        #expect(abs(figure - promise) < (name == "cosine" ? 0.0001 : 0.31), "\(line)")
      }
    }
    #expect(try project.quench("build").output.contains("nothing to do"))
  }

  /// The numbers with decimals in a line: shares, differences and decibels, no counts.
  private static func figures(_ line: String) -> [Double] {
    line.matches(of: /-?\d+\.\d+/).compactMap { Double($0.0) }
  }
}
