// SPDX-License-Identifier: Apache-2.0

import Datasets
import Diagnostics
import TestSupport
import Testing

@Suite("Image decoding")
struct ImageDecodingTests {
  private func failure(_ bytes: [UInt8], alpha: AlphaRule = .refuse) -> QuenchError? {
    do {
      _ = try ImageDecoding.decode(bytes, path: "photos/a.jpg", alpha: alpha)
      return nil
    } catch {
      return error
    }
  }

  @Test("JPEG and PNG files give the bytes that Pillow gives")
  func equalsPillow() throws {
    for fields in try Golden.table("images.txt") {
      let image = try ImageDecoding.read(Golden.path(fields[0]), alpha: .drop)
      #expect(
        [image.width, image.height, image.channels].map(String.init) == Array(fields[1...3]),
        "\(fields[0])")
      #expect("\(image.checksum)" == fields[4], "\(fields[0])")
    }
  }

  @Test("the format is read from the content, not from the name")
  func suffix() throws {
    let space = TemporarySpace()
    let path = space.write("photo.jpg", try Golden.bytes("color.png"))
    #expect(try ImageDecoding.read(path).width == 45)
  }

  @Test("EXIF orientation is ignored")
  func orientation() throws {
    let plain = try ImageDecoding.read(Golden.path("color.jpg"))
    #expect(try ImageDecoding.read(Golden.path("turned.jpg")) == plain)
  }

  @Test("a JPEG cut short is refused and named", arguments: ["color.jpg", "progressive.jpg"])
  func truncatedJPEG(name: String) throws {
    let bytes = try Golden.bytes(name)
    for cut in [bytes.count - 2, bytes.count - 40, bytes.count * 3 / 4, 200, 20, 4] {
      let error = try #require(failure(Array(bytes.prefix(cut))))
      #expect(error.kind == .data)
      #expect(error.message.hasPrefix("the JPEG image \"photos/a.jpg\" cannot be decoded: "))
      #expect(error.place == .file("photos/a.jpg"))
    }
    let error = try #require(failure(Array(bytes.prefix(bytes.count - 40))))
    #expect(error.message.hasSuffix(": Premature end of JPEG file"))
  }

  @Test("a damaged or shortened PNG is refused")
  func damagedPNG() throws {
    let bytes = try Golden.bytes("interlaced.png")
    for cut in [bytes.count - 1, bytes.count - 13, bytes.count / 2, 30, 9] {
      let error = try #require(failure(Array(bytes.prefix(cut))))
      #expect(error.message.hasPrefix("the PNG image \"photos/a.jpg\" cannot be decoded: "))
    }
    var damaged = bytes
    damaged[bytes.count / 2] ^= 0x20
    #expect(failure(damaged)?.kind == .data)
  }

  @Test("no damaged byte ends the process")
  func fuzz() throws {
    for name in ["color.jpg", "progressive.jpg", "palette.png", "interlaced.png"] {
      let bytes = try Golden.bytes(name)
      for position in stride(from: 2, to: bytes.count, by: 3) {
        for value: UInt8 in [0x00, 0xFF, bytes[position] ^ 0x10] {
          var damaged = bytes
          damaged[position] = value
          // Some damage cannot be seen; what is asked is an image or an error.
          if let error = failure(damaged) { #expect(error.kind == .data) }
        }
      }
    }
  }

  @Test("a header that claims a huge picture is refused before memory is taken")
  func hugeHeader() throws {
    var jpeg = try Golden.bytes("color.jpg")
    let frame = try #require(
      jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
    jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0xFF, 0xDC, 0xFF, 0xDC])
    let error = try #require(failure(jpeg))
    #expect(error.message.hasSuffix("65500x65500 pixels are more than the limit of 67108864"))

    // IHDR with the largest extents that PNG can say and its CRC, then an empty IDAT.
    let png: [UInt8] = [
      0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0x7F,
      0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 8, 2, 0, 0, 0, 0x9B, 0xAB, 0x9C, 0x31, 0, 0, 0, 0,
      0x49, 0x44, 0x41, 0x54, 0x35, 0xAF, 0x06, 0x1E,
    ]
    #expect(failure(png)?.message.hasSuffix("are more than the limit of 67108864") == true)
  }

  @Test("CMYK is refused by name")
  func cmyk() throws {
    #expect(failure(try Golden.bytes("cmyk.jpg"))?.message.contains("CMYK") == true)
  }

  @Test("other content and empty files are no images")
  func others() {
    #expect(
      failure(Array("GIF89a".utf8))?.message
        == "\"photos/a.jpg\" is no image: its content is not JPEG or PNG")
    #expect(failure([])?.message == "\"photos/a.jpg\" is no image: it is empty")
  }

  @Test("alpha is refused unless a rule says what to do")
  func alpha() throws {
    let bytes = try Golden.bytes("alpha.png")
    let error = try #require(failure(bytes))
    #expect(error.message.contains("alpha channel"))
    #expect(error.remedy?.contains("alpha: drop") == true)
    let color = try ImageDecoding.read(Golden.path("color.png"))
    #expect(try ImageDecoding.decode(bytes, path: "a", alpha: .drop) == color)
    let over = try ImageDecoding.decode(
      bytes, path: "a", alpha: .over(red: 255, green: 0, blue: 10))
    // make.py: the opacity of pixel i is i mod 256.
    #expect(Array(over.pixels.prefix(3)) == [255, 0, 10])
    #expect(Array(over.pixels[255 * 3..<256 * 3]) == Array(color.pixels[255 * 3..<256 * 3]))
    let half = (Int(color.pixels[128 * 3]) * 128 + 255 * 127 + 127) / 255
    #expect(Int(over.pixels[128 * 3]) == half)
  }
}
