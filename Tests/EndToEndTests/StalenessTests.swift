// SPDX-License-Identifier: Apache-2.0
// What a user does to a project, and which stages may run because of it.

import Foundation
import TestSupport
import Testing

@Suite(
  "Only what is stale runs",
  .enabled(if: Project.hasBinary, "the binary quench is not built"),
  .enabled(if: Project.hasRuntime, "ONNX Runtime is not here: bash Tests/setup.sh"))
struct StalenessTests {
  /// A project that has been built once.
  static func built(calibration: Int = 40) throws -> Project {
    let project = try Project(calibration: calibration)
    let run = try project.quench("build")
    try #require(run.status == 0, "\(run.output)\(run.errors)")
    return project
  }

  @Test("the first build makes a bundle that verifies, the second has nothing to do")
  func firstAndSecond() throws {
    let project = try Self.built()
    #expect(try project.quench("verify", "build/release.tar.zst").status == 0)
    let second = try project.quench("build")
    #expect(second.status == 0)
    #expect(second.ran.isEmpty)
    #expect((second.output + second.errors).contains("nothing to do"))
  }

  @Test("touching the model runs nothing")
  func touch() throws {
    let project = try Self.built()
    try FileManager.default.setAttributes(
      [.modificationDate: Date().addingTimeInterval(100)],
      ofItemAtPath: project.space.path("tiny.onnx"))
    let run = try project.quench("build")
    #expect(run.status == 0 && run.ran.isEmpty, "\(run.output)")
  }

