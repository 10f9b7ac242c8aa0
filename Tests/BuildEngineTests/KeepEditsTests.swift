// SPDX-License-Identifier: Apache-2.0

import BuildEngine
import Diagnostics
import Testing

@Suite("Outputs that people may edit")
struct KeepEditsTests {
  private func manifest(_ method: String) -> String {
    """
    rule make
      command = sh ./make.sh --method \(method) < $in > $out.t && mv $out.t $out
    rule use
      command = cat $in > $out
    build made.cfg: make source
      keep_edits = 1
    build used: use made.cfg

    """
  }

  private func edits(_ outcome: World.Outcome) -> [HandEdit] { outcome.summary.edits }

  /// `source` -> `made.cfg` (editable) -> `used`, built once.
  private func prepared() throws -> World {
    let world = World()
    world.write("make.sh", "cat\n")
    world.write("build.ninja", manifest("one"))
    world.write("source", "a:1:0\nb:2:0\nc:3:0\n")
    try world.build()
    return world
  }

  @Test("an edit stands, is reported with its lines, and what depends on it runs")
  func stands() throws {
    let world = try prepared()
    world.write("made.cfg", "a:1:0\nb:9:0\nc:3:0\n")
    let outcome = try world.build()
    #expect(outcome.ran == ["used"])
    #expect(
      edits(outcome) == [
        HandEdit(path: "made.cfg", lines: [LineChange(line: 2, old: "2", new: "9")])
      ])
    #expect(outcome.reasons["used"]?.description == "content of made.cfg changed, line 2: 2 -> 9")
    #expect(world.text("used") == "a:1:0\nb:9:0\nc:3:0\n")
    let again = try world.build()
    #expect(again.ran.isEmpty)
    #expect(edits(again).count == 1)
  }

  @Test("why names the line, and that it was edited by hand")
  func why() throws {
    let world = try prepared()
    world.write("made.cfg", "a:1:0\nb:9:0\nc:3:0\n")
    #expect(
      try world.why("used") == [
        "used is stale because content of made.cfg changed, line 2: 2 -> 9 (edited by hand)"
      ])
  }

  @Test("taking the edit back is the end of it")
  func takenBack() throws {
    let world = try prepared()
    world.write("made.cfg", "a:1:0\nb:9:0\nc:3:0\n")
    try world.build()
    world.write("made.cfg", "a:1:0\nb:2:0\nc:3:0\n")
    let outcome = try world.build()
    #expect(outcome.ran == ["used"])
    #expect(edits(outcome).isEmpty)
  }

  @Test("an edit in the way of a stale edge stops the build there, with both differences")
  func conflict() throws {
    let world = try prepared()
    world.write("made.cfg", "a:1:0\nb:9:0\nc:3:0\n")
    try world.build()
    world.write("build.ninja", manifest("two"))
    let outcome = try world.build()
    #expect(outcome.ran.isEmpty)
    #expect(outcome.summary.exitCode == 1)
    #expect(outcome.summary.failed == ["made.cfg"])
    #expect(outcome.summary.blocked == 1)
    var found: (HandEdit, Reason)?
    for case .editConflict(_, let edit, let reason) in outcome.events { found = (edit, reason) }
    #expect(found?.0.lines == [LineChange(line: 2, old: "2", new: "9")])
    #expect(found?.1 == .commandChanged(old: "--method one", new: "--method two"))
    #expect(world.text("made.cfg") == "a:1:0\nb:9:0\nc:3:0\n")
  }

  @Test("discarding makes it anew and keeps the edited file beside it")
  func discard() throws {
    let world = try prepared()
    world.write("made.cfg", "edited\n")
    world.write("source", "new\n")
    let outcome = try world.build([]) { $0.discardEdits = true }
    #expect(outcome.ran == ["made.cfg", "used"])
    #expect(world.text("made.cfg") == "new\n")
    #expect(world.text("made.cfg.edited") == "edited\n")
    world.write("made.cfg", "edited again\n")
    world.write("source", "newer\n")
    try world.build([]) { $0.discardEdits = true }
    #expect(world.text("made.cfg.edited") == "edited\n")
    #expect(world.text("made.cfg.edited2") == "edited again\n")
  }

  @Test("discarding makes an edited file anew also when nothing else changed")
  func discardAlone() throws {
    let world = try prepared()
    let made = world.text("made.cfg")
    world.write("made.cfg", "nonsense\n")
    #expect(try world.build([]) { $0.discardEdits = true }.ran.first == "made.cfg")
    #expect(world.text("made.cfg") == made)
    #expect(world.text("made.cfg.edited") == "nonsense\n")
    #expect(try world.build([]) { $0.discardEdits = true }.ran.isEmpty)
  }

  @Test("a file of unknown origin is kept beside what is made in its place")
  func unknownOrigin() throws {
    let world = try prepared()
    world.write("made.cfg", "edited\n")
    world.remove(".quench/log")
    try world.build()
    #expect(world.text("made.cfg") == "a:1:0\nb:2:0\nc:3:0\n")
    #expect(world.text("made.cfg.edited") == "edited\n")
  }

  @Test("a failing run does not make its old output look edited")
  func failing() throws {
    let world = try prepared()
    world.write("make.sh", "cat; false\n")
    #expect(try world.build().summary.exitCode == 1)
    world.write("make.sh", "cat\n")
    #expect(try world.build().summary.exitCode == 0)
    #expect(!world.exists("made.cfg.edited"))
  }

  @Test("clean leaves an edited file and takes the rest")
  func clean() throws {
    let world = try prepared()
    world.write("made.cfg", "edited\n")
    let build = try Build(world.options())
    #expect(try build.clean() == ["used"])
    #expect(world.text("made.cfg") == "edited\n")
  }
}
