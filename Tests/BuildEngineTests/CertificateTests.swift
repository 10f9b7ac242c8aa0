// SPDX-License-Identifier: Apache-2.0

import Diagnostics
import Glibc
import TestSupport
import Testing

@testable import BuildEngine

/// How many damaged files the tests try, and how they are chosen.
private let cases = Int(getenv("QUENCH_FLIPS").map { String(cString: $0) } ?? "") ?? 400
private let seed = UInt64(getenv("QUENCH_SEED").map { String(cString: $0) } ?? "") ?? 1

@Suite("The certificate that nothing is to be done")
struct CertificateTests {
  private static let path = ".quench/fresh"

  /// A built project whose files have settled, with its certificate.
  private func world(
    _ manifest: String = "build o/b: cp a\nbuild o/c: cp o/b | d\nbuild all: phony o/c\n",
    _ files: [String: String] = ["a": "1\n", "d": "x\n"]
  ) throws -> World {
    let world = World(manifest, files)
    try world.build()
    try settle(world)
    return world
  }

  private func settle(_ world: World) throws {
    usleep(40_000)
    #expect(try world.build().ran.isEmpty)
    usleep(5_000)
    #expect(try world.build().ran.isEmpty)
    try #require(try glance(world).nothingToDo != nil)
  }

  private func glance(
    _ world: World, _ targets: [String] = [], _ change: (inout BuildOptions) -> Void = { _ in }
  ) throws -> Glance {
    try Glance(world.options(change), targets: targets)
  }

  private func knows(
    _ world: World, _ targets: [String] = [], _ change: (inout BuildOptions) -> Void = { _ in }
  ) throws -> Bool { try glance(world, targets, change).nothingToDo != nil }

  @Test("it tells how many edges are fresh, as the build does")
  func count() throws {
    let world = try world()
    #expect(try glance(world).nothingToDo?.fresh == 2)
    #expect(try world.build().summary.fresh == 2)
  }

  @Test(
    "no file that the build looked at may change unnoticed",
    arguments: ["a", "d", "o/b", "o/c", "build.ninja", ".quench/log"])
  func files(name: String) throws {
    let world = try world()
    let old = try #require(world.space.read(name))
    world.space.write(name, old + Array("\n".utf8))
    #expect(try !knows(world))
  }

  @Test("a file that went away, or came where none was, is noticed")
  func presence() throws {
    let world = try world()
    world.remove("d")
    #expect(try !knows(world))
    let other = try self.world(
      "rule x\n  command = cat a > $out; echo 'o: h' > o.d\n  depfile = o.d\nbuild o: x a\n",
      ["a": "1\n"])
    other.write("h", "new\n")
    #expect(try !knows(other))
  }

  @Test("a file replaced by one with the same bytes leads to the whole decision, and runs nothing")
  func replaced() throws {
    let world = try world()
    world.write("new", "1\n")
    rename(world.space.path("new"), world.space.path("a"))
    #expect(try !knows(world))
    #expect(try world.build().ran.isEmpty)
  }

  @Test("targets and options that change the decision are told apart")
  func terms() throws {
    let world = try world()
    #expect(try !knows(world, ["o/b"]))
    #expect(try world.build(["o/b"]).ran.isEmpty)
    #expect(try knows(world, ["o/b"]))
    #expect(try !knows(world, ["o/c"]))
    #expect(try knows(world))
    #expect(try !knows(world) { $0.keepDead = true })
    #expect(try !knows(world) { $0.discardEdits = true })
    #expect(try !knows(world) { $0.refusesSelfReference = true })
    #expect(try !knows(world) { $0.manifest = "./build.ninja" })
    #expect(try !knows(world) { $0.reportsFresh = true })
    #expect(try !knows(world) { $0.dryRun = true })
    #expect(try knows(world) { $0.jobs = 7 })
  }