  @Test("another method runs no observe edge")
  func method() throws {
    let project = try Self.built()
    project.space.write(
      "quench.yaml",
      Project.recipe.replacing(
        "target: {soc", with: "calibrate: {method: minmax}\n    target: {soc"))
    let run = try project.quench("build")
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.ran.contains("calibrate") && run.ran.contains("evaluate"), "\(run.output)")
    #expect(!run.ran.contains("observe") && !run.ran.contains("fold") && !run.ran.contains("merge"))
  }

  /// Changes the scale of `conv` in calibration.cfg and returns the line's number.
  static func edit(_ project: Project) throws -> Int {
    let text = try #require(project.space.text("build/tiny/calibration.cfg"))
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let index = try #require(lines.firstIndex { $0.hasPrefix("conv:Convolution:SCALAR:") })
    var fields = lines[index].split(separator: ":").map(String.init)
    fields[3] = "0.0625"
    lines[index] = fields.joined(separator: ":")
    project.space.write("build/tiny/calibration.cfg", lines.joined(separator: "\n"))
    return index + 1
  }

  @Test("an edited line of calibration.cfg runs quantize and what follows, and why names the line")
  func configEdit() throws {
    let project = try Self.built()
    let line = try Self.edit(project)
    let why = try project.quench("why", "build/tiny/tiny.om")
    #expect(why.status == 0)
    #expect(why.output.contains("calibration.cfg"), "\(why.output)")
    #expect(why.output.contains("line \(line)"), "\(why.output)")
    #expect(why.output.contains("0.0625"), "\(why.output)")
    let run = try project.quench("build")
    #expect(run.status == 0, "\(run.errors)")
    // The biases are corrected for the scales in the file, so that stage follows too.
    let expected: Set = ["correct", "quantize", "compile", "evaluate", "gate", "pack"]
    #expect(expected.isSubset(of: Set(run.ran)), "\(run.output)")
    #expect(
      Set(run.ran).isDisjoint(with: ["fold", "observe", "merge", "calibrate", "assess", "config"]))
    #expect((run.output + run.errors).contains("edited by hand"), "\(run.output)\(run.errors)")

    // A change upstream now collides with the edit: the build stops there with both differences.
    project.space.write(
      "quench.yaml",
      Project.recipe.replacing(
        "target: {soc", with: "calibrate: {method: minmax}\n    target: {soc"))
    let stopped = try project.quench("build")
    #expect(stopped.status != 0)
    #expect(stopped.errors.contains("calibration.cfg"), "\(stopped.errors)")
    #expect(stopped.errors.contains("0.0625"), "\(stopped.errors)")
    #expect(stopped.errors.contains("--discard-edits"), "\(stopped.errors)")
    #expect(stopped.errors.contains("overrides"), "\(stopped.errors)")
    #expect(project.space.text("build/tiny/calibration.cfg")?.contains("0.0625") == true)

    let discarded = try project.quench("build", "--discard-edits")
    #expect(discarded.status == 0, "\(discarded.errors)")
    #expect(project.space.text("build/tiny/calibration.cfg")?.contains("0.0625") == false)
    let kept = try FileManager.default.contentsOfDirectory(atPath: project.space.path("build/tiny"))
      .filter { $0.hasPrefix("calibration.cfg.") }
    #expect(kept.count == 1, "the edited file is kept beside it: \(kept)")
  }

  @Test("ten new images cost ten passes in observe, and only what follows")
  func addedImages() throws {
    let project = try Self.built()
    for index in 0..<10 { project.addImage("calibration/new\(index).png", seed: 500 + index) }
    let run = try project.quench("build")
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.ran.filter { $0 == "observe" }.count == 1)
    #expect(run.output.contains("10 images"), "\(run.output)")
    #expect(!run.ran.contains("fold"))
  }

  @Test("a removed image touches only its shard")
  func removedImage() throws {
    let project = try Self.built()
    try FileManager.default.removeItem(atPath: project.space.path("images/calibration/0035.png"))
    let run = try project.quench("build")
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.ran.filter { $0 == "observe" }.count == 1)
    #expect(run.output.contains("7 images"), "\(run.output)")
  }

  @Test("an image replaced by one with the same bytes runs nothing")
  func sameBytes() throws {
    let project = try Self.built()
    let bytes = try #require(project.space.read("images/calibration/0003.png"))
    project.space.write("images/calibration/0003.png.new", bytes)
    _ = try project.run(
      "/bin/mv", ["images/calibration/0003.png.new", "images/calibration/0003.png"])
    let run = try project.quench("build")
    #expect(run.status == 0 && run.ran.isEmpty, "\(run.output)")
  }

  @Test("the order of growth does not change a byte of scales.json")
  func growth() throws {
    let grown = try Self.built(calibration: 33)
    for index in 33..<40 {
      grown.addImage("calibration/\(Project.digits(index)).png", seed: index)
      if index % 3 == 0 { #expect(try grown.quench("build").status == 0) }
    }
    #expect(try grown.quench("build").status == 0)
    let atOnce = try Self.built(calibration: 40)
    #expect(grown.space.read("build/tiny/scales.json") != nil)
    #expect(
      grown.space.read("build/tiny/scales.json") == atOnce.space.read("build/tiny/scales.json"))
    #expect(
      grown.space.read("build/release.tar.zst") == atOnce.space.read("build/release.tar.zst"))
  }

  @Test("a reverted change builds back to the first bytes")
  func revert() throws {
    let project = try Self.built()
    let first = project.space.read("build/release.tar.zst")
    let image = try #require(project.space.read("images/calibration/0001.png"))
    project.addImage("calibration/0001.png", seed: 77)
    #expect(try project.quench("build").status == 0)
    #expect(project.space.read("build/release.tar.zst") != first)
    project.space.write("images/calibration/0001.png", image)
    // One record an edge: the record is that of the changed image, so the shard runs once more.
    let run = try project.quench("build")
    #expect(run.ran.filter { $0 == "observe" }.count == 1)
    #expect(project.space.read("build/release.tar.zst") == first)
  }

  @Test(
    "folders with unusual names are tracked: a new image in them is noticed",
    arguments: ["with space", "back\\slash", "a#b", "co:lon x", "do$lar", "quo'te;x", "back\\ x"])
  func unusualNames(name: String) throws {
    let project = try Project(calibration: 2)
    let folder = "images/\(name)"
    for index in 0..<3 { project.addImage("\(name)/\(index).png", seed: index) }
    project.space.write(
      "quench.yaml",
      Project.recipe.replacing("images/calibration", with: "\"\(yaml(folder))\""))
    let first = try project.quench("build")
    try #require(first.status == 0, "\(first.output)\(first.errors)")
    #expect(try project.quench("build").ran.isEmpty)
    project.addImage("\(name)/fresh.png", seed: 44)
    let run = try project.quench("build")
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.ran.filter { $0 == "observe" }.count == 1, "\(run.output)\(run.errors)")
  }

  private func yaml(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
  }

  @Test("status, why and -n speak of the next build, also when quench.yaml changed")
  func questions() throws {
    let project = try Self.built()
    #expect(try project.quench("status", "--exit-code").status == 0)
    project.space.write(
      "quench.yaml",
      Project.recipe.replacing(
        "target: {soc", with: "calibrate: {method: minmax}\n    target: {soc"))
    let status = try project.quench("status", "--exit-code")
    #expect(status.status == 2, "\(status.output)")
    #expect(status.output.contains("mse"), "\(status.output)")
    let why = try project.quench("why", "build/release.tar.zst")
    #expect(why.output.contains("--method mse"), "\(why.output)")
    let dry = try project.quench("build", "-n")
    #expect(dry.output.contains("calibrate tiny"), "\(dry.output)")
    #expect(try project.quench("build").ran.contains("calibrate"))
  }

  @Test("rules of the project's own are noticed when they come, change and go")
  func ownRules() throws {
    let project = try Self.built()
    _ = try project.run("/bin/cp", ["-r", ".quench/rules", "BuildRules"])
    #expect(try project.quench("build").status == 0)
    let rules = try #require(project.space.text("BuildRules/bundle.ninja"))
    project.space.write(
      "BuildRules/bundle.ninja",
      rules.replacing("description = pack", with: "description = wrap"))
    project.addImage("calibration/new.png", seed: 5)
    let own = try project.quench("build")
    #expect(own.status == 0 && own.output.contains("wrap release"), "\(own.output)\(own.errors)")
    try FileManager.default.removeItem(atPath: project.space.path("BuildRules"))
    project.addImage("calibration/newer.png", seed: 6)
    let back = try project.quench("build")
    #expect(
      back.status == 0 && back.output.contains("pack release"), "\(back.output)\(back.errors)")
  }

  @Test("whatever of .quench is lost, the next build ends in the same bytes")
  func lostState() throws {
    let project = try Self.built(calibration: 8)
    let bundle = project.space.read("build/release.tar.zst")
    for lost in [
      ".quench/settings", ".quench/shards", ".quench/log", ".quench/build.ninja", ".quench",
    ] {
      _ = try project.run("/bin/rm", ["-rf", lost])
      let run = try project.quench("build")
      #expect(run.status == 0, "\(lost): \(run.errors)")
      #expect(project.space.read("build/release.tar.zst") == bundle, "\(lost)")
    }
    let copies = try FileManager.default.contentsOfDirectory(
      atPath: project.space.path("build/tiny")
    ).filter { $0.contains(".edited") }
    #expect(copies.isEmpty, "nothing was edited, so nothing is kept aside: \(copies)")
    project.space.write(".quench/build.ninja", "garbage |\n")
    #expect(try project.quench("build").status == 0)
    #expect(project.space.read("build/release.tar.zst") == bundle)
  }
}
