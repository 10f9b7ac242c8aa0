// SPDX-License-Identifier: Apache-2.0
// BundlingTests: what is packed, and that equal inputs give equal bytes.

import Artifacts
import Bundling
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("packing a bundle")
struct BundleWriterTests {
  @Test("equal inputs in two places, with other times and modes, give the same bytes")
  func reproducible() throws {
    let first = Project()
    let second = Project()
    #expect(shell("chmod -R go-rwx,u+x '\(second.space.path)'").status == 0)
    #expect(
      shell("find '\(second.space.path)' -exec touch -d '2001-02-03 04:05:06.7' {} +").status == 0)
    try first.pack(to: "one.tar.zst")
    try second.pack(to: "deep.tar.zst")
    let bytes = try #require(first.space.read("one.tar.zst"))
    #expect(bytes == second.space.read("deep.tar.zst"))
  }

  @Test("the order in which models and files are listed does not matter")
  func orderOfSpecification() throws {
    let project = Project()
    project.space.write("other.om", "x")
    project.space.write("a.txt", "x")
    var spec = project.spec
    spec.models.append(
      BundleSpec.Model(
        name: "another", files: ["om": "other.om"], soc: "Ascend310P3", method: "kl",
        hostBuilt: false))
    spec.include.append("a.txt")
    try project.pack(spec, to: "one")
    spec.models.reverse()
    spec.include.reverse()
    spec.models[1].inputs.reverse()
    try project.pack(spec, to: "two")
    #expect(project.space.read("one") == project.space.read("two"))
  }

  @Test("the bundle's mode is 0644 and no temporary file is left")
  func modeAndRest() throws {
    let project = Project()
    try project.pack()
    #expect(shell("stat -c %a '\(project.space.path("release.tar.zst"))'").output == "644\n")
    #expect(
      names(in: project.space.path) == [
        "build", "images", "labels.txt", "models", "release.tar.zst",
      ]
    )
  }

  @Test("the manifest has the model, the digests of its inputs and the figures of the evaluation")
  func manifest() throws {
    let project = Project()
    let manifest = try BundleReader.verify(project.pack())
    #expect(manifest.name == "release" && manifest.layout == .plain && !manifest.hostBuilt)
    let model = try #require(manifest.models.first)
    #expect(model.name == "net" && model.soc == "Ascend310P3" && model.method == "mse")
    #expect(model.compiler == "atc 7.0" && model.hostBuilt == false)
    #expect(model.inputs.map(\.path) == ["images/1.png", "models/net.onnx"])
    #expect(model.inputs[1].size == 7)
    #expect(try model.inputs[1].sha256 == ContentDigest.of(Array("a model".utf8)).hex)
    #expect(
      model.evaluation == [
        "samples": .integer(400), "drop": .real(0.25), "candidate": .text("qdq"),
        "labelled": .truth(true),
      ])
    #expect(
      manifest.files.map(\.path) == [
        "labels.txt", "net/calibration.cfg", "net/evaluation.json", "net/net.om",
      ])
    #expect(model.files["om"] == "net/net.om")
  }

  @Test("of an input with an absolute path only the last component is told")
  func absoluteInput() throws {
    let project = Project()
    var spec = project.spec
    spec.models[0].inputs = [project.space.path("models/net.onnx")]
    let manifest = try BundleReader.verify(project.pack(spec))
    #expect(manifest.models[0].inputs.map(\.path) == ["net.onnx"])
  }

  @Test("the rawfile layout puts what is shipped under resources/rawfile and nothing else")
  func rawfile() throws {
    let project = Project()
    var spec = project.spec
    spec.layout = .rawfile
    let manifest = try BundleReader.verify(project.pack(spec))
    #expect(
      manifest.files.map(\.path) == [
        "quench/net/calibration.cfg", "quench/net/evaluation.json", "resources/rawfile/labels.txt",
        "resources/rawfile/net.om",
      ])
  }

  @Test("a host-built model needs allowHostModels, and then the manifest says so")
  func hostBuilt() throws {
    let project = Project()
    var spec = project.spec
    spec.models[0].hostBuilt = true
    let refused = failure { try project.pack(spec) }
    #expect(refused?.kind == .verdict)
    #expect(
      refused?.message
        == "the OM of model \"net\" was written by the host compiler, which is for development; "
        + "no NPU loads it")
    #expect(
      refused?.remedy == "compile it with atc, or set allowHostModels: true in bundle \"release\"")
    #expect(names(in: project.space.path).contains("release.tar.zst") == false)
    spec.allowHostModels = true
    let manifest = try BundleReader.verify(project.pack(spec))
    #expect(manifest.hostBuilt && manifest.models[0].hostBuilt == true)
  }

  @Test("an OM of unstated origin is refused even where host-built ones are allowed")
  func unstatedOrigin() {
    let project = Project()
    var spec = project.spec
    spec.allowHostModels = true
    spec.models[0].hostBuilt = nil
    #expect(failure { try project.pack(spec) }?.kind == .data)
  }

  @Test("two files of one name are refused, also when only the case differs")
  func collision() {
    let project = Project()
    project.space.write("docs/Labels.txt", "x")
    var spec = project.spec
    spec.include.append("docs/Labels.txt")
    let error = failure { try project.pack(spec) }
    #expect(error?.kind == .data)
    #expect(
      error?.message
        == "\"labels.txt\" and \"docs/Labels.txt\" would have the same name \"Labels.txt\" "
        + "in the bundle")
  }

  @Test("a file cannot take the name of the manifest")
  func reservedName() {
    let project = Project()
    project.space.write("docs/manifest.json", "{}")
    var spec = project.spec
    spec.include = ["docs/manifest.json"]
    #expect(failure { try project.pack(spec) }?.kind == .data)
  }

  @Test(
    "names that cannot stand in a bundle are refused",
    arguments: ["a/b", "..", "", "tab\there", "back\\slash"])
  func modelNames(name: String) {
    let project = Project()
    var spec = project.spec
    spec.models[0].name = name
    #expect(failure { try project.pack(spec) }?.kind == .data)
  }

  @Test("a missing file is named and leaves an older bundle as it was")
  func missingFile() throws {
    let project = Project()
    try project.pack()
    let before = project.space.read("release.tar.zst")
    unlink(project.space.path("labels.txt"))
    let error = failure { try project.pack() }
    #expect(error?.kind == .noInput)
    #expect(error?.message.contains("labels.txt") == true)
    #expect(project.space.read("release.tar.zst") == before)
    #expect(names(in: project.space.path).count == 4)
  }

  @Test("a bundle that cannot be written is an error of work")
  func unwritable() {
    let project = Project()
    #expect(failure { try project.pack(to: "missing/release.tar.zst") }?.kind == .work)
  }

  @Test("an unknown format is refused with the known one")
  func unknownFormat() {
    let project = Project()
    var spec = project.spec
    spec.format = "rar"
    #expect(failure { try project.pack(spec) }?.remedy == "format: tar.zst")
  }

  @Test("bundle.json may leave out what has a default")
  func defaults() throws {
    let text = """
      {"name": "b", "models": [{"name": "m", "files": {}, "soc": "Ascend310P3", "method": "kl"}]}
      """
    let spec = try ArtifactJSON.decodePlain(
      BundleSpec.self, from: Array(text.utf8), path: "bundle.json")
    #expect(
      spec
        == BundleSpec(
          name: "b",
          models: [BundleSpec.Model(name: "m", files: [:], soc: "Ascend310P3", method: "kl")]))
  }

  @Test("a JSON file that is no evaluation is not copied as one")
  func wrongEvaluation() {
    let project = Project()
    project.space.write("build/net/evaluation.json", "{\"format\": \"quench.scales\"}")
    #expect(failure { try project.pack() }?.message == "this is not a quench.evaluation file")
  }
}

