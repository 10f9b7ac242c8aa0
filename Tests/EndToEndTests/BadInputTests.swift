// SPDX-License-Identifier: Apache-2.0
// One thing wrong at a time: the message, the exit code, and that nothing is lost.

import Foundation
import ONNXModel
import Tensors
import TestSupport
import Testing

@Suite(
  "Bad input is told what, where and what to do",
  .enabled(if: Project.hasBinary, "the binary quench is not built"))
struct BadInputTests {
  @Test("the wrong name of a chip is refused before anything runs")
  func soc() throws {
    let project = try Project()
    project.space.write("quench.yaml", Project.recipe.replacing("Ascend310P3", with: "Ascend310P"))
    let run = try project.quench("build")
    #expect(run.status == 64 || run.status == 65, "\(run.errors)")
    #expect(run.errors.contains("Ascend310P3"), "\(run.errors)")
    #expect(!FileManager.default.fileExists(atPath: project.space.path("build")))
  }

  @Test("an empty calibration folder is named")
  func emptyFolder() throws {
    let project = try Project(calibration: 0)
    try FileManager.default.createDirectory(
      atPath: project.space.path("images/calibration"), withIntermediateDirectories: true)
    let run = try project.quench("build")
    #expect(run.status == 65, "\(run.errors)")
    #expect(run.errors.contains("images/calibration"), "\(run.errors)")
  }