  @Test("every option is either compared or known not to matter")
  func allOptions() {
    let compared: Set = [
      "manifest", "keepDead", "discardEdits", "logPath", "lockPath", "refusesSelfReference",
      "ownExecutable", "givenEnvironment", "dryRun", "reportsFresh",
    ]
    let irrelevant: Set = [
      "directory", "jobs", "keepGoing", "loadLimit", "verbose", "explain", "cache",
      "usesJobserver", "memoryLimit", "ticks", "wantsEstimate", "keepsResponseFiles",
      "keepsDepfiles", "measures",
    ]
    for child in Mirror(reflecting: BuildOptions()).children {
      let name = child.label ?? ""
      #expect(
        compared.contains(name) != irrelevant.contains(name),
        "does \(name) change what is stale? Then Certificate.key must hold it")
    }
  }

  @Test("an environment variable that a command names is compared, any other is not")
  func environment() throws {
    let world = World("rule e\n  command = echo $$FLAVOR > $out\nbuild b: e\n")
    world.environment = ["FLAVOR": "sweet"]
    try world.build()
    try settle(world)
    world.environment["OTHER"] = "1"
    #expect(try knows(world))
    world.environment["FLAVOR"] = "sour"
    #expect(try !knows(world))
    #expect(try world.build().ran == ["b"])
    world.environment["FLAVOR"] = nil
    #expect(try !knows(world))
  }

  @Test("a program that PATH finds elsewhere is noticed")
  func programs() throws {
    let world = World("rule t\n  command = mytool $in $out\nbuild b: t a\n", ["a": "1\n"])
    let script = "#!/bin/sh\ncat $1 > $2\n"
    for folder in ["one", "two"] {
      mkdir(world.space.path(folder), 0o755)
    }
    world.write("two/mytool", script)
    chmod(world.space.path("two/mytool"), 0o755)
    world.environment["PATH"] =
      "\(world.space.path("one")):\(world.space.path("two")):/usr/bin:/bin"
    try world.build()
    try settle(world)
    world.write("one/mytool", script + "# other\n")
    chmod(world.space.path("one/mytool"), 0o755)
    #expect(try !knows(world))
    #expect(try world.build().ran == ["b"])
  }

  @Test("there is none where the next build would have something to say or to do")
  func refused() throws {
    let always = World("rule e\n  command = echo hi > $out\nbuild force: phony\nbuild b: e force\n")
    for _ in 0..<3 {
      try always.build()
      usleep(30_000)
    }
    #expect(try !knows(always))
    let warned = World("build all: phony all b\nbuild b: cp a\n", ["a": "1\n"])
    for _ in 0..<3 {
      try warned.build()
      usleep(30_000)
    }
    #expect(try !knows(warned))
    let edited = World("build b: cp a\n  keep_edits = 1\n", ["a": "1\n"])
    try edited.build()
    edited.write("b", "by hand\n")
    for _ in 0..<3 {
      usleep(30_000)
      #expect(try edited.build().summary.edits.count == 1)
    }
    #expect(try !knows(edited))
  }

  @Test("a file that changed too recently to be told from a later change keeps it from being")
  func racy() throws {
    let world = World("build b: cp a\n", ["a": "1\n"])
    try world.build()
    // Written anew at once: same size, perhaps the same clock step.
    for text in ["2\n", "3\n", "4\n", "5\n"] {
      world.write("a", text)
      #expect(try world.build().ran == ["b"])
      #expect(world.text("b") == text)
    }
  }

  @Test("a change while something else serves the rest from what was seen")
  func partial() throws {
    let world = try world()
    world.write("a", "2\n")
    let outcome = try world.build()
    #expect(outcome.ran == ["o/b", "o/c"])
    #expect(world.text("o/c") == "2\n")
    try settle(world)
    // A command that writes a file which nobody expects it to write.
    let other = try self.world(
      "rule w\n  command = cat $in > $out; cat $in > d\nbuild o/b: w a\nbuild o/c: cp o/b d\n")
    other.write("a", "9\n")
    _ = try other.build()
    _ = try other.build()
    #expect(other.text("o/c") == "9\n9\n")
  }

  @Test("after a change it is brought up to date where it lies, and as good as a new one")
  func updated() throws {
    let names = (0..<60).map { "in/a-rather-long-name-\($0)" }
    let world = try world(
      "build o/b: cat \(names.joined(separator: " "))\nbuild o/c: cp o/b\nbuild o/d: cp e\n",
      Dictionary(uniqueKeysWithValues: (names + ["e"]).map { ($0, "1\n") }))
    let files = try FileSystem(world.space.path)
    for (number, name) in (names.prefix(5) + ["e"]).enumerated() {
      let before = try #require(try files.identity(CertificateTests.path))
      let glance = try glance(world)
      world.write(name, "\(number)2\n")
      #expect(try world.build().ran == (name == "e" ? ["o/d"] : ["o/b", "o/c"]))
      let after = try #require(try files.identity(CertificateTests.path))
      #expect(after.inode == before.inode && after != before)
      // Whoever was comparing meanwhile notices.
      #expect(glance.certificate?.isUntouched == false)
      #expect(!glance.logIsSame)
      let map = try #require(FileMap(CertificateTests.path, files: files))
      #expect(Certificate.Reader(map) != nil)
      try settle(world)
      #expect(try files.identity(CertificateTests.path)?.inode == before.inode)
    }
    for name in ["in/a-rather-long-name-1", "in/a-rather-long-name-59", "e", "o/b", "o/d"] {
      let old = try #require(world.space.read(name))
      world.space.write(name, Array("new\n".utf8))
      #expect(try !knows(world), "\(name)")
      world.space.write(name, old)
      #expect(try world.build().ran.isEmpty)
      try settle(world)
    }
  }

  @Test("cut at every byte it is not believed")
  func truncated() throws {
    let world = try world()
    let whole = try #require(world.space.read(CertificateTests.path))
    for length in 0..<whole.count {
      world.space.write(CertificateTests.path, Array(whole[..<length]))
      #expect(try !knows(world), "cut at \(length)")
    }
    world.space.write(CertificateTests.path, whole + [0, 0, 0, 0])
    #expect(try !knows(world))
    world.space.write(CertificateTests.path, whole)
    #expect(try knows(world))
  }

  @Test("with bytes flipped it is not believed, and a build finds what is stale")
  func flipped() throws {
    let world = try world()
    let whole = try #require(world.space.read(CertificateTests.path))
    world.write("a", "2\n")
    var state = seed
    func roll(_ limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % limit
    }
    for number in 0..<cases {
      var damaged = whole
      for _ in 0...roll(4) { damaged[roll(whole.count)] ^= UInt8(1 << roll(8)) }
      world.space.write(CertificateTests.path, damaged)
      #expect(try !knows(world), "seed \(seed), case \(number)")
    }
    #expect(try world.build().ran == ["o/b", "o/c"])
  }

  @Test("one that is a directory, a pipe or somebody else's file is not believed")
  func strange() throws {
    let world = try world()
    let place = world.space.path(CertificateTests.path)
    unlink(place)
    mkfifo(place, 0o644)
    #expect(try !knows(world))
    #expect(try world.build().ran.isEmpty)
    unlink(place)
    mkdir(place, 0o755)
    #expect(try !knows(world))
    #expect(try world.build().ran.isEmpty)
    rmdir(place)
    world.space.write(CertificateTests.path, [UInt8](repeating: 0xFF, count: 4096))
    #expect(try !knows(world))
    #expect(try world.build().ran.isEmpty)
  }

  @Test("many files in many directories are each looked at")
  func many() throws {
    var manifest = ""
    var files: [String: String] = [:]
    for index in 0..<60 {
      files["s\(index % 7)/f\(index)"] = "\(index)\n"
      manifest += "build o\(index % 5)/f\(index): cp s\(index % 7)/f\(index)\n"
    }
    let world = try world(manifest, files)
    for index in stride(from: 0, to: 60, by: 11) {
      world.write("s\(index % 7)/f\(index)", "x\n")
      #expect(try !knows(world))
      #expect(try world.build().ran == ["o\(index % 5)/f\(index)"])
      try settle(world)
    }
  }
}