@Suite("a bundle read by other programs")
struct ForeignReaderTests {
  @Test(
    "GNU tar unpacks it and sha256sum finds every file right",
    .enabled(if: found("tar", "zstd", "sha256sum"), "needs tar, zstd and sha256sum"))
  func gnuTar() throws {
    let project = Project()
    let long = String(repeating: "long-", count: 30) + "name.txt"
    project.space.write(long, "beyond the 100 bytes of a plain header")
    project.space.write("Größe 5µm.txt", "not ASCII, and a space")
    var spec = project.spec
    spec.include += [long, "Größe 5µm.txt"]
    let bundle = try project.pack(spec)
    let out = project.space.path("out")
    let unpacked = shell("mkdir '\(out)' && tar --zstd -xf '\(bundle)' -C '\(out)'")
    #expect(unpacked.status == 0 && unpacked.output == "")
    let sums = shell("cd '\(out)' && LC_ALL=C.UTF-8 sha256sum --strict -c SHA256SUMS")
    #expect(sums.status == 0)
    #expect(sums.output.split(separator: "\n").count == 7)
    #expect(project.space.read("out/Größe 5µm.txt") == Array("not ASCII, and a space".utf8))
    #expect(project.space.read("out/\(long)") != nil)
  }

  @Test(
    "its entries have fixed mode, owner and time, the documents first and the rest sorted",
    .enabled(if: found("tar", "zstd"), "needs tar and zstd"))
  func listing() throws {
    let project = Project()
    let bundle = try project.pack()
    let list = shell("TZ=UTC LC_ALL=C tar --zstd --numeric-owner --full-time -tvf '\(bundle)'")
    let fields = list.output.split(separator: "\n").map {
      $0.split(separator: " ", omittingEmptySubsequences: true)
    }
    try #require(fields.allSatisfy { $0.count == 6 }, "\(list.output)")
    #expect(
      fields.map { $0[5] } == [
        "manifest.json", "SHA256SUMS", "labels.txt", "net/calibration.cfg", "net/evaluation.json",
        "net/net.om",
      ])
    for field in fields {
      #expect(field[0] == "-rw-r--r--" && field[1] == "0/0")
      #expect(field[3] == "1980-01-01" && field[4] == "00:00:00")
    }
  }
}
