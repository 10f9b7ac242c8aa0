// SPDX-License-Identifier: Apache-2.0

import Datasets
import Diagnostics
import Glibc
import TestSupport
import Testing

@Suite("Listing a data source")
struct DatasetListingTests {
  private let space = TemporarySpace()

  /// Class folders with images, a hidden file, a note and a folder without images.
  private func tree() -> String {
    for name in ["cat/2.png", "cat/10.JPG", "dog/deep/1.jpeg", "Zebra/ä.png", "dog/.hidden.png"] {
      space.write("images/\(name)", "x")
    }
    space.write("images/ant/notes.txt", "none")
    space.write("images/.cache/1.png", "x")
    return space.path("images")
  }

  private func names(_ listing: Listing) -> [String] {
    listing.samples.map { sample in
      let name = String(sample.path.dropFirst(space.path.count + 1))
      return sample.label.map { "\(name) \($0)" } ?? name
    }
  }

  private func error(_ source: DataSource) -> QuenchError? {
    do {
      _ = try DatasetListing.samples(of: source)
      return nil
    } catch {
      return error
    }
  }

  @Test("a directory is listed whole, in byte order, without hidden and other files")
  func directory() throws {
    let root = tree()
    let listing = try DatasetListing.samples(of: DataSource(images: root))
    #expect(
      names(listing) == [
        "images/Zebra/ä.png", "images/cat/10.JPG", "images/cat/2.png", "images/dog/deep/1.jpeg",
      ])
    #expect(
      listing.directories
        == ["", "/Zebra", "/ant", "/cat", "/dog", "/dog/deep"].map { root + $0 })
    #expect(listing.files == [])
  }

  @Test("folder names are classes, empty folders included")
  func folders() throws {
    var source = try DataSource(images: tree(), labels: "folders", labelOffset: 1, limit: 3)
    // Zebra 0, ant 1, cat 2, dog 3 in byte order; plus the offset.
    #expect(
      names(try DatasetListing.samples(of: source))
        == ["images/Zebra/ä.png 1", "images/cat/10.JPG 3", "images/cat/2.png 3"])
    source.limit = nil
    space.write("images/loose.png", "x")
    let failure = error(source)
    #expect(failure?.kind == .data)
    #expect(failure?.message.contains("loose.png\" lies in no class folder") == true)
  }

  @Test("a pattern names files at fixed or any depth")
  func patterns() throws {
    let root = tree()
    func list(_ pattern: String) throws -> [String] {
      names(try DatasetListing.samples(of: DataSource(images: "\(root)/\(pattern)")))
    }
    #expect(try list("*/*.png") == ["images/Zebra/ä.png", "images/cat/2.png"])
    #expect(
      try list("**/*.p*g") == ["images/Zebra/ä.png", "images/cat/2.png"])
    #expect(try list("dog/**/1.*") == ["images/dog/deep/1.jpeg"])
    let listing = try DatasetListing.samples(
      of: DataSource(images: "\(root)/c?t/[0-9]*", labels: "folders"))
    #expect(names(listing) == ["images/cat/10.JPG 2", "images/cat/2.png 2"])
    #expect(listing.directories == [root, root + "/cat"])
    #expect(error(try DataSource(images: "\(root)/*.gif"))?.message.hasPrefix("no file") == true)
  }

  @Test("a link to a directory is followed, a loop of links ends in an error")
  func links() throws {
    let root = tree()
    space.write("more/9.png", "x")
    symlink("../more", root + "/linked")
    #expect(try DatasetListing.samples(of: DataSource(images: root)).samples.count == 5)
    symlink(".", root + "/loop")
    for source in [root, root + "/**/*.png"] {
      let failure = error(try DataSource(images: source))
      #expect(failure?.kind == .data)
      #expect(
        failure?.message == "the directory \"\(root)/loop\" is a link to one that it lies in")
    }
  }

  @Test("a table is filtered, in its own order, relative to its directory or to root")
  func table() throws {
    _ = tree()
    let csv = space.write(
      "labels.csv",
      [
        #"file,split,"a, ""b""",label"#, "images/dog/deep/1.jpeg,calibration,x,5",
        "\"images/cat/2.png\",evaluation,\"two\nlines\",6", "",
        "images/cat/10.JPG,calibration,,", "",
      ].joined(separator: "\r\n"))
    let all = try DatasetListing.samples(of: DataSource(list: csv))
    #expect(
      names(all) == ["images/dog/deep/1.jpeg 5", "images/cat/2.png 6", "images/cat/10.JPG"])
    #expect(all.files == [csv] && all.directories == [])
    let some = try DatasetListing.samples(
      of: DataSource(list: csv, where: ["split": "calibration"], root: space.path))
    #expect(names(some) == ["images/dog/deep/1.jpeg 5", "images/cat/10.JPG"])
    #expect(
      error(try DataSource(list: csv, where: ["split": "train"]))?.message
        == "no row of the table has split = \"train\"")
    #expect(
      error(try DataSource(list: csv, where: ["splt": "train"]))?.message
        == "the table has no column \"splt\"; did you mean \"split\"?")
  }

  @Test(
    "a malformed table is reported with line and column",
    arguments: [
      ("file,label\na.png,1\nb.png\n", "the row has 1 fields, the header 2", 3, 1),
      ("file,label\na.png,\"1\n", "the quoted field is not closed", 2, 7),
      ("file,label\n\"a\"x,1\n", "text follows the closing quote", 2, 4),
      ("file,label\nimages/cat/2.png,one\n", "the label \"one\" is not an integer", 2, 18),
      ("file,file\n", "the column \"file\" appears twice", 1, 1),
    ])
  func malformed(text: String, message: String, line: Int, column: Int) throws {
    _ = tree()
    let path = space.write("t.csv", text)
    let failure = try #require(error(try DataSource(list: path)))
    #expect(failure.kind == .data && failure.message == message)
    #expect(failure.place?.description == "\(path):\(line):\(column)")
  }

  @Test("labels come from a table by path or end of path")
  func labelTable() throws {
    let root = tree()
    let csv = space.write(
      "l.csv", "label,file\n1,images/cat/2.png\n2,10.JPG\n3,dog/deep/1.jpeg\n4,ä.png\n")
    let listing = try DatasetListing.samples(of: DataSource(images: root, labels: csv))
    #expect(listing.samples.map(\.label) == [4, 2, 1, 3])
    #expect(listing.files == [csv])
    space.write("images/dog/2.png", "x")
    #expect(
      error(try DataSource(images: root, labels: csv))?.message
        == "\"\(root)/dog/2.png\" has no label in \"\(csv)\"")
    let short = space.write(
      "s.csv", "label,file\n1,2.png\n2,10.JPG\n3,1.jpeg\n4,ä.png\n")
    #expect(
      error(try DataSource(images: root, labels: short))?.message.contains("could belong to")
        == true)
  }

  @Test("labels come from text, one a line or behind file names")
  func labelText() throws {
    let root = tree()
    let plain = space.write("plain.txt", "3\n1\r\n4\n1\n")
    let named = space.write("named.txt", "1.jpeg 9\n2.png\t8\n10.JPG 7\nä.png 6\n")
    #expect(
      try DatasetListing.samples(of: DataSource(images: root, labels: plain)).samples
        .map(\.label) == [3, 1, 4, 1])
    #expect(
      try DatasetListing.samples(of: DataSource(images: root, labels: named)).samples
        .map(\.label) == [6, 7, 8, 9])
    let few = space.write("few.txt", "3\n1\n")
    #expect(
      error(try DataSource(images: root, labels: few))?.message
        == "2 labels do not match 4 samples")
    let wrong = space.write("wrong.txt", "3\nfour\n")
    let failure = error(try DataSource(images: root, labels: wrong))
    #expect(failure?.message == "the label \"four\" is not an integer")
    #expect(failure?.place?.description == "\(wrong):2:1")
  }

  @Test("array files give their items, and labels from an array or a file")
  func arrays() throws {
    let packed = Golden.path("packed.npz")
    let listing = try DatasetListing.samples(
      of: DataSource(images: "images", arrays: packed, labels: "labels", limit: 4))
    #expect(
      listing.samples.map(\.line)
        == ["0\t3", "1\t1", "2\t4", "3\t1"].map { "\(packed)#images:\($0)" })
    #expect(listing.files == [packed])
    let idx = try DatasetListing.samples(
      of: DataSource(
        arrays: Golden.path("items.idx.gz"), labels: Golden.path("labels.idx"), labelOffset: -1))
    #expect(idx.samples.map(\.label) == [2, 0, 3, 0, 4])
    #expect(idx.samples[4].line == "\(Golden.path("items.idx.gz"))#4\t4")
    #expect(
      error(try DataSource(images: "image", arrays: packed))?.message
        == "\"\(packed)\" has no array \"image\"; did you mean \"images\"?")
    #expect(
      error(try DataSource(arrays: Golden.path("items.idx"), labels: "labels"))?.kind == .noInput)
    #expect(
      error(try DataSource(images: "images", arrays: packed, labels: "labels", labelOffset: -2))?
        .kind == .data)
  }

  @Test("missing and empty places are errors")
  func missing() throws {
    let nowhere = space.path("nowhere")
    let missing = error(try DataSource(images: nowhere))
    #expect(missing?.kind == .noInput)
    #expect(missing?.message == "the image directory \"\(nowhere)\" does not exist")
    let file = space.write("file.png", "x")
    #expect(error(try DataSource(images: file))?.message.contains("is a file where") == true)
    mkdir(space.path("empty"), 0o755)
    let empty = error(try DataSource(images: space.path("empty")))
    #expect(empty?.kind == .data)
    #expect(empty?.message.contains("has no JPEG or PNG file") == true)
    #expect(error(try DataSource(list: nowhere))?.kind == .noInput)
    let csv = space.write("l.csv", "file\ngone.png\n")
    let gone = error(try DataSource(list: csv))
    #expect(gone?.kind == .noInput && gone?.place?.description == "\(csv):2:1")
  }

  @Test("a file name that a list cannot hold is refused")
  func names() throws {
    space.write("images/a\tb.png", "x")
    #expect(error(try DataSource(images: space.path("images")))?.kind == .data)
  }

  @Test("keys that contradict each other are refused")
  func keys() {
    #expect(throws: QuenchError.self) { try DataSource() }
    #expect(throws: QuenchError.self) { try DataSource(images: "a", list: "b") }
    #expect(throws: QuenchError.self) { try DataSource(images: "a", root: "b") }
    #expect(throws: QuenchError.self) { try DataSource(images: "a", limit: 0) }
  }
}
