// SPDX-License-Identifier: Apache-2.0

import Datasets
import Diagnostics
import Tensors
import Testing

@Suite("Preprocessing")
struct PreprocessingTests {
  private func parse(_ json: String) throws(QuenchError) -> Preprocessing {
    try Preprocessing(json: Array(json.utf8), path: "preprocess.json")
  }

  private func message(_ json: String) -> String? {
    do {
      _ = try parse(json)
      return nil
    } catch {
      return error.message
    }
  }

  private let ramp = Image(
    width: 2, height: 2, channels: 3, pixels: [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32])

  @Test("without steps a picture becomes planes of its bytes")
  func plain() throws {
    let tensor = try parse("[]").apply(to: ramp)
    #expect(tensor.shape == [1, 3, 2, 2])
    #expect(tensor.floats == [0, 10, 20, 30, 1, 11, 21, 31, 2, 12, 22, 32])
  }

  @Test("grey becomes three equal channels, or stays one when asked")
  func grey() throws {
    let image = Image(width: 2, height: 1, channels: 1, pixels: [7, 9])
    #expect(try parse("[]").apply(to: image).floats == [7, 9, 7, 9, 7, 9])
    let one = try parse(#"[{"channels": "grey"}]"#)
    #expect(try one.apply(to: image).shape == [1, 1, 1, 2])
    // (19595 * 255 + 32768) >> 16 = 76, and so on: Pillow's "L".
    let colors = Image(width: 3, height: 1, channels: 3, pixels: [255, 0, 0, 0, 255, 0, 0, 0, 255])
    #expect(try one.apply(to: colors).floats == [76, 150, 29])
  }

  @Test("channels and layout change the order")
  func orders() throws {
    let tensor = try parse(#"[{"channels":"bgr"},{"layout":"NHWC"}]"#).apply(to: ramp)
    #expect(tensor.shape == [1, 2, 2, 3])
    #expect(tensor.floats == [2, 1, 0, 12, 11, 10, 22, 21, 20, 32, 31, 30])
  }

  @Test("a scale of 1/255 is a division, exact for every byte")
  func divides() throws {
    for scale in ["0.00392156863", "0.0039215686274509803", "\"1/255\""] {
      let steps = try parse(#"[{"normalize":{"scale":\#(scale)}}]"#)
      #expect(steps.normalization.divisor == 255)
      for byte in 0...255 {
        #expect(steps.normalization.value(of: UInt8(byte), channel: 0) == Float(byte) / 255)
      }
    }
    #expect(try parse(#"[{"normalize":{"scale":0.0039}}]"#).normalization.divisor == nil)
  }

  @Test("normalisation rounds to float32 after each operation")
  func rounding() throws {
    let steps = try parse(
      #"[{"normalize":{"scale":"1/255","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}}]"#)
    let tensor = try steps.apply(
      to: Image(width: 1, height: 1, channels: 3, pixels: [200, 100, 50]))
    // NumPy: (float32([200, 100, 50]) / 255 - mean) / std, all float32.
    #expect(tensor.floats == [1.307_046_8, -0.285_013_97, -0.932_984_7])
  }

  @Test("the crop's offset is rounded half to even")
  func crop() throws {
    for (width, left) in [(2, 0), (3, 1), (4, 2), (5, 2), (6, 2), (7, 3), (8, 4)] {
      let image = Image(
        width: width, height: 1, channels: 1, pixels: (0..<width).map { UInt8($0) })
      let steps = try parse(#"[{"centerCrop":[1,1]},{"channels":"grey"}]"#)
      // (width - 1) / 2: 0.5 -> 0, 1 -> 1, 1.5 -> 2, 2 -> 2, 2.5 -> 2, 3 -> 3, 3.5 -> 4.
      #expect(try steps.apply(to: image).floats == [Float(left)])
    }
  }

  @Test("the longer side is rounded down")
  func shortSide() throws {
    let steps = try parse(#"[{"resize":{"shortSide":10}}]"#)
    let wide = Image.noise(seed: 1, width: 35, height: 21, channels: 1)
    #expect(try steps.apply(to: wide).shape == [1, 3, 10, 16])
    let tall = Image.noise(seed: 1, width: 21, height: 35, channels: 1)
    #expect(try steps.apply(to: tall).shape == [1, 3, 16, 10])
  }

  @Test("resize and crop together are resize, then crop")
  func fused() throws {
    let image = Image.noise(seed: 9, width: 50, height: 37, channels: 3)
    let both = try parse(
      #"[{"resize":{"shortSide":20,"filter":"bicubic"}},{"centerCrop":[16,17]}]"#)
    let whole = image.resized(width: 27, height: 20, filter: .bicubic)
    let cut = whole.cropped(columns: 5..<22, rows: 2..<18)
    #expect(try both.apply(to: image) == parse("[]").apply(to: cut))
  }

  @Test("a crop that is too large, or a resize beyond the limit, is an error")
  func impossible() throws {
    let image = Image.noise(seed: 1, width: 5, height: 4, channels: 1)
    let crop = try parse(#"[{"centerCrop":[5,5]}]"#)
    let error = #expect(throws: QuenchError.self) { try crop.apply(to: image) }
    #expect(error?.message == "centerCrop of 5x5 pixels is larger than the picture, 5x4")
    let strip = Image.noise(seed: 1, width: 1, height: 3000, channels: 1)
    let resize = try parse(#"[{"resize":{"shortSide":2000}}]"#)
    #expect(throws: QuenchError.self) { try resize.apply(to: strip) }
  }

  @Test(
    "what is wrong is said with the step's number",
    arguments: [
      (
        #"[{"resise":{}}]"#,
        #"unknown step "resise" in step 1 of the preprocessing; did you mean "resize"?"#
      ),
      (
        #"[{"resize":{"shortside":1}}]"#,
        #"unknown key of resize "shortside" in step 1 of the preprocessing; did you mean "shortSide"?"#
      ),
      (
        #"[{"resize":{"shortSide":8,"filter":"bicubik"}}]"#,
        #"unknown filter "bicubik" in step 1 of the preprocessing; did you mean "bicubic"?"#
      ),
      (
        #"[{"resize":{"shortSide":8,"size":[1,1]}}]"#,
        #""resize" in step 1 of the preprocessing must have either shortSide or size"#
      ),
      (
        #"[{"centerCrop":[0,1]}]"#,
        #""centerCrop" in step 1 of the preprocessing must be a whole number of pixels in 1...65536"#
      ),
      (
        #"[{"layout":"NCHW"},{"centerCrop":[1,1]}]"#,
        #"step 2 of the preprocessing is "centerCrop" after "layout""#
      ),
      (
        #"[{"layout":"NCHW"},{"layout":"NCHW"}]"#,
        #"step 2 of the preprocessing is a second "layout""#
      ),
      (
        #"[{"normalize":{"std":[1,0,1]}}]"#,
        #""std" in step 1 of the preprocessing has a 0, by which nothing can be divided"#
      ),
      (#"[{"normalize":{"mean":[1,2]}}]"#, #""mean" of normalize has 2 values for 3 channels"#),
      (
        #"[{"channels":"grey"},{"normalize":{"mean":[1,2,3]}}]"#,
        #""mean" of normalize has 3 values for 1 channel"#
      ),
      (
        #"[{"layout":"NCHW","channels":"rgb"}]"#,
        "step 1 of the preprocessing is not one key with its value"
      ),
      (#"{"layout":"NCHW"}"#, "the preprocessing is a list of steps, not a map"),
      (#"[{"layout":"#, "malformed JSON"),
    ])
  func errors(json: String, expected: String) {
    #expect(message(json) == expected)
  }

  @Test("the digest depends on the steps, not on their spelling")
  func digest() throws {
    let long = """
      [ {"resize": {"filter": "bilinear", "shortSide": 256.0}},
        {"normalize": {"std": [0.5, 0.5, 0.5], "mean": 0.5, "scale": 0.00392156863}} ]
      """
    let short =
      #"[{"resize":{"shortSide":256}},{"normalize":{"scale":"1/255","mean":[0.5],"std":[0.50]}}]"#
    let one = try parse(long)
    #expect(try one.digest() == parse(short).digest())
    #expect(
      String(decoding: one.encode(), as: UTF8.self)
        == #"[{"resize":{"filter":"bilinear","shortSide":256}},"#
        + #"{"normalize":{"mean":[0.5],"scale":"1/255","std":[0.5]}}]"# + "\n")
    let other = try parse(short.replacing("256", with: "255"))
    #expect(try one.digest() != other.digest())
    #expect(try Preprocessing(json: one.encode(), path: "p").encode() == one.encode())
  }
}
