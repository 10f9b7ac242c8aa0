// SPDX-License-Identifier: Apache-2.0
// BundlingTests: a project to pack, and programs of the system to check with.

import Bundling
import Diagnostics
import Glibc
import TestSupport

/// A small project in a temporary space.
struct Project {
  let space = TemporarySpace()

  init() {
    space.write("build/net/net.om", [UInt8](0...255))
    space.write("build/net/calibration.cfg", "conv1:Convolution:SCALAR:0.0234:0:0\n")
    space.write(
      "build/net/evaluation.json",
      """
      {"format": "quench.evaluation", "version": 1, "samples": 400, "drop": 0.25,
       "candidate": "qdq", "labelled": true, "classes": [1, 2], "top5": null}
      """)
    space.write("models/net.onnx", "a model")
    space.write("images/1.png", "an image")
    space.write("labels.txt", "cat\ndog\n")
  }

  /// What its `bundle.json` says, as `quench pack` completes it.
  var spec: BundleSpec {
    BundleSpec(
      name: "release",
      models: [
        BundleSpec.Model(
          name: "net",
          files: [
            "om": "build/net/net.om", "config": "build/net/calibration.cfg",
            "evaluation": "build/net/evaluation.json",
          ],
          soc: "Ascend310P3", method: "mse", inputs: ["models/net.onnx", "images/1.png"],
          compiler: "atc 7.0", hostBuilt: false)
      ],
      include: ["labels.txt"])
  }

  /// Packs it into `name`; returns the bundle's path.
  @discardableResult
  func pack(_ spec: BundleSpec? = nil, to name: String = "release.tar.zst") throws -> String {
    let path = space.path(name)
    try BundleWriter.pack(spec ?? self.spec, to: path, from: space.path)
    return path
  }
}

/// What a shell command printed, and its exit status.
func shell(_ command: String) -> (output: String, status: Int32) {
  guard let pipe = popen(command + " 2>&1", "r") else { return ("popen failed", -1) }
  var output: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 4_096)
  while true {
    let count = fread(&piece, 1, piece.count, pipe)
    if count == 0 { break }
    output += piece[0..<count]
  }
  return (String(decoding: output, as: UTF8.self), pclose(pipe) >> 8)
}

/// Whether the system has these programs.
func found(_ programs: String...) -> Bool {
  programs.allSatisfy { shell("command -v \($0)").status == 0 }
}

/// The error that `body` throws.
func failure(_ body: () throws -> Void) -> QuenchError? {
  do {
    try body()
    return nil
  } catch {
    return error as? QuenchError
  }
}

/// The names in a directory, sorted.
func names(in path: String) -> [String] {
  shell("LC_ALL=C ls -A '\(path)'").output.split(separator: "\n").map(String.init)
}