  @Test(
    "a truncated JPEG names its file and leaves earlier artefacts alone",
    .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
  func truncatedJPEG() throws {
    let project = try Project()
    #expect(try project.quench("build").status == 0)
    let bundle = project.space.read("build/release.tar.zst")
    project.space.write("images/calibration/bad.jpg", [0xFF, 0xD8, 0xFF, 0xE0, 0, 16, 0x4A, 0x46])
    let run = try project.quench("build")
    #expect(run.status == 65, "\(run.errors)")
    #expect((run.output + run.errors).contains("images/calibration/bad.jpg"), "\(run.errors)")
    #expect(project.space.read("build/release.tar.zst") == bundle)
    // The policy `skip` leaves it out, and says so.
    project.space.write(
      "quench.yaml", Project.recipe.replacing("    data:", with: "    data:\n      onCorrupt: skip")
    )
    let skipped = try project.quench("build")
    #expect(skipped.status == 0, "\(skipped.errors)")
    #expect((skipped.output + skipped.errors).contains("bad.jpg"), "\(skipped.output)")
  }

  @Test("without ONNX Runtime the stage fails with 69 and says what to do")
  func noRuntime() throws {
    let project = try Project()
    let run = try project.quench(
      "build", environment: ["QUENCH_ONNXRUNTIME": "/nonexistent/libonnxruntime.so"])
    #expect(run.status == 69, "\(run.errors)")
    #expect((run.output + run.errors).contains("QUENCH_ONNXRUNTIME"), "\(run.errors)")
  }

  @Test("a directory where a file should be")
  func directoryForFile() throws {
    let project = try Project()
    try FileManager.default.removeItem(atPath: project.space.path("tiny.onnx"))
    try FileManager.default.createDirectory(
      atPath: project.space.path("tiny.onnx"), withIntermediateDirectories: true)
    let run = try project.quench("build")
    #expect(run.status == 66 || run.status == 65, "\(run.errors)")
    #expect((run.output + run.errors).contains("tiny.onnx"), "\(run.errors)")
    #expect((run.output + run.errors).contains("directory"), "\(run.errors)")
  }

  @Test(
    "a file or folder that quench.yaml names and that is not there has its line there",
    arguments: [
      ("model: tiny.onnx", "model: ./tiny2.onnx", "./tiny2.onnx", "'tiny2.onnx', needed by"),
      ("images: images/calibration", "images: photos", "photos", "\"photos\" does not exist"),
      (
        "images: images/calibration", "list: photos.csv", "photos.csv", "cannot open \"photos.csv\""
      ),
      ("images: images/calibration", "images: 'p*/x.png'", "'p*", "no file matches \"p*/x.png\""),
      ("images: images/calibration", "images: empty", "empty", "\"empty\" has no JPEG"),
      ("images: images/calibration", "images: tiny.onnx", "tiny.onnx", "is a file where a dir"),
      ("images: images/calibration", "arrays: photos.npz", "photos.npz", "\"photos.npz\""),
      ("labels: folders", "labels: labels.csv", "labels.csv", "cannot open \"labels.csv\""),
      ("{allowHost", "{include: [tiny.onnx, a.txt], allowHost", "a.txt", "'a.txt', needed by"),
      (
        "target: {soc",
        "finetune: {enabled: true, external: {command: x, inputs: [x.py]}}\n    target: {soc",
        "x.py", "'x.py', needed by"
      ),
    ])
  func missingFile(key: String, wrong: String, value: String, said: String) throws {
    let project = try Project()
    try FileManager.default.createDirectory(
      atPath: project.space.path("empty"), withIntermediateDirectories: true)
    let recipe = Project.recipe.replacing(key, with: wrong)
    project.space.write("quench.yaml", recipe)
    let lines = recipe.split(separator: "\n", omittingEmptySubsequences: false)
    let changed = wrong.split(separator: "\n")[0]
    let line = try #require(lines.firstIndex { $0.contains(changed) }) + 1
    let start = try #require(lines[line - 1].firstRange(of: value)).lowerBound
    let column = lines[line - 1].distance(from: lines[line - 1].startIndex, to: start) + 1
    // The first build makes the manifest itself, a later one runs an edge for it; each finds it.
    for _ in 0..<2 {
      let run = try project.quench("build")
      let text = run.output + run.errors
      #expect(run.status == (value == "empty" || value == "'p*" ? 65 : 66), "\(text)")
      #expect(text.contains(said), "\(text)")
      #expect(text.contains("   at  quench.yaml:\(line):\(column)\n"), "\(text)")
      #expect(text.contains("| \(lines[line - 1])\n"), "\(text)")
    }
    #expect(!FileManager.default.fileExists(atPath: project.space.path("build/tiny/folded.onnx")))
    // And where the project was built before.
    project.space.write("quench.yaml", Project.recipe)
    try #require(try project.quench("build", "build/tiny/folded.onnx").status == 0)
    project.space.write("quench.yaml", recipe)
    for verb in ["status", "build"] {
      let run = try project.quench(verb)
      let text = run.output + run.errors
      #expect(text.contains("   at  quench.yaml:\(line):\(column)\n"), "\(verb): \(text)")
    }
  }

  @Test("a fault inside a table that quench.yaml names stays where it is")
  func tableRow() throws {
    let project = try Project()
    project.space.write("list.csv", "file\nnowhere.png\n")
    project.space.write(
      "quench.yaml",
      Project.recipe.replacing("images: images/calibration", with: "list: list.csv"))
    let run = try project.quench("build")
    #expect(run.status == 66)
    #expect(run.errors.contains("   at  list.csv:2:1\n  2 | nowhere.png\n"), "\(run.errors)")
    project.space.write("list.csv", "fil\nx.png\n")
    #expect(try project.quench("build").errors.contains("   at  list.csv"))
  }

  @Test(
    "a NaN names tensor and sample",
    .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
  func notANumber() throws {
    let project = try Project()
    var model = try Project.network()
    model.graph.setInitializer(
      Initializer("b1", Tensor(floats: [.nan, 0, 0, 0], shape: [4])))
    try project.space.write("tiny.onnx", model.encode())
    let run = try project.quench("build")
    #expect(run.status == 65, "\(run.errors)")
    #expect((run.output + run.errors).contains("NaN"), "\(run.errors)")
    #expect((run.output + run.errors).contains("images/calibration/"), "\(run.errors)")
  }

  @Test("a model with an operator that nothing knows is named with its node")
  func unknownOperator() throws {
    let project = try Project()
    var model = try Project.network()
    model.graph.nodes[1] = Node("Frobnicate", name: "relu", inputs: ["c"], outputs: ["r"])
    try project.space.write("tiny.onnx", model.encode())
    let run = try project.quench("build")
    #expect(run.status == 65 || run.status == 1, "\(run.errors)")
    #expect((run.output + run.errors).contains("Frobnicate"), "\(run.errors)")
  }

  @Test("a misspelt key has its line and the nearest name")
  func misspeltKey() throws {
    let project = try Project()
    project.space.write("quench.yaml", Project.recipe.replacing("preprocess:", with: "preproces:"))
    let run = try project.quench("build")
    #expect(run.status == 65)
    #expect(run.errors.contains("quench.yaml:9"), "\(run.errors)")
    #expect(run.errors.contains("did you mean \"preprocess\""), "\(run.errors)")
  }

  @Test("a missing quench.yaml says how to get one")
  func noRecipe() throws {
    let project = try Project()
    try FileManager.default.removeItem(atPath: project.space.path("quench.yaml"))
    let run = try project.quench("build")
    #expect(run.status == 66, "\(run.errors)")
    #expect(run.errors.contains("quench init"), "\(run.errors)")
  }

  @Test(
    "a drop over the limit fails with 2, and the figures are written all the same",
    .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
  func gate() throws {
    let project = try Project(calibration: 8, evaluation: 30)
    // One calibration image that is black: ranges of zero, so INT8 is ruined on purpose.
    try FileManager.default.removeItem(atPath: project.space.path("images/calibration"))
    project.space.write(
      "images/calibration/black.png",
      PNG.encode(width: 8, height: 8, channels: 1, pixels: [UInt8](repeating: 0, count: 64)))
    project.space.write(
      "quench.yaml",
      Project.recipe.replacing(
        "target: {soc",
        with: "precision: {maxFP16Share: 0}\n    evaluate: {maxDrop: 0}\n    target: {soc"))
    let run = try project.quench("build")
    let figures = project.space.text("build/tiny/evaluation.json") ?? ""
    let drop = try #require(figures.firstMatch(of: /"drop" : (-?[0-9.]+)/).flatMap { Double($0.1) })
    // Noise for images: whether INT8 does worse is chance, but gate and figures must agree.
    #expect(run.status == (drop > 0 ? 2 : 0), "\(run.errors)\(figures)")
  }
}