@Suite("Files that changed a moment ago")
struct FineStampTests {
  @Test("a device counts as finely stamped only where each change after a look has its own stamp")
  func probe() throws {
    let space = TemporarySpace()
    let files = try FileSystem(space.path)
    let lock = try BuildLock("lock", files: files) { _ in }
    space.write("f", "1")
    let device = try #require(try files.identity("f")).device
    guard let found = lock.probe() else { return }
    #expect(found == device)
    var stamps: Set<Int64> = []
    for text in ["a", "b", "c", "d", "e", "f", "g", "h"] {
      space.write("f", text)
      stamps.insert(try #require(try files.identity("f")).changed)
    }
    #expect(stamps.count == 8)
  }

  @Test("where stamps are fine, the build right after the first knows that nothing is to be done")
  func immediate() throws {
    let world = World("build b: cp a\nbuild c: cp b\n", ["a": "1\n"])
    try world.build()
    #expect(try world.build().ran.isEmpty)
    let files = try FileSystem(world.space.path)
    let isFine = try BuildLock("probe", files: files) { _ in }.probe() != nil
    let glance = try Glance(world.options(), targets: [])
    #expect(glance.nothingToDo != nil || !isFine)
    // The same size, at once, ever again.
    for text in ["2\n", "3\n", "4\n", "5\n", "6\n", "7\n"] {
      world.write("a", text)
      #expect(try world.build().ran == ["b", "c"])
      #expect(try world.build().ran.isEmpty)
      #expect(world.text("c") == text)
    }
  }
}
